"""Where PostgreSQL is missing or does not work, one line says why."""

import os
import pwd
import subprocess
import sys

import psutil
import pytest

from mlcore.errors import RetraceError
from mlcore.tracking import postgres


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setattr(postgres, "programs", lambda version="": None)


def as_user(monkeypatch, number):
    monkeypatch.setattr(os, "geteuid", lambda: number)


def test_who_is_not_root_is_told_how_to_install_it(monkeypatch, missing):
    as_user(monkeypatch, 1000)
    with pytest.raises(RetraceError, match="sudo apt-get install postgresql"):
        postgres.install()


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo first >&2; echo no space left >&2; exit 7", "no space left"),
     ("exit 7", "no reason given"), ("exit 0", "no reason given")],
)  # fmt: skip
def test_an_installation_that_fails_says_why(monkeypatch, missing, script, reason):
    as_user(monkeypatch, 0)
    monkeypatch.setattr(postgres.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(postgres, "INSTALL", script)
    with pytest.raises(RetraceError, match=f"could not be installed: {reason}$"):
        postgres.install()


def test_root_without_the_user_postgres(monkeypatch, tmp_path):
    as_user(monkeypatch, 0)
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    with pytest.raises(RetraceError, match="there is no user postgres"):
        postgres.Postgres(tmp_path)._take_the_user()


def test_a_folder_that_the_user_postgres_cannot_reach(monkeypatch, tmp_path):
    as_user(monkeypatch, 0)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(
        postgres.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1)
    )
    with pytest.raises(RetraceError, match=f"who cannot reach {tmp_path};"):
        postgres.Postgres(tmp_path)._take_the_user()


@pytest.mark.parametrize(
    ("log", "reason"), [("one\nport in use\n", "port in use"), (None, "bad option")]
)
def test_a_program_that_fails_says_why(monkeypatch, tmp_path, log, reason):
    program = tmp_path / "pg_ctl"
    program.write_text("#!/bin/sh\necho usage >&2\necho bad option >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(postgres, "programs", lambda version="": tmp_path)
    path = tmp_path / "server.log"
    if log:
        path.write_text(log)
    with pytest.raises(RetraceError, match=f"^PostgreSQL: pg_ctl failed: {reason}$"):
        postgres.Postgres(tmp_path)._run("pg_ctl", "start", log=path)


def test_what_is_no_server_is_not_taken_for_one(tmp_path):
    server = postgres.Postgres(tmp_path)
    assert server.process() is None
    server.data.mkdir()
    for content in ("", "no number\n", f"{os.getpid()}\n"):  # ours works in another folder
        (server.data / "postmaster.pid").write_text(content)
        assert server.process() is None
    server.stop()  # there is nothing to stop


def test_a_database_whose_folder_one_may_not_know_is_known_by_its_command(tmp_path, monkeypatch):
    """As root in a container, of the processes of the user postgres."""
    database = postgres.Postgres(tmp_path)
    database.data.mkdir()

    def refuse(self):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "cwd", refuse)
    for folder, known in ((database.data, True), (tmp_path, False)):
        command = [sys.executable, "-c", "input()", "-D", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            (database.data / "postmaster.pid").write_text(f"{process.pid}\n")
            assert (database.process() is not None) == known
            process.communicate()
    assert database.process() is None
