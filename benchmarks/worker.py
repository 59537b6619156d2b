"""One contestant in a process of its own: ``python -m benchmarks.worker NAME DATA CORE``.

Reads one request per line, ``{"method": ..., "arguments": {...}}``, and answers with the seconds
it took. The number of threads is set by the environment it is started with.
"""

import json
import os
import sys
import time
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from benchmarks.contestants import CONTESTANTS

DISTRIBUTIONS = {"sklearn": "scikit-learn"}


@cache
def load_training_part(path):
    """Read the training part of a split, images and labels, once in a process."""
    # Imported here, because they take a second that an absent contestant need not wait
    from mlcore.data.splits import from_arrays
    from mlcore.files import load_arrays

    return from_arrays(load_arrays(path), str(path), names=("train",))["train"]


class Requests:
    """What can be asked of a contestant.

    Parameters
    ----------
    name : str
        Key of `CONTESTANTS`.
    data : Path
        A split, as the stage split_mnist writes it.
    """

    def __init__(self, name, data):
        self.X, self.y = load_training_part(data)
        self.make = CONTESTANTS[name]
        self.contestant = self.make(self.X, self.y)

    def fit(self, epochs, activation="relu", init="normal"):
        """Train."""
        self.contestant.fit(epochs, activation, init)

    def predict(self):
        """Score all training images with the network trained last."""
        self.contestant.predict_proba(self.X)

    def shape(self, hidden, n_samples):
        """Train another network, or on fewer samples, from now on."""
        self.contestant = self.make(self.X[:n_samples], self.y[:n_samples], tuple(hidden))


def train_cell(activation, init, epochs, data):
    """Train one cell of the study's grid with the network from scratch."""
    CONTESTANTS["ours"](*load_training_part(data)).fit(epochs, activation, init)


def main():
    """Answer requests until there are no more."""
    name, data, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})  # threads that a library starts inherit it
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    library = CONTESTANTS[name].library
    try:
        import_module(library)
    except (ImportError, OSError) as error:  # OSError: a shared library that it needs is not there
        answer(absent=str(error))
        return
    requests = Requests(name, Path(data))
    answer(
        version=f"{library} {version(DISTRIBUTIONS.get(library, library))}",
        n_samples=len(requests.X),
    )
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        getattr(requests, request["method"])(**request["arguments"])
        answer(seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
