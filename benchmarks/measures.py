"""What is measured, and how: contestants in turn, medians of ratios.

Contestants live in processes of their own and are asked in turn, A B C A B C, so that whatever
slows the machine down for a while slows all of them. What counts are ratios within a round; the
median over the rounds is reported.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import joblib

from benchmarks.contestants import CONTESTANTS, HIDDEN, N_CLASSES
from benchmarks.worker import train_cell
from mlcore.process import THREAD_VARIABLES, pin_threads

ROOT = Path(__file__).parents[1]
N_FEATURES = 784
OURS, FLOOR = "ours", "bare products"
ACTIVATIONS = ("relu", "tanh", "sigmoid")
SCORING = (OURS, "JAX jit", "PyTorch eager", "MLPClassifier float32")
CELLS = [
    (activation, init)
    for activation in ("sigmoid", "tanh", "relu", "leaky_relu")
    for init in ("zero", "random", "normal")
]
STUDY = "the study's"
SHAPES = {  # hidden layers, share of the samples
    STUDY: (HIDDEN, 1.0),
    "half the width": ((128, 64, 32, 16), 1.0),
    "twice the width": ((512, 256, 128, 64), 1.0),
    "one hidden layer": ((256,), 1.0),
    "eight hidden layers": ((256, 128, 64, 32, 32, 32, 32, 32), 1.0),
    "half the samples": (HIDDEN, 0.5),
}
# As the pipeline runs a training, in its own environment
MEMORY_COMMAND = (
    ".venv/bin/python",
    "-m",
    "stages.train_network",
    "network.max_epochs=2",
    "tracking=off",
    "hydra.run.dir=build/bench",
)
STARTED = time.monotonic()


def say(text):
    """Print a line of progress with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:4.0f} s  {text}", flush=True)


def one_thread():
    """Give the environment that holds the libraries to one thread, and JAX to the processor."""
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
    return os.environ | dict.fromkeys(THREAD_VARIABLES, "1") | flags


