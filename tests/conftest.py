"""Shared by all tests: pinned threads, and a copy of the project to run stages in."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from mlcore.runtime import THREAD_VARIABLES, pin_threads

pin_threads()
# A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from mlcore.artifacts import save_arrays  # noqa: E402

ROOT = Path(__file__).parents[1]


class Project:
    """A copy of the project with small made-up data in place of the real splits."""

    def __init__(self, root):
        self.root = root
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, names):
            if name.startswith("tests/") or not (ROOT / name).exists():
                continue
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        rng = np.random.default_rng(0)
        centres = rng.integers(0, 256, (10, 784))
        arrays = {}
        for part, n in (("full", 360), ("train", 300), ("val", 60), ("test", 60)):
            y = np.arange(n) % 10
            noisy = centres[y] + rng.integers(-40, 41, (n, 784))
            arrays[f"X_{part}"] = np.clip(noisy, 0, 255).astype(np.uint8)
            arrays[f"y_{part}"] = y.astype(np.uint8)
        save_arrays(root / "data" / "mnist.npz", **arrays)
        save_arrays(root / "data" / "fashion_mnist.npz", **arrays)

    @staticmethod
    def environment(**variables):
        """The environment of a shell, without what tests and their libraries set in it."""
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_")) and name not in THREAD_VARIABLES
        }
        return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"} | variables

    def run(self, *arguments, check=True, **variables):
        """Run ``python -m ...`` in the copy; returns the completed process."""
        result = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check and (result.returncode or "error:" in result.stdout + result.stderr):
            pytest.fail(f"{arguments} failed:\n{result.stdout}\n{result.stderr}")
        return result


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")
