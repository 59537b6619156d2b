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
    first, last = history[0], history[-1]
    norms = [first[name] for name in _by_layer(first, "gradient_norm_")]
    return {
        "gradient_ratio": norms[0] / norms[-1] if norms[-1] else 0.0,
        "unit_spread": min(last[name] for name in _by_layer(last, "unit_spread_")),
    }


def _by_layer(values: Mapping[str, float], prefix: str) -> list[str]:
    """Name the values of each layer, the first layer's first."""
    names = [name for name in values if name.startswith(prefix)]
    return sorted(names, key=lambda name: int(name.removeprefix(prefix)))


def explain(last: Mapping[str, float]) -> str:
    """Say in a clause what a network's values after its last epoch mean for its learning.

    Parameters
    ----------
    last : mapping
        What `diagnose` gave.
    """
    layers = sorted(int(name.rpartition("_")[2]) for name in last if name.startswith("gradient_"))
    hidden = layers[:-1]
    first, output = (last[f"gradient_norm_{layer}"] for layer in (layers[0], layers[-1]))
    same = [layer for layer in hidden if last[f"unit_spread_{layer}"] < SAME]
    dead = max(last[f"dead_units_{layer}"] for layer in hidden)
    if len(same) == len(hidden):
        return "every hidden layer: all units the same"
    if first < VANISHED * output:
        return (
            f"first layer's gradient: 1/{output / first:,.0f} of the output's"
            if first
            else ("no gradient reaches the first layer")
        )
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
