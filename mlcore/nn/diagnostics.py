"""Values that explain why a network learns, or does not: pure functions of its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.nn.activations import Activation, Array, sigmoid_gradient, softmax
from mlcore.nn.gradients import backward, forward
from mlcore.nn.losses import Loss

PROBE_SIZE = 1000
"""Training samples that the values are taken on: about 2.5 % of the time of a training."""

SAME = 1e-4
"""Units whose spread is below this are the same but for roundings, which float32 has at 1e-7."""

VANISHED = 1e-3
"""A first layer whose gradient is below this fraction of the output layer's learns nothing."""

MANY_DEAD = 0.5

SATURATED = 0.1
"""A unit whose mean derivative is below this fraction of the greatest one is saturated."""


def diagnose(
    X: Array,
    y: NDArray[Any],
    weights: Sequence[Array],
    biases: Sequence[Array],
    hidden: Activation,
    loss: Loss,
) -> dict[str, float]:
    """Compute what there is to say about each layer on a probe.

    Parameters
    ----------
    X : ndarray of shape (n_probe, n_features)
    y : ndarray of shape (n_probe,) or (n_probe, n_outputs)
        As `mlcore.nn.training.train` takes it.
    weights, biases : sequences of ndarrays
    hidden : Activation
    loss : Loss

    Returns
    -------
    dict of str to float
        With layers numbered from 1, the output layer the last. For every layer
        "gradient_norm_{layer}": Euclidean norm of the loss's gradient with respect to its weights
        and biases. For hidden layers "dead_units_{layer}": share of units whose derivative is 0
        for the whole probe; "saturated_units_{layer}": share of units whose mean derivative is
        below a tenth of the activation's greatest; "unit_spread_{layer}": how far the units are
        from all being the same (see `unit_spread`).
    """
    outputs = forward(X, weights, biases, hidden)
    # A softmax unit's derivative with respect to its own input is s (1 - s), as a sigmoid unit's
    differentiate = sigmoid_gradient if hidden.function is softmax else hidden.gradient
    values: dict[str, float] = {}
    for layer, output in enumerate(outputs[1:-1], start=1):
        derivative = np.ones_like(output)
        differentiate(output, derivative)
        mean = derivative.mean(axis=0)
        values[f"dead_units_{layer}"] = float(np.mean(~derivative.any(axis=0)))
        values[f"saturated_units_{layer}"] = float(
            np.mean(mean < SATURATED * hidden.greatest_derivative)
        )
        values[f"unit_spread_{layer}"] = unit_spread(weights[layer - 1], biases[layer - 1])
    loss(outputs[-1], y)
    for layer, delta in backward(outputs[1:], weights, outputs[-1], hidden):
        by_weight, by_bias = outputs[layer].T @ delta, delta.sum(axis=0)
        # In float32 the squares of a vanishing gradient would be 0
        gradient = np.vstack((by_weight, by_bias), dtype=np.float64)
        values[f"gradient_norm_{layer + 1}"] = float(np.linalg.norm(gradient))
    return values


def why(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give what most explains whether a network learns, of what `diagnose` gave for each epoch.

    Returns
    -------
    dict
        "gradient_ratio": the gradient's norm in the first layer over that in the output layer,
        after the first epoch, 0 where both vanish; "unit_spread": the smallest of the hidden
        layers, after the last epoch.
    """
    first, *_, output = _by_layer("gradient_norm", history[0])
    return {
        "gradient_ratio": first / output if output else 0.0,
        "unit_spread": min(_by_layer("unit_spread", history[-1])),
    }


def _by_layer(name: str, values: Mapping[str, float]) -> list[float]:
    """Give a value of each layer, the first layer's first."""
    names = [key for key in values if key.startswith(name)]
    return [values[key] for key in sorted(names, key=lambda key: int(key.rpartition("_")[2]))]


def explain(last: Mapping[str, float]) -> str:
    """Say in a clause what a network's values mean for its learning.

    `last` is what `diagnose` gave after the last epoch.
    """
    first, *_, output = _by_layer("gradient_norm", last)
    spreads, dead = _by_layer("unit_spread", last), max(_by_layer("dead_units", last))
    same = [layer for layer, spread in enumerate(spreads, start=1) if spread < SAME]
    if len(same) == len(spreads):
        return "every hidden layer: all units the same"
    if first < VANISHED * output:
        if not first:
            return "no gradient reaches the first layer"
        ratio = float(f"{output / first:.1e}")  # two digits: more are one epoch's alone
        return f"first layer's gradient: 1/{ratio:,.0f} of the output's"
    if same:
        return f"hidden layers {', '.join(map(str, same))}: all units the same"
    if dead >= MANY_DEAD:
        return f"up to {dead:.0%} of a layer's units dead"
    return "gradients reach every layer, units differ"


def unit_spread(W: Array, b: Array) -> float:
    """Measure how far the units of a layer are from all being the same.

    Parameters
    ----------
    W : ndarray of shape (fan_in, n_units)
    b : ndarray of shape (n_units,)

    Returns
    -------
    float
        Norm of the units' deviations from their mean over the norm of the units, from 0 (all the
        same) to 1 (their mean is 0). A unit is its incoming weights and its bias.
    """
    units = np.vstack((W, b), dtype=np.float64)
    whole = np.linalg.norm(units)
    if whole == 0:
        return 0.0
    units -= units.mean(axis=1, keepdims=True)
    return float(np.linalg.norm(units) / whole)
