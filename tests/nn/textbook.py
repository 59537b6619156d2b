"""Activations and losses as a textbook has them, slopes by hand and numerical, and networks."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale

from mlcore.nn import NeuralNetwork
from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.losses import cross_entropy, squared_error


class Reference(NamedTuple):
    """An activation: its formula, and of an elementwise one the slopes at 0 and far out."""

    function: Callable
    slope_at_zero: float = np.nan
    slopes_far_out: tuple[float, float] = (np.nan, np.nan)


REFERENCES = {
    "identity": Reference(lambda z: z, 1.0, (1.0, 1.0)),
    "sigmoid": Reference(scipy.special.expit, 0.25, (0.0, 0.0)),
    "tanh": Reference(np.tanh, 1.0, (0.0, 0.0)),
    "relu": Reference(lambda z: np.where(z > 0, z, 0.0), 0.0, (0.0, 1.0)),
    "leaky_relu": Reference(lambda z: np.where(z > 0, z, 0.01 * z), 0.01, (0.01, 1.0)),
    "softmax": Reference(lambda z: scipy.special.softmax(z, axis=1)),
}
TEXTBOOK = {name: reference.function for name, reference in REFERENCES.items()}
SKLEARN_NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}

both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_activation = pytest.mark.parametrize("name", sorted(TEXTBOOK.keys() | ACTIVATIONS))

LOSSES = {"cross_entropy": cross_entropy, "squared_error": squared_error}


def reference_loss(loss, scores, y):
    """Compute the loss of a name by its formula."""
    if loss == "squared_error":
        return ((scores - y) ** 2).mean()
    return -scipy.special.log_softmax(scores, axis=1)[np.arange(len(y)), y].mean()


X, y = load_iris(return_X_y=True)
X = scale(X)
for _array in (X, y):
    _array.flags.writeable = False


def build(**changes):
    """Give an estimator that is trained on these irises in no time."""
    options = {"hidden_layer_sizes": (8, 6), "learning_rate": 0.05, "random_state": 0}
    options |= {"max_epochs": 4, "batch_size": 16}
    return NeuralNetwork(**options | changes)


def bits(model):
    """Give the parameters of an estimator, bit by bit."""
    return [a.tobytes() for a in (*model.weights_, *model.biases_)]


def central_differences(function, array, step=1e-5):
    """Give the gradient of a function of no arguments with respect to an array it reads."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        slopes[index] = (above - below) / (2 * step)
    return slopes


def network(sizes, seed=0):
    """Draw weights and biases for layers of these sizes."""
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = [rng.normal(0.0, 1.5 / fan_in**0.5, (fan_in, fan_out)) for fan_in, fan_out in pairs]
    return weights, [rng.normal(0.0, 0.5, fan_out) for _, fan_out in pairs]


def data(loss, n, n_features, n_outputs, seed=0):
    """Draw features, and labels or targets as a loss takes them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features))
    if loss == "squared_error":
        return X, rng.normal(size=(n, n_outputs))
    return X, rng.integers(0, n_outputs, n)


def images(n, blank_every=9):
    """Samples that have few values: some features in nearly all, some in hardly any."""
    rng = np.random.default_rng(0)
    share = rng.permutation(np.linspace(0.0, 1.0, 40) ** 3)
    X = rng.uniform(0.1, 1.0, (n, 40))
    X[rng.random(X.shape) > share] = 0.0
    X[::blank_every] = 0.0
    return X.astype(np.float32)


def scattered(n):
    """Samples with a half of zeros at random places."""
    rng = np.random.default_rng(5)
    return rng.uniform(0.1, 1.0, (n, 40)) * (rng.random((n, 40)) < 0.5)
