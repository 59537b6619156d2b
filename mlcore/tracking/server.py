"""The MLflow server of this checkout: ``python -m mlcore.tracking.server start|stop|status``.

MLflow with its own login, on loopback, over a PostgreSQL. All that it keeps lies in server/, and
outlives a restart. Its processes have the folder's path in their environment as `MARK`: that is how
they are known again, whatever became of the one that started them.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import requests
from filelock import FileLock, Timeout

from mlcore.errors import RetraceError
from mlcore.tracking.login import Login, read_login, server_folder, write_login, write_private
from mlcore.tracking.ports import check_free
from mlcore.tracking.postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]

PORT = 5001
"""Of the server; the database has the next one."""

PATIENCE = 300.0
"""Seconds that MLflow has to start, on a busy machine and with its tables to make."""

GRACE = 5.0
"""Seconds that MLflow has to end by itself."""

MARK = "RETRACE_SERVER"

AUTH = """[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {login.username}
admin_password = {login.password}
# There is one worker, which itself hears of every change of a password
auth_cache_ttl_seconds = 60
"""


def processes(folder: Path) -> list[psutil.Process]:
    """Give the processes of the folder's MLflow."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder):
                found.append(process)
        except (psutil.Error, OSError):  # gone, or another user's
            continue
    return found


def start(folder: Path, port: int | None) -> str:
    """Start what does not run; returns what to tell.

    Raises
    ------
    RetraceError
        If it cannot be started; nothing is left running then.
    """
    login = read_login(folder)
    database = Postgres(folder)
    last = urlsplit(login.uri).port if login else None
    # Three times: it may be busy
    if login and processes(folder) and database.process() and any(map(answers, [login] * 3)):
        if port not in (None, last):
            raise RetraceError(
                f"the server runs already, on port {last}; `make server-stop` ends it"
            )
        return f"the server runs already: {use(folder, login)}"
    stop(folder)
    port = port or last or PORT
    for number in (port, port + 1):
        check_free(number, "`make server SERVER_PORT=n` takes n and n + 1")
    password = login.password if login else secrets.token_urlsafe(24)
    login = Login(f"http://127.0.0.1:{port}", "admin", password)
    write_login(folder, login)
    print("starting the server: half a minute, the first time longer", flush=True)
    try:
        database.start(port + 1)
        _start_mlflow(folder, login, database, port)
    except BaseException:
        stop(folder)
        raise
    return f"the server runs: {use(folder, login)}"


def _start_mlflow(folder: Path, login: Login, database: Postgres, port: int) -> None:
    uri = database.uri(port + 1)
    write_private(folder / "auth.ini", AUTH.format(database=uri, login=login))
    environment = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {
        MARK: str(folder),
        "PGPASSFILE": str(database.passwords),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(24),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    (folder / "artifacts").mkdir(mode=0o700, exist_ok=True)
    log = folder / "mlflow.log"
    write_private(log, "")
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
                *("--backend-store-uri", uri, "--artifacts-destination", "./artifacts"),
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for it
        )
    deadline = time.monotonic() + PATIENCE
    while not answers(login):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            raise RetraceError(f"MLflow's server did not start: {lines[-1].strip()} ({log})")
        time.sleep(0.2)


def answers(login: Login) -> bool:
    """Whether there is a server that is well."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        try:
            return bool(session.get(f"{login.uri}/health", timeout=5).text == "OK")
        except requests.RequestException:
            return False


def use(folder: Path, login: Login) -> str:
    """Say where the server is and how to log in."""
    return f"{login.uri}, user {login.username}, password in {folder / 'login.env'}"


def stop(folder: Path) -> bool:
    """End what was started from the folder, and nothing else; returns whether there was any."""
    found = processes(folder)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(found, timeout=GRACE)
    left = list({*left, *processes(folder)})
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=GRACE)
    database = Postgres(folder)
    found_database = database.process() is not None
    database.stop()
    return bool(found) or found_database


def status(folder: Path) -> tuple[str, int]:
    """Say what runs; returns that and the exit code."""
    login = read_login(folder)
    parts = {"MLflow": processes(folder), "PostgreSQL": Postgres(folder).process()}
    missing = [name for name, found in parts.items() if not found]
    if login and not missing and answers(login):
        return f"the server runs: {use(folder, login)}", 0
    what = "the server does not run" if len(missing) == 2 else "the server is not well"
    return f"{what}; `make server` starts it", 1


def main() -> int:
    """Start, stop or look; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.tracking.server", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--port", type=int, help=f"default: as the last time, or else {PORT}")
    options = parser.parse_args()
    folder = server_folder(ROOT)
    try:
        if options.action == "status" or (options.action == "stop" and not folder.exists()):
            told, code = status(folder)
            print(told)
            return code if options.action == "status" else 0
        folder.mkdir(mode=0o700, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            if options.action == "start":
                print(start(folder, options.port))
            else:
                print("the server is stopped" if stop(folder) else "the server did not run")
        return 0
    except Timeout:
        sys.exit("error: another `make server` or `make server-stop` is at work")
    except (RetraceError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
