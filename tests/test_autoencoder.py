"""Codes and reconstructions, against a forward pass of its own and scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from mlcore.training.autoencoder import encode, reconstruct

FUNCTIONS = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
}
ACTIVATIONS = sorted(FUNCTIONS)


@pytest.fixture(scope="module", name="X")
def samples():
    return np.random.default_rng(0).normal(size=(9, 6))


@pytest.fixture
def network():
    rng = np.random.default_rng(1)
    sizes = [6, 5, 3, 4, 6]
    weights = [rng.normal(size=shape) for shape in pairwise(sizes)]
    return weights, [rng.normal(size=size) for size in sizes[1:]]


def layers(X, weights, biases, activation):
    """Every hidden layer's output and the linear output."""
    outputs = [X]
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        outputs.append(FUNCTIONS[activation](np.einsum("ni,ij->nj", outputs[-1], W) + b))
    outputs.append(np.einsum("ni,ij->nj", outputs[-1], weights[-1]) + biases[-1])
    return outputs[1:]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_encode_is_the_output_of_the_layer(X, network, activation, layer):
    code = encode(X, *network, activation, layer)
    expected = layers(X, *network, activation)[layer - 1]
    assert code.shape == (9, [5, 3, 4][layer - 1])
    np.testing.assert_allclose(code, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reconstruct_is_the_linear_output(X, network, activation):
    expected = layers(X, *network, activation)[-1]
    output = reconstruct(X, *network, activation)
    assert output.shape == X.shape
    np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reconstruct_equals_scikit_learn(X, activation, dtype):
    X = X.astype(dtype)
    model = MLPRegressor(
        hidden_layer_sizes=(5, 2, 4), activation=activation, max_iter=4, random_state=3
    ).fit(X, X)
    output = reconstruct(X, model.coefs_, model.intercepts_, activation)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, model.predict(X), rtol=1e-4, atol=1e-6)


def test_by_hand():
    X = np.array([[1.0, 2.0]])
    weights = [np.array([[1.0, -1.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 5.0]])]
    biases = [np.array([0.5, 0.25]), np.array([1.0, -1.0])]
    assert encode(X, weights, biases, "relu", 1).tolist() == [[3.5, 0.0]]
    assert reconstruct(X, weights, biases, "relu").tolist() == [[8.0, -1.0]]
    assert encode(X, weights, biases, "identity", 1).tolist() == [[3.5, -0.75]]
    assert reconstruct(X, weights, biases, "identity").tolist() == [[8.0, -4.75]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_arguments_stay_as_they_are(X, network, activation):
    given = [X, *network[0], *network[1]]
    before = [array.copy() for array in given]
    encode(X, *network, activation, 2)
    reconstruct(X, *network, activation)
    assert all((a == b).all() for a, b in zip(given, before, strict=True))


@pytest.mark.parametrize("layer", [-1, 0, 4, 5])
def test_no_such_hidden_layer(X, network, layer):
    with pytest.raises(ValueError, match=f"layer={layer}: the network has hidden layers 1 to 3"):
        encode(X, *network, "relu", layer)
