"""The front door: what `make` says, and how it refuses."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder, *arguments):
    return subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, check=False
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
