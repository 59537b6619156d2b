"""Where the time of a training goes; runs in a process of its own.

The parts of the training loop are wrapped in timers; what they leave is the loop itself. The
timers cost about 1 %. What diagnostics add is taken in a training of their own.
"""

import time
from collections import defaultdict
from functools import partial
from unittest.mock import patch

from benchmarks import contestants
from mlcore.nn import network, training
from mlcore.nn.activations import ACTIVATIONS, Activation
from mlcore.nn.losses import cross_entropy

SPENT = defaultdict(float)
"""Seconds of each part, without those of the parts within it."""

WITHIN = []
"""For each part that runs now: the seconds of the parts within it so far."""


def timed(name, function):
    """Wrap a function in a timer, which adds to the part `name` of `SPENT`."""

    def wrapper(*args, **kwargs):
        WITHIN.append(0.0)
        began = time.perf_counter()
        result = function(*args, **kwargs)
        seconds = time.perf_counter() - began
        SPENT[name] += seconds - WITHIN.pop()
        if WITHIN:
            WITHIN[-1] += seconds
        return result

    return wrapper


def timed_generator(name, function):
    """Wrap a generator function likewise: only its own steps count, not what is between them."""
    return lambda *args: iter(timed(name, partial(next, function(*args), None)), None)


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
    training.backward = timed_generator("matrix products, backward", training.backward)
    for owner, function, name in (
        (training, "count_correct", "accuracy"),
        (training._Descent, "forward", "matrix products, forward"),
        (training._Descent, "_subtract_product", "matrix products, update"),
        (training.Columns, "batch", "gathering the batch"),
        (training.Columns, "of", "ordering the pixels, once"),
        (network, "validate_data", "checking the inputs, once"),
    ):
        setattr(owner, function, timed(name, getattr(owner, function)))


def cost_of_diagnostics(X, y, epochs, activation):
    """Train once with diagnostics; returns their time as a fraction of that of the rest.

    A training without, in another process, is no measure: two that do the same differ by as much.
    """
    model = contestants.network(epochs, activation, diagnostics=True)
    SPENT.clear()
    with patch.object(network, "diagnose", timed("diagnostics", network.diagnose)):
        total, _ = contestants.clock(model.fit, X, y)
    return SPENT["diagnostics"] / (total - SPENT["diagnostics"])


def measure(name, data, epochs, activations):
    """Train with each activation.

    Returns
    -------
    dict of str to dict
        By activation: "seconds_per_epoch"; "fractions" of the time by part, which sum to 1;
        "diagnostics_overhead".
    """
    fit, (X, y) = contestants.contestant(name, data), contestants.training_part(data)
    fit(1, activations[0])  # fills caches
    costs = [cost_of_diagnostics(X, y, epochs, activation) for activation in activations]
    install_timers()
    profiles = {}
    for activation, cost in zip(activations, costs, strict=True):
        SPENT.clear()
        total, _ = contestants.clock(fit, epochs, activation)
        parts = {part: seconds / total for part, seconds in SPENT.items()}
        parts["the loop itself"] = 1.0 - sum(parts.values())
        profiles[activation] = {
            "seconds_per_epoch": total / epochs,
            "fractions": parts,
            "diagnostics_overhead": cost,
        }
    return profiles
