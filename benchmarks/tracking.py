"""What tracking costs and how that grows, and what a second worker gains.

``python -m benchmarks.tracking``, or ``make bench-tracking``; writes tracking.json and tracking.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from uuid import uuid4

import requests
from filelock import FileLock

from benchmarks.__main__ import HERE, machine
from benchmarks.measures import ROOT, say, summarize
from benchmarks.report import table
from mlcore.files import atomic_path, read_json, read_table, write_json
from mlcore.tracking import notes
from mlcore.tracking.recorder import Run
from mlcore.tracking.server import URI, logged_in, read_login
from mlcore.tracking.store import Store, default_uri

WORK = ROOT / "build" / "tracking"
CELL = "tanh-normal"
STAGES = 12
EPOCHS = 100
MEASURED = 5
"""Runs of which the median time counts, at each size of the store."""

TRAIN = ("-m", "stages.train_network", "hydra.run.dir=build/tracking/out")
TRACKED, UNTRACKED, IMPORT = "tracked", "not tracked", "import mlflow"
FULL = {
    TRACKED: (*TRAIN, f"tracking.uri={default_uri(WORK)}"),
    UNTRACKED: (*TRAIN, "tracking=off"),
}
"""Trainings of the study's network, as a user starts them."""

SHORT = {name: (*words, "network.max_epochs=1") for name, words in FULL.items()}
SHORT[IMPORT] = ("-c", "import mlflow")

N_JOBS = 6
SWEEP = (
    *("-m", "stages.train_network", "-m", "hydra/launcher=dask", "tracking=off"),
    *("hydra.sweep.dir=build/tracking/sweep", f"network.seed=range({N_JOBS})"),
    *("network.max_epochs=60", "network.patience=60"),
)
"""Trainings of one length: else one worker may wait for the other's last, by chance."""