class Worker:
    """A contestant's process, on one core with one thread.

    Parameters
    ----------
    name : str
        Key of `CONTESTANTS`.
    core : int
    data : Path

    Attributes
    ----------
    greeting : dict
        "version" and "n_samples"; or "absent", the reason, where its library is not installed.
    """

    def __init__(self, name, core, data):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(data.resolve()), str(core)],
            cwd=ROOT,
            env=one_thread(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.greeting = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            name, code = self.process.args[3], self.process.wait()
            raise RuntimeError(f"{name} ended with exit code {code}; the reason stands above")
        return json.loads(line)

    def ask(self, method, **arguments):
        """Send a request; returns the seconds it took."""
        self.process.stdin.write(json.dumps({"method": method, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer()["seconds"]

    def stop(self):
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@contextmanager
def started(names, core, data):
    """Start workers, and end them with the block.

    Parameters
    ----------
    names : sequence of str
    core : int
    data : Path

    Yields
    ------
    workers : dict of str to Worker
        Those whose library is installed.
    status : dict of str to str
        The version of each, or "absent: " and the reason.
    """
    workers, status = {}, {}
    try:
        for name in names:
            worker = Worker(name, core, data)
            if "absent" in worker.greeting:
                worker.stop()
                status[name] = f"absent: {worker.greeting['absent']}"
            else:
                workers[name] = worker
                status[name] = worker.greeting["version"]
            say(f"{name}: {status[name]}")
        yield workers, status
    finally:
        for worker in workers.values():
            worker.stop()


def interleave(workers, rounds, method, untimed=None, **arguments):
    """Ask every worker in turn, `rounds` times.

    Parameters
    ----------
    workers : dict of str to Worker
    rounds : int
    method : str
    untimed : dict, optional
        What to change in the arguments of the request just before each one that counts. It
        compiles, and finds memory that the system took back since the last turn: here the first
        to ask for it paid up to 0.3 s.
    **arguments
        Of the request.

    Returns
    -------
    dict of str to list of float
        The seconds of each worker, round by round.
    """
    seconds = {name: [] for name in workers}
    for number in range(1, rounds + 1):
        for name, worker in workers.items():
            worker.ask(method, **arguments | (untimed or {}))
            seconds[name].append(worker.ask(method, **arguments))
        line = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
        say(f"{method}, round {number}: {line}")
    return seconds


def summarize(seconds, reference, unit=1):
    """Reduce rounds to medians.

    Parameters
    ----------
    seconds : dict of str to list of float
        Round by round.
    reference : str
        Key of `seconds` that the others are compared to.
    unit : int
        Units of work in a round.

    Returns
    -------
    dict of str to dict
        "seconds", the median per unit; "ratio", the median of the ratios to the reference in the
        same round; "lowest" and "highest" of these ratios.
    """
    summary = {}
    for name, values in seconds.items():
        ratios = [v / r for v, r in zip(values, seconds[reference], strict=True)]
        summary[name] = {
            "seconds": median(values) / unit,
            "ratio": median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return summary


def contest(rounds, epochs, core, data, names=tuple(CONTESTANTS), activations=ACTIVATIONS):
    """Time `fit` and `predict_proba` of all contestants with every activation.

    Parameters
    ----------
    rounds, epochs : int
        Every contestant trains `epochs` epochs in every round, after one that does not count.
    core : int
    data : Path
    names : sequence of str
        Contestants.
    activations : sequence of str

    Returns
    -------
    dict
        "contestants": what `started` says of each. By activation: "fit" and "predict_proba",
        summaries relative to ours; "ours_over_floor", the median of the ratios of our time to the
        bare products'; "images_per_second" scored by each.
    """
    results = {"fit": {}, "predict_proba": {}, "ours_over_floor": {}, "images_per_second": {}}
    with started(names, core, data) as (workers, status):
        scoring = {name: worker for name, worker in workers.items() if name in SCORING}
        for activation in activations:
            say(f"{activation}: {rounds} rounds")
            fit = interleave(
                workers, rounds, "fit", untimed={"epochs": 1}, epochs=epochs, activation=activation
            )
            results["fit"][activation] = summarize(fit, OURS, epochs)
            results["ours_over_floor"][activation] = summarize(fit, FLOOR)[OURS]["ratio"]
            predict = summarize(interleave(scoring, rounds, "predict"), OURS)
            results["predict_proba"][activation] = predict
            results["images_per_second"][activation] = {
                name: workers[name].greeting["n_samples"] / entry["seconds"]
                for name, entry in predict.items()
            }
    return {"contestants": status, **results}


def twelve_cells(processes, epochs, data):
    """Train the twelve cells in new processes of one thread each; returns the seconds."""
    began = time.perf_counter()
    with ProcessPoolExecutor(processes, get_context("spawn"), pin_threads) as pool:
        cells = [pool.submit(train_cell, *cell, epochs, data) for cell in CELLS]
        for cell in cells:
            cell.result()
    return time.perf_counter() - began


def grid(rounds, epochs, data):
    """Time the twelve cells in one process per core, and in one process.

    Returns
    -------
    dict
        "cores" and "seconds", a summary relative to "all cores".
    """
    cores = joblib.cpu_count()
    seconds = {"all cores": [], "one core": []}
    for number in range(1, rounds + 1):
        seconds["all cores"].append(twelve_cells(cores, epochs, data))
        seconds["one core"].append(twelve_cells(1, epochs, data))
        line = ", ".join(f"{name} {values[-1]:.1f} s" for name, values in seconds.items())
        say(f"twelve cells, round {number}: {line}")
    return {"cores": cores, "seconds": summarize(seconds, "all cores")}


def flops(sizes, n_samples):
    """Count the floating point operations of the matrix products of an epoch.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, from the inputs to the outputs.
    n_samples : int

    Returns
    -------
    int
        A multiplication and an addition for every weight and sample in the forward pass, as many
        for the gradient, and as many for the deltas, which the first layer does not need.
    """
    n_weights = [a * b for a, b in pairwise(sizes)]
    return 2 * n_samples * (3 * sum(n_weights) - n_weights[0])


def growth(rounds, epochs, core, data):
    """Time other widths, depths and numbers of samples, against the work they are.

    Returns
    -------
    dict of str to dict
        Summaries relative to the study's network, with "gflop" per epoch, "gflop_ratio" to the
        study's and "gflop_per_second".
    """
    seconds = {name: [] for name in SHAPES}
    with started([OURS], core, data) as (workers, _):
        worker = workers[OURS]
        n_all = worker.greeting["n_samples"]
        n_samples = {name: round(share * n_all) for name, (_, share) in SHAPES.items()}
        for number in range(rounds + 1):
            for name, (hidden, _) in SHAPES.items():
                worker.ask("shape", hidden=hidden, n_samples=n_samples[name])
                spent = worker.ask("fit", epochs=epochs)
                if number:  # the first round warms up
                    seconds[name].append(spent)
            say(f"growth, round {number} of {rounds}")
    results = summarize(seconds, STUDY, epochs)
    work = {
        name: flops([N_FEATURES, *hidden, N_CLASSES], n_samples[name])
        for name, (hidden, _) in SHAPES.items()
    }
    for name, entry in results.items():
        entry["gflop"] = work[name] / 1e9
        entry["gflop_ratio"] = work[name] / work[STUDY]
        entry["gflop_per_second"] = work[name] / entry["seconds"] / 1e9
    return results


def peak_memory():
    """Run one training as the pipeline does; returns its peak resident memory in MiB."""
    process = subprocess.Popen(MEMORY_COMMAND, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)  # of this child alone, not of all so far
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(MEMORY_COMMAND)} ended with {process.returncode}")
    say(f"peak memory of a training: {usage.ru_maxrss / 1024:.0f} MiB")
    return usage.ru_maxrss / 1024  # Linux counts in KiB


def profile(epochs, core, data):
    """Run `benchmarks.profile` on one core; returns what it prints."""
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.profile", str(data.resolve()), str(core), str(epochs)],
        cwd=ROOT,
        env=one_thread(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    say("profile done")
    return json.loads(output)
