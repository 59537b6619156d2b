"""The front door: what `make` says, and how it refuses."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder, *arguments, env=None):
    command, told = ["make", "--no-print-directory", *arguments], {"capture_output": True}
    return subprocess.run(command, cwd=folder, env=env, text=True, check=False, **told)


@pytest.fixture
def bare(tmp_path):
    """A folder with nothing but what `make setup` begins with."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_make_alone_lists_targets_that_are_there():
    lines = make(ROOT).stdout.splitlines()
    listed = [line.split()[1] for line in lines if line.startswith("  make")]
    phony = (ROOT / "Makefile").read_text().split(".PHONY:")[1].splitlines()[0].split()
    assert len(listed) == len(set(listed)) <= 22
    assert set(listed) <= set(phony)
    headings = [line for line in lines if not line.startswith(" ")]
    assert headings == ["The study", "Tracking", "Development", "Others"]


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_an_unsupported_python_ends_in_one_clear_line(bare, version):
    old = bare / "old-python"
    claim = f"import sys; sys.version_info = (3, {version.split('.')[1]}, 0, 'final', 0)"
    old.write_text(f'#!/bin/sh\nexec python3 -c "{claim}\n$2"\n')
    old.chmod(0o755)
    result = make(bare, "setup", f"PYTHON={old}")
    assert result.returncode != 0
    assert f"Retrace needs Python 3.11, 3.12 or 3.13; {old} is {version}." in result.stderr
    assert "Traceback" not in result.stderr
    assert not (bare / ".venv").exists()


def test_a_path_with_a_percent_sign_is_refused(bare):
    """MLflow gives it to Alembic, for which a % is special."""
    folder = bare.rename(bare.with_name("100 %"))
    result = make(folder, "setup")
    assert result.returncode != 0
    assert result.stderr.startswith(f"error: the path must not contain % or ?: {folder}\n")
    assert not (folder / ".venv").exists()


def test_a_clone_has_the_same_bytes_where_git_is_told_to_write_crlf(tmp_path, copy_at):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    copy_at(origin)
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
        subprocess.run(["git", *command.split()], cwd=origin, check=True)
    subprocess.run(["git", "clone", "-q", "-c", "core.autocrlf=true", origin, clone], check=True)
    files = [p for p in origin.rglob("*") if p.is_file() and ".git" not in p.parts]
    assert len(files) > 300
    differ = [p for p in files if (clone / p.relative_to(origin)).read_bytes() != p.read_bytes()]
    assert differ == []


@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_without_a_home_to_write_to_nothing_is_cached(bare, home):
    env = {key: value for key, value in os.environ.items() if key != "HOME"}
    planned, cached = (
        make(bare, "--dry-run", "setup", env=env | ({"HOME": where} if where else {})).stdout
        for where in (home, str(bare))
    )
    assert planned.count("--no-cache-dir") == planned.count("--require-hashes") == 2
    assert "--no-cache-dir" not in cached


@pytest.mark.parametrize("target", ["ui", "server"])
def test_a_port_is_one_word_whatever_is_in_it(target):
    port = "5000 --host 0.0.0.0"
    planned = make(ROOT, "--dry-run", "-o", ".venv/ready", target, f"PORT={port}").stdout
    assert shlex.split(planned)[-2:] == ["--port", port]  # which mlcore.tracking.server refuses


GNU_ALONE = r"sed -i |sed -r|readlink -f|sort -V|grep -\w*P|date -d|xargs -\w*r|stat -c|cp --"


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "tests/smoke.sh"])
def test_scripts_use_nothing_that_only_gnu_tools_have(name):
    assert re.findall(GNU_ALONE, (ROOT / name).read_text()) == []
