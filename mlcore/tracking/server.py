"""MLflow's own server, for this machine alone: ``python -m mlcore.tracking.server [--ui]``.

It has a store and a password of its own for ``tracking=server``, in server/; with ``--ui`` it shows
mlflow.db. server/login.env, for its owner alone, has MLflow's own variables, one a line.
"""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mlcore.errors import RetraceError
from mlcore.process import checkout
from mlcore.tracking.notes import checkout_root
from mlcore.tracking.store import PASSWORD, SERVER, displayed, without_secrets
from mlcore.tracking.ui import links

URI, USERNAME = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"

# To check a password takes 0.2 s; the one worker hears of every change
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///auth.db
auth_cache_ttl_seconds = 60
"""


def read_login(root: Path) -> dict[str, str]:
    """Read the variables of server/login.env by name; none if they are not all there."""
    try:
        text = (checkout_root(root) / "server" / "login.env").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    login = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return login if {URI, USERNAME, PASSWORD} <= login.keys() else {}


def reach(named: str, root: Path) -> tuple[str, dict[str, str]]:
    """Give the URI and the login of a store, from its name in parameters or notes."""
    if named == SERVER:
        login = read_login(root)
        return login.get(URI, named), login
    # What is written down has no password: the environment may have the whole of it
    given = os.environ.get(URI, "")
    return (given if displayed(given) == named else named), {}


def _own(root: Path, port: int) -> tuple[Path, dict[str, str]]:
    """Make what the server has of its own; returns its folder and environment variables."""
    folder, backend = checkout_root(root) / "server", os.environ.get("BACKEND", "")
    if backend:
        from sqlalchemy import create_engine

        try:  # MLflow would try for minutes
            create_engine(backend).connect().close()
        except Exception as error:  # also the driver's own, or that there is none
            raise RetraceError(f"BACKEND: {without_secrets(str(error), backend)}") from None
    folder.mkdir(mode=0o700, exist_ok=True)
    old = read_login(root)
    if not old and (folder / "auth.db").exists():
        raise RetraceError("server/login.env is gone: for a new password remove auth.db, too")
    password = old.get(PASSWORD) or secrets.token_urlsafe(24)
    login = {URI: f"http://127.0.0.1:{port}", USERNAME: "admin", PASSWORD: password}
    temporary = folder / ".login.env"
    temporary.touch(mode=0o600)
    temporary.write_text("".join(f"{name}={value}\n" for name, value in login.items()))
    temporary.replace(folder / "login.env")
    (folder / "auth.ini").write_text(AUTH)
    print("user admin, password in server/login.env")
    return folder, {
        "MLFLOW_BACKEND_STORE_URI": backend or "sqlite:///mlflow.db",
        "MLFLOW_AUTH_CONFIG_PATH": "auth.ini",
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(24),
    }


def _free(port: str) -> int:
    """Give the number of a port of this machine that nobody uses."""
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise RetraceError(f"port {port}: it should be a number from 1 to 65535")
    try:
        socket.create_server(("127.0.0.1", int(port))).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise RetraceError(f"port {port}: {reason}; PORT=n takes another") from None
    return int(port)


def _serve(folder: Path, port: int, variables: dict[str, str]) -> int:
    """Run MLflow over a folder until it ends, or until Ctrl-C; returns the exit code."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {
        "MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    options += ["--app-name", "basic-auth"] if variables else []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *options],
        cwd=folder,
        env=environment | variables,
        start_new_session=True,  # Ctrl-C is for this process alone, which ends all of MLflow's
    ) as process:
        with suppress(KeyboardInterrupt):
            return process.wait()
        os.killpg(process.pid, signal.SIGTERM)
    return 0


def main(argv: Sequence[str], root: Path) -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.tracking.server", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="show mlflow.db, without a password")
    parser.add_argument("--port", default="", help="5000 with --ui, else 5001, if not given")
    options = parser.parse_args(argv)
    try:
        port = _free(options.port or ("5000" if options.ui else "5001"))
        folder, variables = (root, {}) if options.ui else _own(root, port)
        url = f"http://127.0.0.1:{port}"
        recorded = options.ui and (root / "mlflow.db").exists()
        for address, what in links(root, url).items() if recorded else ():
            print(f"{what}:\n{address}\n")
        print(f"{url} answers in half a minute; Ctrl-C ends it", flush=True)
        return _serve(folder, port, variables)
    except (RetraceError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], checkout()))