def run(*arguments, **variables):
    """Run a command of the project; returns its seconds."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def side_by_side(commands, rounds):
    """Run commands in turn.

    Parameters
    ----------
    commands : dict of str to callable
        Each runs one command and returns its seconds.
    rounds : int

    Returns
    -------
    dict of str to list of float
        The seconds of each command, round by round.
    """
    seconds = {name: [] for name in commands}
    for number in range(1, rounds + 1):
        for name, command in commands.items():
            seconds[name].append(command())
            say(f"round {number}, {name}: {seconds[name][-1]:.1f} s")
    return seconds


def cost(rounds):
    """Time trainings with tracking and without; returns summaries relative to those without."""
    run(*SHORT[TRACKED])  # makes the store
    return {
        length: summarize(
            side_by_side({n: partial(run, *words) for n, words in commands.items()}, rounds),
            UNTRACKED,
        )
        for length, commands in {"full": FULL, "one epoch": SHORT}.items()
    }


def sweep(rounds):
    """Time a sweep on one Dask worker and on two; returns summaries relative to two."""
    commands = {
        f"{n} worker{'s' * (n > 1)}": partial(
            run, *SWEEP, f"hydra.launcher.n_workers={n}", RETRACE_FORCE="1"
        )
        for n in (2, 1)
    }
    return summarize(side_by_side(commands, rounds), "2 workers")


class Training:
    """Notes of a finished training, as a stage's process writes them.

    Parameters
    ----------
    store : Store
    number : int
        Trainings with the same remainder by `STAGES` are of the same stage.
    """

    def __init__(self, store, number):
        self.folder = WORK / "notes" / str(number)
        self.folder.mkdir(parents=True)
        (self.folder.parent / notes.RECORDER).touch()
        self.run = Run(self.folder, store)
        self.stage = f"train_network@{number % STAGES}"

    def send(self, events):
        """Note what happened and have the writer send it; returns the seconds of that."""
        with (self.folder / notes.EVENTS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        began = time.perf_counter()
        self.run.advance()
        return time.perf_counter() - began

    def record(self, rows, metrics):
        """Record the run; returns the seconds of its start, and of all that follows."""
        began = time.time() - len(rows)
        started = {
            "event": "started", "time": began, "part": "network", "name": CELL,
            "id": uuid4().hex, "params": {"activation": "tanh", "init": "normal", "seed": "42"},
            "tags": {"origin": "dvc", "dvc.stage": self.stage}, "path": "data/mnist.npz",
            "dataset": {"name": "mnist", "digest": "0" * 32},
        }  # fmt: skip
        epochs = [{"event": "epoch", "time": began + row["epoch"], "row": row} for row in rows]
        finished = {
            "event": "finished", "ended": time.time(), "metrics": metrics,
            "outputs": {f"models/network/{CELL}.pkl": "0" * 32}, "candidates": [],
        }  # fmt: skip
        with FileLock(self.folder / notes.LOCK):
            seconds = self.send([started]), self.send([*epochs, finished])
        shutil.rmtree(self.folder)
        return seconds


def growth(store, sizes):
    """Fill a store with runs; time how it takes new ones, and how it gives the current ones.

    Parameters
    ----------
    store : Store
    sizes : sequence of int
        Numbers of runs at which to measure.

    Returns
    -------
    dict of str to dict of str to float
        By size: the median seconds of "start", "log" and "list".
    """
    history = read_table(ROOT / "history" / "network" / f"{CELL}.csv").to_dict("records")
    rows = [history[i % len(history)] | {"epoch": i + 1} for i in range(EPOCHS)]
    metrics = read_json(ROOT / "metrics" / "network" / f"{CELL}.json")
    experiment = store.experiment("network")
    number, result = 0, {}
    for size in sizes:
        while number < size - MEASURED:
            Training(store, number).record(rows, metrics)
            number += 1
        recorded = [Training(store, number + i).record(rows, metrics) for i in range(MEASURED)]
        number = size
        lists = []
        for _ in range(MEASURED):
            began = time.perf_counter()
            found = store.client.search_runs([experiment], "tags.current = 'true'")
            lists.append(time.perf_counter() - began)
        assert len(found) == min(size, STAGES)
        starts, logs = zip(*recorded, strict=True)
        result[str(size)] = {"start": median(starts), "log": median(logs), "list": median(lists)}
        say(f"{size} runs: {result[str(size)]}")
    return result


@contextmanager
def server():
    """Give the store of an MLflow server over the database BACKEND, in a clone of its own."""
    copy = WORK / "server"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    command = [sys.executable, "-m", "mlcore.tracking.server", "--port", "5061"]
    process = subprocess.Popen(command, cwd=copy)
    try:
        while process.poll() is None:
            with suppress(requests.ConnectionError):
                requests.get("http://127.0.0.1:5061/health", timeout=5)
                break
            time.sleep(0.2)
        login = read_login(copy)
        with logged_in(login):
            yield Store(login[URI], copy)
    finally:
        process.terminate()
        process.wait()


def markdown(results):
    """Write the page."""
    full, short = results["cost"]["full"], results["cost"]["one epoch"]
    start = short[TRACKED]["seconds"] - short[UNTRACKED]["seconds"]
    parts = [
        "# Benchmark of tracking and sweeps",
        "Written by `make bench-tracking`.",
        "## What tracking costs",
        f"A training of the study's network in full length takes {full[TRACKED]['ratio']:.3f} "
        f"times as long with tracking ({full[TRACKED]['seconds']:.1f} s) as without "
        f"({full[UNTRACKED]['seconds']:.1f} s); in single rounds {full[TRACKED]['lowest']:.3f} to "
        f"{full[TRACKED]['highest']:.3f}. One of one epoch takes {start:.1f} s longer "
        f"({short[UNTRACKED]['seconds']:.1f} s without); `import mlflow` alone takes "
        f"{short[IMPORT]['seconds']:.1f} s, in a process beside the training.",
        "## How it grows",
        f"Seconds to start a run, to log its {EPOCHS} epochs with diagnostics and end it, and to "
        "list the current twelve, in a store with that many runs:",
    ]
    for name, sizes in results["growth"].items():
        rows = [[n, *(f"{e[k]:.3f}" for k in ("start", "log", "list"))] for n, e in sizes.items()]
        parts += [f"### {name}", table(["runs", "start", "log", "list"], rows)]
    sweep = results["sweep"]
    about = [f"{k} {v}" for k, v in results["machine"].items() if k not in ("blas", "simd")]
    parts += [
        "## Two workers",
        f"A sweep of {N_JOBS} trainings of the study's network, 60 epochs each, with the Dask "
        "launcher, start-up included: "
        f"{sweep['2 workers']['seconds']:.0f} s with two workers, "
        f"{sweep['1 worker']['seconds']:.0f} s with one, {sweep['1 worker']['ratio']:.2f} times "
        "as long.",
        "## Measured on",
        ", ".join(about),
    ]
    return "\n\n".join(parts) + "\n"


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sweep-rounds", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args()
    if not (ROOT / "history" / "network" / f"{CELL}.csv").is_file():
        sys.exit("error: the benchmark needs the results of `make repro`")
    if not os.environ.get("BACKEND", "").startswith("postgresql:"):
        sys.exit("error: BACKEND should be the URI of an empty PostgreSQL, see docs/server.md")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    results = {
        "machine": machine(),
        "cost": cost(options.rounds),
        "sweep": sweep(options.sweep_rounds),
        "growth": {"SQLite": growth(Store(default_uri(WORK / "runs"), WORK), options.sizes)},
    }
    with server() as store:
        results["growth"]["PostgreSQL, over a server"] = growth(store, options.sizes)
    shutil.rmtree(WORK)
    write_json(options.out / "tracking.json", results)
    with atomic_path(options.out / "tracking.md") as temporary:
        page = markdown(read_json(options.out / "tracking.json"))
        temporary.write_text(page, encoding="utf-8")
    say("wrote tracking.json and tracking.md")


if __name__ == "__main__":
    main()
