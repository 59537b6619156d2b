"""The front door: what `make` says, and how it refuses."""

import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import mlflow.store.db.utils
import pytest

ROOT = Path(__file__).parents[1]


def make(folder, *arguments, env=None):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_every_target():
    listed = {
        line.split()[1] for line in make(ROOT).stdout.splitlines() if line.startswith("  make")
    }
    phony = (ROOT / "Makefile").read_text().split(".PHONY:")[1].splitlines()[0].split()
    assert listed == set(phony)


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_an_unsupported_python_ends_in_one_clear_line(tmp_path, version):
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    claim = f"import sys; sys.version_info = (3, {version.split('.')[1]}, 0, 'final', 0)"
    old.write_text(f'#!/bin/sh\nexec python3 -c "{claim}\n$2"\n')
    old.chmod(old.stat().st_mode | stat.S_IEXEC)
    result = make(tmp_path, "setup", f"PYTHON={old}")
    assert result.returncode != 0
    assert f"Retrace needs Python 3.11, 3.12 or 3.13; {old} is {version}." in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_set_up_is_not_done_twice():
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("run outside the project's own environment")
    assert "pip" not in make(ROOT, "--dry-run", "setup").stdout


def test_the_mending_of_mlflow_for_a_percent_sign_in_the_path_still_fits(tmp_path):
    """The line that `make setup` changes is there, and gives Alembic the path it should."""
    (expression,) = re.findall(r"sed -i\.orig '(.*)'", (ROOT / "Makefile").read_text())
    copy = tmp_path / "utils.py"
    shutil.copy(mlflow.store.db.utils.__file__, copy)
    subprocess.run(["sed", "-i.orig", expression, copy], check=True)
    spec = importlib.util.spec_from_file_location("mended", copy)
    mended = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mended)
    config = mended._get_alembic_config("sqlite://", "/a 100 % path")
    assert config.get_main_option("script_location") == "/a 100 % path"


@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_without_a_home_to_write_to_nothing_is_cached(tmp_path, home):
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    env = {key: value for key, value in os.environ.items() if key != "HOME"}
    planned = make(tmp_path, "--dry-run", "setup", env=env | ({"HOME": home} if home else {}))
    assert planned.stdout.count("--no-cache-dir") == 2
    assert (
        "--no-cache-dir"
        not in make(tmp_path, "--dry-run", "setup", env=env | {"HOME": str(tmp_path)}).stdout
    )


@pytest.mark.parametrize("target", ["ui", "server"])
def test_a_port_is_one_word_whatever_is_in_it(target):
    port = "5000 --host 0.0.0.0"
    planned = make(ROOT, "--dry-run", "-o", ".venv/ready", target, f"PORT={port}").stdout
    assert shlex.split(planned)[-2:] == ["--port", port]  # which mlcore.tracking.server refuses
