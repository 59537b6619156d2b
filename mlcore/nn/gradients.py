"""Forward and backward passes through a fully connected network, as functions of arrays.

A network is two lists: ``weights[l]`` of shape (fan_in, fan_out) and ``biases[l]`` of shape
(fan_out,). Hidden layers share one activation; the output layer is linear, and what its scores
mean is the loss's business.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.nn.activations import Activation, Array
from mlcore.nn.losses import Loss


def forward(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], hidden: Activation
) -> list[Array]:
    """Compute the output of every layer.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weights, biases : sequences of ndarrays
    hidden : Activation
        Applied to every layer but the last.

    Returns
    -------
    list of ndarrays
        `X`, the output of each hidden layer, and the scores of the linear output layer.
    """
    return [X, *forward_from(X @ weights[0], weights, biases, hidden)]


def forward_from(
    z: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    hidden: Activation,
    out: Sequence[Array] | None = None,
) -> list[Array]:
    """Compute the output of every layer from ``X @ weights[0]``, as `forward` gives them after `X`.

    `z`, of shape (n_samples, fan_out of the first layer), becomes the first layer's output in
    place. `out` may have buffers for the layers after it, each (n_samples, fan_out of the layer).
    """
    outputs: list[Array] = []
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            z = np.matmul(outputs[-1], W, out=None if out is None else out[layer - 1])
        z += b
        if layer < len(biases) - 1:
            hidden.function(z)
        outputs.append(z)
    return outputs


def backward(
    outputs: Sequence[Array],
    weights: Sequence[Array],
    delta: Array,
    hidden: Activation,
    out: Sequence[Array] | None = None,
) -> Iterator[tuple[int, Array]]:
    """Propagate an error back, from the last layer to the first.

    Parameters
    ----------
    outputs : sequence of ndarrays
        Of the layers, as `forward_from` returns them.
    weights : sequence of ndarrays
    delta : ndarray of shape (n_samples, n_outputs)
        dE/d scores.
    hidden : Activation
    out : sequence of ndarrays of shape (n_samples, fan_out of the layer), optional
        Buffers for the deltas of the hidden layers.

    Yields
    ------
    layer : int
    delta : ndarray of shape (n_samples, fan_out of the layer)
        dE/dz of the layer, so that dE/dW is its inputs' transpose times `delta` and dE/db is
        ``delta.sum(axis=0)``. The delta below is already computed by then: the caller may change
        ``weights[layer]``.
    """
    for layer in range(len(weights) - 1, 0, -1):
        below = np.matmul(delta, weights[layer].T, out=None if out is None else out[layer - 1])
        hidden.gradient(outputs[layer - 1], below)
        yield layer, delta
        delta = below
    yield 0, delta


def gradients(
    X: Array,
    y: NDArray[Any],
    weights: Sequence[Array],
    biases: Sequence[Array],
    hidden: Activation,
    loss: Loss,
) -> tuple[float, list[Array], list[Array]]:
    """Compute the loss of a batch and its gradient.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class indices for cross-entropy, targets for the squared error.
    weights, biases : sequences of ndarrays
    hidden : Activation
    loss : Loss

    Returns
    -------
    loss : float
        Mean loss of the batch.
    weight_gradients, bias_gradients : lists of ndarrays
        In the shapes of `weights` and `biases`.
    """
    outputs = forward(X, weights, biases, hidden)
    value, _ = loss(outputs[-1], y)
    steps = dict(backward(outputs[1:], weights, outputs[-1], hidden))
    layers = range(len(weights))
    return (
        value,
        [outputs[layer].T @ steps[layer] for layer in layers],
        [steps[layer].sum(axis=0) for layer in layers],
    )
