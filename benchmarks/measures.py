"""What is measured, and how: contestants in turn, medians of ratios.

Contestants live in processes of their own and are asked in turn, A B C A B C, so that whatever
slows the machine down for a while slows all of them. What counts are ratios within a round; the
median over the rounds is reported.
"""

import resource
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import joblib
import pandas as pd

from benchmarks import contestants
from benchmarks.contestants import CONTESTANTS
from mlcore.process import pin_threads

OURS, FLOOR = "ours", "bare products"
ACTIVATIONS = ("relu", "tanh", "sigmoid")
SCORING = (OURS, "JAX jit", "PyTorch eager", "MLPClassifier float32")
CELLS = list(product(("sigmoid", "tanh", "relu", "leaky_relu"), ("zero", "random", "normal")))
STARTED = time.monotonic()


class Plan(NamedTuple):
    """What to measure on: a split, as the stage split_mnist writes it; a core; how much."""

    data: Path
    core: int
    rounds: int
    epochs: int


def say(text):
    """Print a line of progress with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:4.0f} s  {text}", flush=True)


@contextmanager
def started(plan, names):
    """Start a process for each contestant, on one core with one thread; end them with the block.

    Gives, of those whose library is installed, ``ask(function, *arguments)``, which calls
    ``function(name, data, *arguments)`` in the process; and of all the version or "absent: why".
    """
    workers, status = {}, {}
    with ExitStack() as stack:
        for name in names:
            pool = ProcessPoolExecutor(1, get_context("spawn"), contestants.pin, (plan.core,))
            stack.enter_context(pool)

            def ask(function, *arguments, pool=pool, name=name):
                return pool.submit(function, name, plan.data, *arguments).result()

            try:
                status[name] = ask(contestants.version)
                workers[name] = ask
            except (ImportError, OSError) as error:  # OSError: a shared library is not there
                status[name] = f"absent: {error}"
            say(f"{name}: {status[name]}")
        yield workers, status


def interleave(workers, rounds, *arguments, warm=None):
    """Ask every worker in turn, `rounds` times; returns the seconds of each, round by round.

    With `warm` there is a call with these arguments just before each one that counts. It compiles,
    and finds memory that the system took back since the last turn: the first to ask for it paid up
    to 0.3 s.
    """
    seconds = {name: [] for name in workers}
    for number in range(1, rounds + 1):
        for name, ask in workers.items():
            if warm:
                ask(*warm)
            seconds[name].append(ask(*arguments))
        line = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
        say(f"round {number}: {line}")
    return seconds


def summarize(seconds, reference, unit=1):
    """Reduce the rounds of each name to medians.

    "seconds" is that per unit of work, of which a round has `unit`; "ratio" that of the ratios to
    the name `reference` in the same round, with "lowest" and "highest".
    """
    seconds = pd.DataFrame(seconds)
    ratios = seconds.div(seconds[reference], axis="index")
    columns = {
        "seconds": seconds.median() / unit,
        "ratio": ratios.median(),
        "lowest": ratios.min(),
        "highest": ratios.max(),
    }
    return pd.DataFrame(columns).to_dict("index")


def contest(plan, names=tuple(CONTESTANTS), activations=ACTIVATIONS):
    """Time training and scoring of contestants with every activation.

    By activation come "fit" and "predict_proba", summaries relative to ours: of epochs, and of the
    scoring of an image.
    """
    results = {"fit": {}, "predict_proba": {}}
    with started(plan, names) as (workers, status):
        scoring = {name: worker for name, worker in workers.items() if name in SCORING}
        n_images = len(contestants.training_part(plan.data)[0])
        for activation in activations:
            say(f"{activation}: {plan.rounds} rounds")
            train, warm = ((contestants.time_training, n, activation) for n in (plan.epochs, 1))
            fit = interleave(workers, plan.rounds, *train, warm=warm)
            results["fit"][activation] = summarize(fit, OURS, plan.epochs)
            one = (contestants.time_scoring,)
            scored = interleave(scoring, plan.rounds, *one, warm=one)
            results["predict_proba"][activation] = summarize(scored, OURS, n_images)
    return {"contestants": status, **results}


def twelve_cells(processes, plan):
    """Train the twelve cells in new processes of one thread each; returns the seconds."""
    began = time.perf_counter()
    with ProcessPoolExecutor(processes, get_context("spawn"), pin_threads) as pool:
        train = partial(contestants.train_cell, plan.data, plan.epochs)
        list(pool.map(train, *zip(*CELLS, strict=True)))
    return time.perf_counter() - began


def grid(plan):
    """Time the twelve cells in one process per core, and in one process."""
    cores = joblib.cpu_count()
    asked = {"all cores": partial(twelve_cells, cores), "one core": partial(twelve_cells, 1)}
    seconds = interleave(asked, plan.rounds, plan)
    return {"cores": cores, "seconds": summarize(seconds, "all cores")}


def peak_memory(root):
    """Run one training as the pipeline does, in its environment; returns its peak in MiB.

    It has to be the first child of this process: the system tells of the greatest so far.
    """
    words = "-m stages.train_network network.max_epochs=2 tracking=off hydra.run.dir=build/bench"
    subprocess.run([".venv/bin/python", *words.split()], cwd=root, check=True)
    mebibytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # Linux: in KiB
    say(f"peak memory of a training: {mebibytes:.0f} MiB")
    return mebibytes
