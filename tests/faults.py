"""Kill the pipeline at random moments and see that it ends as if nothing had been.

In a copy of the project, on a small part of the real data, the pipeline runs once undisturbed.
Then all that it made is taken away, it is killed at random moments, with all that it started, and
the run after that must end with the same dvc.lock and leave nothing behind. The data come from
RETRACE_DATA, or from data/raw of the checkout, or else the copy fetches them.

Usage: python -m tests.faults [--kills 30] [--seed N]
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil

from tests.conftest import ROOT, Project

COPY = ROOT / "build" / "faults"
MARK = "RETRACE_FAULTS"
"""Environment variable by whose value all that a run started is found, orphans too."""

MADE = ("data", "models", "history", "dvc.lock", ".dvc/cache", "mlflow.db", "mlruns")
TEMPORARY = (".fetch-*", ".*-????????.*", ".*-????????", "*.tmp")
"""Names of what is being written: by `fetch`, by `atomic_path`, and by DVC."""


class Copy(Project):
    """The copy, and what is done to it."""

    def __init__(self, root):
        super().__init__(root)
        raw = ROOT / "data" / "raw"
        data = os.environ.get("RETRACE_DATA") or (raw if raw.is_dir() else "")
        self.variables = {MARK: uuid4().hex, "DVC_SITE_CACHE_DIR": str(root / ".dvc" / "site")}
        self.variables |= {"RETRACE_DATA": str(Path(data).resolve())} if data else {}
        config = root / "conf" / "config.yaml"
        small = config.read_text().replace("experiment: report", "experiment: smoke")
        config.write_text(small)
        self.run("mlcore.config")
        for words in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
            subprocess.run(["git", *words.split()], cwd=root, check=True)
        self.take_away()

    def take_away(self):
        """Take away what the pipeline made, with all that DVC knows of it."""
        for path in (self.root / name for name in MADE):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def start(self):
        return subprocess.Popen(
            [sys.executable, "-m", "stages", "--jobs", "2"],
            cwd=self.root,
            env=self.environment(**self.variables),
            start_new_session=True,
        )

    def alive(self):
        """The processes that runs of this copy started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.variables[MARK]:
                    found.append(process)
        return found

    def kill(self):
        """Kill all that runs started, until none is left."""
        while processes := self.alive():
            for process in processes:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(processes, timeout=30)

    def run_to_the_end(self):
        """Run the pipeline; returns dvc.lock.

        A kill may cut off a file in DVC's own write, which the user is told to remove.
        """
        for path in (None, "dvc.lock", ".dvc/tmp/rwlock"):
            if path:
                (self.root / path).unlink(missing_ok=True)
            if self.start().wait() == 0:
                return (self.root / "dvc.lock").read_bytes()
        return sys.exit("error: the pipeline does not run to its end")

    def faults(self, lock):
        """Say what is not as after the undisturbed run."""
        if self.run_to_the_end() != lock:
            yield "dvc.lock is not that of the undisturbed run"
        if self.alive():
            yield "something still runs"
        kept = {".git", "mlruns", ".dvc"}
        paths = [
            p.relative_to(self.root) for pattern in TEMPORARY for p in self.root.rglob(pattern)
        ]
        if left := [str(path) for path in paths if path.parts[0] not in kept]:
            yield f"left behind: {left}"
        self.run("mlcore.tracking.recorder", **self.variables)
        if left := list((self.root / "mlruns" / "pending").iterdir()):
            yield f"not recorded: {left}"


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}: again with --seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    shutil.rmtree(COPY, ignore_errors=True)
    copy = Copy(COPY)
    try:
        began = time.monotonic()
        lock = copy.run_to_the_end()
        longest = time.monotonic() - began
        copy.take_away()
        for number in range(options.kills):
            process = copy.start()
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, longest / 2))
                copy.take_away()  # it ended first
            copy.kill()
            process.wait()
            print(f"== killed {number + 1} times", flush=True)
        if found := list(copy.faults(lock)):
            sys.exit("error: " + "; ".join(found))
    finally:  # also when this is interrupted
        copy.kill()


if __name__ == "__main__":
    main()
