"""What is done with a trained autoencoder: reconstruct, and read the code off a hidden layer."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.gradients import forward

Array = NDArray[Any]

SKLEARN_NAMES = {"logistic": "sigmoid"}
"""scikit-learn's names of activations that are called differently here."""


def encode(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], activation: str, layer: int
) -> Array:
    """Compute the output of a hidden layer, shape (n_samples, units of the layer).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weights, biases : sequences of ndarrays
        The whole network's.
    activation : str
        scikit-learn's name for the hidden activation.
    layer : int
        Number of the hidden layer, the first being 1.

    Raises
    ------
    ValueError
        If there is no such hidden layer.
    """
    if not 1 <= layer < len(weights):
        raise ValueError(f"layer={layer}: the network has hidden layers 1 to {len(weights) - 1}")
    hidden = ACTIVATIONS[SKLEARN_NAMES.get(activation, activation)]
    return forward(X, weights, biases, hidden)[layer]


def reconstruct(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], activation: str
) -> Array:
    """Compute the network's output, shape (n_samples, n_outputs), from what `encode` takes."""
    hidden = ACTIVATIONS[SKLEARN_NAMES.get(activation, activation)]
    return forward(X, weights, biases, hidden)[-1]
