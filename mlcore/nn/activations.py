"""Activation functions and their gradients, both in place.

A gradient is written in terms of the layer's *output*, so a forward pass keeps one array per
layer. All arrays have shape (n_samples, n_units) and any float dtype, which is preserved.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

LEAKY_SLOPE = 0.01
"""Slope of the leaky ReLU for negative inputs (Maas et al., 2013)."""


class Activation(NamedTuple):
    """An elementwise or row-wise function and the back-propagation through it.

    Attributes
    ----------
    function : callable
        ``function(z)`` replaces the pre-activations `z` by the layer's output.
    gradient : callable
        ``gradient(output, delta)`` replaces dE/d output by dE/dz, given the layer's output.
    greatest_derivative : float
        The greatest slope that `function` has anywhere.
    """

    function: Callable[[Array], None]
    gradient: Callable[[Array, Array], None]
    greatest_derivative: float = 1.0


def identity(z: Array) -> None:
    """Leave `z` as it is."""


def identity_gradient(output: Array, delta: Array) -> None:
    """Leave `delta` as it is: the derivative is 1."""


def sigmoid(z: Array) -> None:
    """Replace `z` by 1 / (1 + exp(-z)).

    Computed as (1 + tanh(z / 2)) / 2: the same function, without overflow at any `z`, and
    vectorised by NumPy where exp followed by a division is not.
    """
    z *= 0.5
    np.tanh(z, out=z)
    z += 1.0
    z *= 0.5


def sigmoid_gradient(output: Array, delta: Array) -> None:
    """Multiply `delta` by s (1 - s)."""
    delta *= output
    delta *= 1.0 - output


def tanh(z: Array) -> None:
    """Replace `z` by tanh(z)."""
    np.tanh(z, out=z)


def tanh_gradient(output: Array, delta: Array) -> None:
    """Multiply `delta` by 1 - tanh(z)^2."""
    slope = output * output
    np.subtract(1.0, slope, out=slope)
    delta *= slope


def relu(z: Array) -> None:
    """Replace `z` by max(0, z)."""
    # With a row of zeros NumPy takes half the time that it takes with a scalar
    np.maximum(z, np.zeros(z.shape[1], z.dtype), out=z)


def relu_gradient(output: Array, delta: Array) -> None:
    """Multiply `delta` by 1 where the unit is active and by 0 elsewhere (also at z = 0)."""
    delta *= output > 0


def leaky_relu(z: Array) -> None:
    """Replace `z` by z where positive and by 0.01 z elsewhere."""
    np.maximum(z, LEAKY_SLOPE * z, out=z)


def leaky_relu_gradient(output: Array, delta: Array) -> None:
    """Multiply `delta` by 1 where the unit is active and by 0.01 elsewhere (also at z = 0)."""
    # max(1, 0.01) where active, max(0, 0.01) elsewhere: NumPy vectorises this, not a `where`
    delta *= np.maximum(output > 0, delta.dtype.type(LEAKY_SLOPE))


def softmax(z: Array) -> None:
    """Replace each row of `z` by exp(z) / sum(exp(z)), shifted by the row's maximum."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)


def softmax_gradient(output: Array, delta: Array) -> None:
    """Multiply each row of `delta` by the full Jacobian diag(s) - s s^T."""
    delta -= (delta * output).sum(axis=1, keepdims=True)
    delta *= output


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(identity, identity_gradient),
    "sigmoid": Activation(sigmoid, sigmoid_gradient, 0.25),
    "tanh": Activation(tanh, tanh_gradient),
    "relu": Activation(relu, relu_gradient),
    "leaky_relu": Activation(leaky_relu, leaky_relu_gradient),
    "softmax": Activation(softmax, softmax_gradient, 0.25),
}
