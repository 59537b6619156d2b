"""Where the time of a training goes: ``python -m benchmarks.profile DATA CORE EPOCHS``.

Prints JSON. The parts of the training loop are wrapped in timers; what they leave is the loop
itself. The timers cost about 1 %. What diagnostics add is taken in a training of their own.
"""

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

from benchmarks import measures
from benchmarks.worker import Requests
from mlcore.nn import network, training
from mlcore.nn.activations import ACTIVATIONS, Activation
from mlcore.nn.losses import cross_entropy

SPENT: dict[str, float] = defaultdict(float)


def timed(name, function, inside=()):
    """Wrap a function in a timer.

    Parameters
    ----------
    name : str
        Part of `SPENT` that its time is added to.
    function : callable
    inside : sequence of str
        Parts that run within it and count for themselves.

    Returns
    -------
    callable
    """

    def wrapper(*args, **kwargs):
        others = sum(SPENT[part] for part in inside)
        started = time.perf_counter()
        result = function(*args, **kwargs)
        spent = time.perf_counter() - started
        SPENT[name] += spent - (sum(SPENT[part] for part in inside) - others)
        return result

    return wrapper


def timed_generator(name, function, inside=()):
    """Wrap a generator function likewise: only its own steps count, not what is between them."""

    def wrapper(*args, **kwargs):
        advance = timed(name, function(*args, **kwargs).__next__, inside)
        while True:
            try:
                step = advance()
            except StopIteration:
                return
            yield step

    return wrapper


def install_timers():
    """Put timers around the parts of the training loop, for the rest of the process."""
    for name, activation in ACTIVATIONS.items():
        ACTIVATIONS[name] = Activation(
            timed("activations", activation.function),
            timed("activation gradients", activation.gradient),
            activation.greatest_derivative,
        )
    # The loop tells a classifier by its loss, so it has to know the wrapped one too
    network.cross_entropy = training.cross_entropy = timed("loss", cross_entropy)
    training.count_correct = timed("accuracy", training.count_correct)
    training.backward = timed_generator(
        "matrix products, backward", training.backward, ["activation gradients"]
    )
    descent, columns = training._Descent, training.Columns
    descent.forward = timed(
        "matrix products, forward", descent.forward, ["activations", "loss", "accuracy"]
    )
    descent._subtract_product = timed("matrix products, update", descent._subtract_product)
    columns.batch = timed("gathering the batch", columns.batch)
    columns.by_use = timed("ordering the pixels, once", columns.by_use)
    network.validate_data = timed("checking the inputs, once", network.validate_data)


def cost_of_diagnostics(contestant, epochs, activation):
    """Train once with diagnostics; returns their time as a fraction of that of the rest.

    A training without, in another process, is no measure: two that do the same differ by as much.
    """
    model = contestant.build(epochs, activation).set_params(diagnostics=True)
    SPENT.clear()
    with patch.object(network, "diagnose", timed("diagnostics", network.diagnose)):
        started = time.perf_counter()
        model.fit(contestant.X, contestant.y)
        total = time.perf_counter() - started
    return SPENT["diagnostics"] / (total - SPENT["diagnostics"])


def measure(requests, epochs, activation):
    """Train once.

    Returns
    -------
    dict
        "seconds_per_epoch", and "fractions" of the time by part, which sum to 1.
    """
    SPENT.clear()
    started = time.perf_counter()
    requests.fit(epochs, activation)
    total = time.perf_counter() - started
    parts = {name: seconds / total for name, seconds in SPENT.items()}
    parts["the loop itself"] = 1.0 - sum(parts.values())
    return {"seconds_per_epoch": total / epochs, "fractions": parts}


def main():
    """Print the profile of a training with each activation."""
    data, core, epochs = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    requests = Requests("ours", Path(data))
    requests.fit(1)  # fills caches
    names, epochs = measures.ACTIVATIONS, int(epochs)
    costs = [cost_of_diagnostics(requests.contestant, epochs, name) for name in names]
    install_timers()
    profiles = {
        name: measure(requests, epochs, name) | {"diagnostics_overhead": cost}
        for name, cost in zip(names, costs, strict=True)
    }
    print(json.dumps(profiles))


if __name__ == "__main__":
    main()
