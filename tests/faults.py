"""Kill the pipeline at random moments and see that it ends as if nothing had been.

In a copy of the project, on a small part of the real data, the pipeline runs once undisturbed.
Then, for one group of stages after another, what the group and all after it made is taken away,
with DVC's record of it and the MLflow store; the run that makes it again is killed, with all that
it started, once or a few times in a row; and the run after that must end with the same dvc.lock
and leave nothing behind. The data come from RETRACE_DATA, or from data/raw of the checkout, or
else the copy fetches them.

Usage: python -m tests.faults [--kills 30] [--seed N]
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import networkx as nx
import psutil
import yaml
from dvc.repo import Repo

from tests.conftest import ROOT, Project

COPY = ROOT / "build" / "faults"

GROUPS = {
    "fetch": ["fetch"],
    "split": ["split_mnist", "subset_fashion"],
    "training": ["train_network", "fit_classifier", "train_autoencoder", "classify_features"],
    "search": ["search_classifier"],
    "evaluate": ["evaluate", "verdict", "sensitivity", "plot", "report"],
}
"""Stages to be killed in."""

MARK = "RETRACE_FAULTS"
"""Environment variable by whose value all that a run started is found, orphans too."""

PATIENCE = 900
"""Seconds that a run may take."""

TEMPORARY = (".fetch-*", ".*-????????.*", ".*-????????", "*.tmp")
"""Names of what is being written: by `fetch`, by `atomic_path`, and by DVC."""


class FaultError(Exception):
    """What should not be after a kill."""


class Copy(Project):
    """The copy, its undisturbed run, and what is done to it."""

    def __init__(self, root):
        super().__init__(root)
        shutil.rmtree(root / "data")
        config = root / "conf" / "config.yaml"
        small = config.read_text().replace("experiment: report", "experiment: smoke")
        config.write_text(small)
        self.mark = uuid4().hex
        raw = ROOT / "data" / "raw"
        whole = all((raw / name).is_dir() for name in ("mnist", "fashion_mnist"))
        given = os.environ.get("RETRACE_DATA") or (str(raw) if whole else "")
        self.variables = {MARK: self.mark, "DVC_SITE_CACHE_DIR": str(root / ".dvc" / "site")}
        self.variables |= {"RETRACE_DATA": str(Path(given).resolve())} if given else {}
        self.run("mlcore.config")
        for command in (
            "init -q -b main",
            "config user.name faults",
            "config user.email faults@localhost",
            "add -A",
            "commit -q -m faults",
        ):
            subprocess.run(["git", *command.split()], cwd=root, check=True)

    def start(self, log, *options):
        """Start the pipeline; its words go to `log`."""
        return subprocess.Popen(
            [sys.executable, "-m", "stages", "--jobs", "2", *options],
            cwd=self.root,
            env=self.environment(**self.variables),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run_to_the_end(self, *options):
        """Run the pipeline; raises FaultError, with its last lines, if it does not end well."""
        path = self.root / "build" / "run.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as log:
            code = self.start(log, *options).wait(PATIENCE)
        if code:
            lines = path.read_text().splitlines()[-15:]
            raise FaultError("\n    ".join([f"the run after it ended with {code}:", *lines]))

    def run_after_kills(self):
        """Run to the end; without a file that a kill cut off in DVC's own write, if DVC says so."""
        try:
            self.run_to_the_end()
        except FaultError as fault:
            cut = [p for p in (Path("dvc.lock"), Path(".dvc/tmp/rwlock")) if p.name in str(fault)]
            if not cut:
                raise
            for path in cut:
                print(f"  cut off: {path}", flush=True)
                remove(self.root / path)
            self.run_to_the_end()

    def run_undisturbed(self):
        """Run the pipeline, and keep what it comes to."""
        times = self.root / "build" / "times.json"
        (self.root / "dvc.lock").unlink()  # of the whole study
        self.run_to_the_end("--times", str(times))
        self.seconds = json.loads(times.read_text())["stages"]
        self.lock = (self.root / "dvc.lock").read_bytes()
        with Repo(self.root) as repo:
            self.graph = nx.relabel_nodes(repo.index.graph, lambda stage: stage.name)
            self.outs = {s.name: [Path(o.fs_path) for o in s.outs] for s in repo.index.stages}

    def stages_from(self, group):
        """The stages of a group and all that come after it."""
        own = {name for name in self.graph if name.split("@")[0] in GROUPS[group]}
        return own.union(*(nx.ancestors(self.graph, name) for name in own))

    def take_away(self, group):
        """Take away what a group of stages and all after it made, here and in DVC's cache."""
        gone = self.stages_from(group)
        entries = yaml.safe_load(self.lock)["stages"]
        for name in gone:
            for path in self.outs[name]:
                remove(path)
            for md5 in (out["md5"] for out in entries[name]["outs"]):
                remove(self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:])
        kept = re.split(r"^(?=  \S)", self.lock.decode(), flags=re.MULTILINE)
        kept = [text for text in kept if text.split(":")[0].strip() not in gone]
        (self.root / "dvc.lock").unlink()
        if len(kept) > 1:
            (self.root / "dvc.lock").write_text("".join(kept))
        for name in (".dvc/cache/runs", "mlflow.db", "mlruns"):
            remove(self.root / name)

    def recorded(self):
        """The stages that dvc.lock has."""
        with suppress(FileNotFoundError):
            lines = (self.root / "dvc.lock").read_text().splitlines()
            return {line.strip(" :") for line in lines if re.match(r"  \S", line)}
        return set()

    def kill_in(self, group, chance):
        """Start the pipeline and kill it while a stage of the group runs, or as it ends.

        Where all stages of the group are done, in any that is left. Returns where that was; None
        if the run ended first.
        """
        left = [name for name in self.seconds if name not in self.recorded()]
        if not left:
            return None
        target = chance.choice([n for n in left if n.split("@")[0] in GROUPS[group]] or left)
        moment = chance.uniform(0, self.seconds[target])
        with (self.root / "build" / "killed.log").open("w") as log:
            process = self.start(log)
            while process.poll() is None and target not in running(process.pid):
                time.sleep(0.02)
            began = time.monotonic()
            while time.monotonic() - began < moment and target in running(process.pid):
                time.sleep(0.01)
            if process.poll() is not None:
                return None
            after, at_work = time.monotonic() - began, running(process.pid)
            self.kill()
            process.wait(30)
        return f"{after:.2f} s into {target}, at work: {', '.join(sorted(at_work)) or 'none'}"

    def kill(self):
        """Kill all that runs started, at one moment: they are stopped first."""
        stopped = set()
        while fresh := [process for process in self.alive() if process.pid not in stopped]:
            for process in fresh:
                stopped.add(process.pid)
                with suppress(psutil.Error):
                    process.suspend()
        killed = self.alive()
        for process in killed:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(killed, timeout=30)

    def alive(self):
        """The processes that runs of this copy started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def check(self):
        """Raise FaultError if anything differs from the undisturbed run."""
        if orphans := [" ".join(process.cmdline()) for process in self.alive()]:
            raise FaultError(f"these still run: {orphans}")
        if (self.root / "dvc.lock").read_bytes() != self.lock:
            raise FaultError("dvc.lock is not that of the undisturbed run")
        dry = self.run("dvc", "repro", "--dry", check=False, **self.variables)
        if dry.returncode or "Running stage" in dry.stdout + dry.stderr:
            raise FaultError(f"not all is done: {dry.stdout}{dry.stderr}")
        if left := sorted(self.temporary()):
            raise FaultError(f"left behind: {left}")
        held = json.loads((self.root / ".dvc" / "tmp" / "rwlock").read_text())
        if held["write"]:  # what is only read blocks nobody
            raise FaultError(f"DVC takes these for in use: {held}")
        synced = self.run("mlcore.tracking.recorder", check=False, **self.variables)
        if synced.returncode or "warning" in synced.stderr:
            raise FaultError(f"`make sync` says {synced.stdout}{synced.stderr}")
        pending = self.root / "mlruns" / "pending"
        if left := sorted(path.name for path in pending.iterdir()):
            raise FaultError(f"left in mlruns/pending after `make sync`: {left}")
        if not (self.root / "mlflow.db").exists():  # nothing was trained
            return
        with closing(sqlite3.connect(self.root / "mlflow.db")) as store:
            query = "select name from runs where status not in ('FINISHED', 'KILLED')"
            if wrong := [name for (name,) in store.execute(query)]:
                raise FaultError(f"MLflow has them neither as finished nor as killed: {wrong}")

    def temporary(self):
        """The temporary files in the copy, without git's."""
        for pattern in TEMPORARY:
            for path in self.root.rglob(pattern):
                parts = path.relative_to(self.root).parts
                if parts[0] not in (".git", "mlruns") and parts[:2] != (".dvc", "site"):
                    yield "/".join(parts)


def running(pid):
    """The stages that DVC runs below a process."""
    names = set()
    with suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                line = process.cmdline()
                if "repro" in line and "-s" in line:
                    names.add(line[-1])
    return names


def remove(path):
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main():
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}: again with --seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    remove(COPY)
    copy = Copy(COPY)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return kill_and_check(copy, chance, options.kills)
    except FaultError as fault:
        sys.exit(f"error: {fault}")
    finally:  # also when this is interrupted
        copy.kill()


def kill_and_check(copy, chance, wanted):
    """Kill that many times, in one group of stages after another; returns the exit code."""
    began = time.monotonic()
    copy.run_undisturbed()
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    kills, faults = 0, 0
    for group in cycle(GROUPS):
        if kills == wanted:
            break
        copy.take_away(group)
        began = time.monotonic()
        for _ in range(min(chance.choice((1, 2, 3)), wanted - kills)):
            where = copy.kill_in(group, chance)
            if where:
                kills += 1
                print(f"kill {kills}, {group}: {where}", flush=True)
        try:
            copy.run_after_kills()
            copy.check()
        except FaultError as fault:
            faults += 1
            print(f"  error: {fault}", flush=True)
            copy.kill()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print(f"{kills} kills, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
