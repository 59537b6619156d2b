"""Train two hundred times on two Dask workers: does anything grow? ``python -m tests.soak``.

Prints what the processes of the sweep held in memory and as open files, and fails if that rises
from the second quarter of the time, when all are warm, to the last; or if a training is not one
finished run.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median

import mlflow
import psutil

from mlcore.tracking.store import default_uri

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "soak"
LEVEL = 1.1
"""How far a median may rise from the second quarter of the time to the last."""


def role(process):
    """Say what a process of the sweep does; None for one that comes and goes."""
    words = " ".join(process.cmdline())
    known = {
        "tracking.recorder": "writer",
        "spawn_main": "worker",
        "stages.train_network": "command",
    }
    return next((name for word, name in known.items() if word in words), None)


def sample(parent):
    """Give the memory in MiB and the open files of the sweep's processes, by role and id."""
    found = {}
    for process in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.Error), process.oneshot():
            if name := role(process):
                usage = process.memory_full_info().uss / 2**20, process.num_fds()
                found[name, process.pid] = usage
    return found


def watch(command):
    """Run a command; returns samples of its processes, one a second."""
    process = subprocess.Popen(command, cwd=ROOT)
    samples = []
    while process.poll() is None:
        with suppress(psutil.Error):
            samples.append(sample(psutil.Process(process.pid)))
        time.sleep(1)
    if process.returncode:
        sys.exit(f"error: the sweep ended with exit code {process.returncode}")
    return samples


def quarters(samples, key, position):
    """Give the medians of a process's memory (0) or files (1) over four quarters of its life."""
    values = [s[key][position] for s in samples if key in s]
    edges = [round(i * len(values) / 4) for i in range(5)]
    return [median(values[a:b]) for a, b in pairwise(edges)]


def rises(samples):
    """Print the quarters of every process that lasts; returns what rises."""
    found = []
    lasting = Counter(key for s in samples for key in s)
    for key in sorted(key for key, seen in lasting.items() if seen > len(samples) / 2):
        for position, unit in enumerate(("MiB", "open files")):
            values = quarters(samples, key, position)
            print(f"{key[0]:8} {unit:10}", *(f"{value:7.0f}" for value in values))
            if values[3] > LEVEL * values[1]:
                found.append(f"{unit} of the {key[0]} rise")
    return found


def unrecorded(uri, n):
    """Say what is not one finished run for each of n seeds."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("network").experiment_id
    runs = client.search_runs([experiment], max_results=50_000)
    seeds = Counter(run.data.params["seed"] for run in runs if "seed" in run.data.params)
    found = [f"{r.info.run_name} is {r.info.status}" for r in runs if r.info.status != "FINISHED"]
    if seeds != Counter(map(str, range(n))):
        found.append(f"{seeds.total()} runs of {len(seeds)} seeds are recorded, not {n} of {n}")
    return found


def main():
    """Run the sweep and judge it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--trainings", type=int, default=200)
    n = parser.parse_args().trainings
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    uri = default_uri(FOLDER)
    began = time.monotonic()
    samples = watch(
        [
            *(sys.executable, "-m", "stages.train_network", "-m", "hydra/launcher=dask"),
            *("hydra.launcher.n_workers=2", f"hydra.sweep.dir={FOLDER / 'sweep'}"),
            *("network.max_epochs=1", "network.hidden_layer_sizes=[32]"),
            *(f"network.seed=range({n})", f"tracking.uri={uri}"),
        ]
    )
    print(f"{n} trainings in {time.monotonic() - began:.0f} s")
    if failed := [*rises(samples), *unrecorded(uri, n)]:
        sys.exit("error: " + "; ".join(failed))
    print(f"memory and open files are level; each of {n} trainings is one finished run")


if __name__ == "__main__":
    main()
