"""Codes and reconstructions, against a forward pass of its own and scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from mlcore.nn import activations
from mlcore.nn.gradients import gradients
from mlcore.nn.losses import squared_error
from mlcore.training import autoencoder

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


def drawn(*sizes, scale=1.0, dtype=np.float64):
    """Weights and biases of layers of these sizes."""
    rng = np.random.default_rng(1)
    weights = [(scale * rng.normal(size=shape)).astype(dtype) for shape in pairwise(sizes)]
    return weights, [rng.normal(size=size).astype(dtype) for size in sizes[1:]]


NETWORK = drawn(6, 5, 3, 4, 6)


def layers(X, weights, biases, activation):
    """Every hidden layer's output and the linear output."""
    outputs, names = [X], [activation] * (len(weights) - 1) + ["identity"]
    for W, b, name in zip(weights, biases, names, strict=True):
        outputs.append(FUNCTIONS[name](np.einsum("ni,ij->nj", outputs[-1], W) + b))
    return outputs[1:]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_codes_and_reconstructions_are_the_outputs_of_their_layers(X, activation):
    given = [X, *NETWORK[0], *NETWORK[1]]
    before = [array.copy() for array in given]
    model = *NETWORK, activation
    codes = [autoencoder.encoder("autoencoder", model, layer, X, seed=0)(X) for layer in (1, 2, 3)]
    outputs = [*codes, autoencoder.reconstruct(X, *model)]
    for output, expected in zip(outputs, layers(X, *model), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_equal(given, before)


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reconstruct_equals_scikit_learn(X, activation, dtype):
    X = X.astype(dtype)
    model = MLPRegressor(
        hidden_layer_sizes=(5, 2, 4), activation=activation, max_iter=4, random_state=3
    ).fit(X, X)
    output = autoencoder.reconstruct(X, model.coefs_, model.intercepts_, activation)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, model.predict(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [-1, 0, 4, 5])
def test_no_such_hidden_layer(X, layer):
    with pytest.raises(ValueError, match=f"layer={layer}: the network has hidden layers 1 to 3"):
        autoencoder.encoder("autoencoder", (*NETWORK, "relu"), layer, X, seed=0)(X)


@pytest.fixture(scope="module")
def pictures():
    """Smooth images of 12 x 12 pixels in [0, 1], each unlike its neighbours."""
    rng = np.random.default_rng(4)
    images = gaussian_filter(rng.normal(size=(60, 12, 12)), (0, 1, 1))
    return (0.1 + 0.9 * (images - images.min()) / np.ptp(images)).reshape(60, 144)


def linear(*matrices):
    """A network without biases whose layers multiply by these."""
    return matrices, [np.zeros(W.shape[1]) for W in matrices], "identity"


def test_a_perfect_reconstruction(pictures):
    same = linear(np.eye(144), np.eye(144))
    found = autoencoder.describe_reconstruction(pictures, pictures, same)
    assert found == pytest.approx({
        "test_ssim": 1.0, "test_edges": 1.0, "test_variation": 1.0, "test_intensity_error": 0.0,
        "test_explained": 1.0, "test_mse_pca": 0.0, "code_zeros": 0.0, "gradient_ratio": 0.0,
    }, abs=1e-9)  # fmt: skip
    # Of a code of more features than there are components, too
    wide = linear(np.eye(144, 200), np.eye(200, 144))
    found = autoencoder.describe_reconstruction(pictures[:20], pictures[:20], wide)
    assert found["test_mse_pca"] == pytest.approx(0, abs=1e-9)


def test_a_blurred_copy_has_fewer_edges(pictures):
    blur = gaussian_filter(np.eye(144).reshape(144, 12, 12), (0, 1.5, 1.5)).reshape(144, 144)
    found = autoencoder.describe_reconstruction(pictures, pictures, linear(np.eye(144), 0.9 * blur))
    made = 0.9 * pictures @ blur
    assert found["test_edges"] < 0.8
    assert found["test_variation"] < 0.8
    assert 0 < found["test_ssim"] < 0.95
    darker = np.abs(made.mean(axis=1) - pictures.mean(axis=1)).mean()
    assert found["test_intensity_error"] == pytest.approx(darker)
    unexplained = ((made - pictures) ** 2).sum() / (pictures.var(axis=0).sum() * len(pictures))
    assert found["test_explained"] == pytest.approx(1 - unexplained)


def test_edges_and_variation_are_of_each_image_alone(pictures):
    images = pictures.reshape(-1, 12, 12)
    steps = [abs(np.diff(image, axis=k)).sum() for image in images for k in (0, 1)]
    assert autoencoder.variation(images) == pytest.approx(sum(steps) / pictures.size)
    kernel = np.outer([1, 2, 1], [1, 0, -1]) / 4
    size = [np.hypot(convolve(i, kernel), convolve(i, kernel.T)).mean() for i in images]
    factor = autoencoder.edges(images[:1]) / size[0]  # its unit
    assert autoencoder.edges(images) == pytest.approx(factor * np.mean(size))


def test_a_code_against_principal_components_and_its_zeros_and_gradients(pictures):
    train, test = pictures[:40], pictures[40:]
    weights, biases = drawn(144, 9, 5, 9, 144, scale=0.2)
    found = autoencoder.describe_reconstruction(train, test, (weights, biases, "relu"))
    pca = PCA(5, svd_solver="full").fit(train)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert found["test_mse_pca"] == pytest.approx(error)
    outputs = layers(test, weights, biases, "relu")
    assert found["code_zeros"] == np.mean(outputs[1] == 0) > 0.1
    hidden = activations.ACTIVATIONS["relu"]
    _, slopes, _ = gradients(test, test, weights, biases, hidden, squared_error)
    ratio = np.linalg.norm(slopes[0]) / np.linalg.norm(slopes[3])
    assert found["gradient_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("by", ["autoencoder", "pca", "projection"])
def test_encoders_give_codes_of_one_size(pictures, by, dtype):
    X = pictures.astype(dtype)
    model = *drawn(144, 7, 5, 144, dtype=dtype), "tanh"
    codes = autoencoder.encoder(by, model, 2, X, seed=3)(X[:9])
    assert (codes.shape, codes.dtype) == ((9, 5), dtype)
    again, other = (autoencoder.encoder(by, model, 2, X, seed=seed)(X[:9]) for seed in (3, 4))
    assert codes.tobytes() == again.tobytes()
    assert (codes.tobytes() == other.tobytes()) == (by != "projection")
    if by == "pca":
        expected = PCA(5, svd_solver="full").fit(pictures).transform(pictures[:9])
        signs = np.sign((codes * expected).sum(axis=0))
        np.testing.assert_allclose(codes * signs, expected, atol=1e-4)
