"""PostgreSQL in one's own folder, on loopback: ``python -m mlcore.tracking.postgres`` installs it.

It is not run as root: its folder then belongs to the user postgres, whom Debian's package makes.
Who connects has the password of the role `ROLE`, in the file that PGPASSFILE names.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from mlcore.errors import RetraceError
from mlcore.tracking.login import write_private

ROLE = "retrace"

PATIENCE = 60
"""Seconds that the database has to start or to stop."""

SETTINGS = """
# Retrace: nobody but this machine
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
"""

INSTALL = """
export DEBIAN_FRONTEND=noninteractive
get() { apt-get install -y -qq --no-install-recommends "$1"; }
get postgresql-common || { apt-get update -qq && get postgresql-common; } || exit 1
# The package would also start a database for the whole machine, which nobody here asked for
conf=/etc/postgresql-common/createcluster.conf
restore() { [ ! -f "$conf.retrace" ] || mv "$conf.retrace" "$conf"; }
trap 'exit 1' INT TERM
trap restore EXIT
restore  # what an installation left that was killed
cp -p "$conf" "$conf.retrace" && echo 'create_main_cluster = false' >> "$conf"
get postgresql
"""


def programs(version: str = "") -> Path | None:
    """Give the folder of PostgreSQL's programs, of a version if it is there; None without any."""
    folders = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")),
        key=lambda folder: (folder.parent.name == version, float(folder.parent.name)),
    )
    if folders:
        return folders[-1]
    found = shutil.which("pg_ctl")
    return Path(found).resolve().parent if found else None


def install() -> None:
    """See to it that there is a PostgreSQL; raises RetraceError where it cannot be installed."""
    if programs():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RetraceError(
            "PostgreSQL is not installed, and cannot be from here; "
            "on Debian and Ubuntu: sudo apt-get install postgresql"
        )
    print("installing PostgreSQL (once; a minute)", flush=True)
    result = subprocess.run(
        ["sh", "-c", INSTALL], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode or not programs():
        raise RetraceError(f"PostgreSQL could not be installed: {_last_line(result.stderr)}")


class Postgres:
    """A database server whose data lie in ``folder/postgres``.

    Parameters
    ----------
    folder : Path
        Absolute. Its file pgpass gets the password.
    """

    def __init__(self, folder: Path) -> None:
        self.data, self.passwords = folder / "postgres", folder / "pgpass"
        # One who is not root has the data, and runs the programs, himself
        self.identity: dict[str, Any] = {}
        self.owner = os.geteuid(), os.getegid()

    def uri(self, port: int) -> str:
        """Give the URI of the database, which has no password in it."""
        return f"postgresql://{ROLE}@127.0.0.1:{port}/postgres"

    def process(self) -> psutil.Process | None:
        """Give the process that has the data open; None if there is none."""
        process = self._noted()
        try:
            if process and self._is_at_work(process):
                return process
        except psutil.Error:  # it is gone
            pass
        return None

    def _is_at_work(self, process: psutil.Process) -> bool:
        try:
            return bool(process.cwd() == str(self.data))  # it works in its data's folder
        except psutil.AccessDenied:  # root in a container may not know that of the user postgres
            return str(self.data) in process.cmdline()

    def _noted(self) -> psutil.Process | None:
        """Give the process of the number in the data's pid file, which may be anyone's by now."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return psutil.Process(int(lines[0]))
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def start(self, port: int) -> None:
        """Start it, its data made if there are none; raises RetraceError if it does not."""
        install()
        self._take_the_user()
        if not self.data.exists():
            self._make()
        if self._noted() and not self.process():
            (self.data / "postmaster.pid").unlink()  # from before a reboot
        log = self.data / "server.log"
        self._run("pg_ctl", "start", "-w", "-t", PATIENCE, "-l", log, "-o", f"-p {port}", log=log)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self.process():
            self._take_the_user()
            self._run("pg_ctl", "stop", "-w", "-t", PATIENCE, "-m", "fast")

    def _take_the_user(self) -> None:
        if os.geteuid() != 0:
            return
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            raise RetraceError(
                "PostgreSQL does not run as root, and there is no user postgres"
            ) from None
        self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.owner = user.pw_uid, user.pw_gid
        self.data.parent.chmod(0o711)  # for it to pass through, not to look round
        test = subprocess.run(
            ["test", "-x", self.data.parent], cwd="/", check=False, **self.identity
        )
        if test.returncode:
            raise RetraceError(
                f"PostgreSQL runs as the user postgres, who cannot reach {self.data.parent}; "
                "let others pass through the folders above it, or be another user than root"
            )

    def _make(self) -> None:
        """Make the data in a folder beside, so that they are whole or absent."""
        password = secrets.token_urlsafe(24)
        write_private(self.passwords, f"127.0.0.1:*:*:{ROLE}:{password}\n")
        final, self.data = self.data, self.data.with_name("postgres.new")
        given = self.data.with_name("initdb.password")
        try:
            shutil.rmtree(self.data, ignore_errors=True)
            self.data.mkdir(mode=0o700)
            write_private(given, password)
            for path in (self.data, given):
                os.chown(path, *self.owner)
            self._run(
                "initdb", f"--username={ROLE}", f"--pwfile={given}", "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale=C",
            )  # fmt: skip
            with (self.data / "postgresql.conf").open("a") as file:
                file.write(SETTINGS)
            self.data.rename(final)
        finally:
            given.unlink(missing_ok=True)
            self.data = final

    def _run(self, program: str, *arguments: object, log: Path | None = None) -> None:
        made_by = self.data / "PG_VERSION"
        version = made_by.read_text().strip() if made_by.exists() else ""
        folder = programs(version)
        assert folder, "it is installed"
        result = subprocess.run(
            [folder / program, *map(str, arguments), "-D", self.data],
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self.identity,
        )
        if result.returncode:
            told = log.read_text(errors="replace") if log and log.exists() else ""
            reason = _last_line(told or result.stderr)
            raise RetraceError(f"PostgreSQL: {program} failed: {reason}")


def _last_line(text: str) -> str:
    return (text.strip() or "no reason given").splitlines()[-1]


if __name__ == "__main__":
    try:
        install()
    except RetraceError as error:
        sys.exit(f"error: {error}")
