"""What is done with a trained autoencoder: reconstruct, and read the code off a hidden layer."""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import sobel
from skimage.metrics import structural_similarity
from sklearn.decomposition import PCA
from sklearn.random_projection import GaussianRandomProjection

from mlcore.nn.activations import ACTIVATIONS, Activation
from mlcore.nn.gradients import backward, forward
from mlcore.training.weights import MLPWeights

Array = NDArray[Any]

SKLEARN_NAMES = {"logistic": "sigmoid"}
"""scikit-learn's names of activations that are called differently here."""


def reconstruct(
    X: Array, weights: Sequence[Array], biases: Sequence[Array], activation: str
) -> Array:
    """Compute the output of a network, given as `MLPWeights` is, on `X` (n_samples, n_features)."""
    return forward(X, weights, biases, hidden_activation(activation))[-1]


def hidden_activation(name: str) -> Activation:
    """Give the activation that scikit-learn calls so."""
    return ACTIVATIONS[SKLEARN_NAMES.get(name, name)]


def encoder(
    by: str, model: MLPWeights, layer: int, X: Array, seed: int
) -> Callable[[Array], Array]:
    """Give the function from images to codes.

    By "autoencoder" these are the outputs of hidden layer number `layer`, the first being 1. To
    compare, "pca" takes the first principal components of `X`, of shape (n_samples, n_features),
    and "projection" a random projection with this seed, as many as the layer has units. Raises
    ValueError if there is no such hidden layer.
    """
    weights, biases, activation = model
    if not 1 <= layer < len(weights):
        raise ValueError(f"layer={layer}: the network has hidden layers 1 to {len(weights) - 1}")
    if by == "autoencoder":
        hidden = hidden_activation(activation)
        return lambda images: forward(images, weights, biases, hidden)[layer]
    size = len(biases[layer - 1])
    if by == "pca":
        fitted = principal_components(X, size)
    else:
        fitted = GaussianRandomProjection(size, random_state=seed).fit(X)
    return lambda images: fitted.transform(images).astype(X.dtype)


def principal_components(X: Array, size: int) -> PCA:
    """Fit principal components, as exactly as the covariance matrix gives them.

    At most as many as `X`, of shape (n_samples, n_features), can have.
    """
    return PCA(min(size, *X.shape), svd_solver="covariance_eigh").fit(X)


def describe_reconstruction(train: Array, test: Array, model: MLPWeights) -> dict[str, float]:
    """Measure on test images what the report says of reconstructions (section 3.4) in words.

    Parameters
    ----------
    train, test : ndarrays of shape (n_samples, n_pixels)
        Square images in [0, 1].
    model : MLPWeights

    Returns
    -------
    dict
        Of the reconstructions against the images: "test_ssim", mean structural similarity (Wang
        et al., 2004); "test_edges" and "test_variation", their edges (Sobel) and total variation
        as shares of the images'; "test_intensity_error", mean absolute difference of the images'
        mean intensities; "test_explained", share of the variance. "test_mse_pca" is the mean
        squared error of as many principal components of the training images as the code has
        features; "code_zeros" the share of zeros in the code; "gradient_ratio" the norm of the
        loss's gradient in the first layer over that in the output layer, 0 where both vanish.
    """
    weights, biases, activation = model
    hidden = hidden_activation(activation)
    outputs = forward(test, weights, biases, hidden)
    sizes = [len(b) for b in biases[:-1]]
    middle, made = sizes.index(min(sizes)) + 1, outputs[-1].copy()
    error = float(np.mean((made - test) ** 2, dtype=np.float64))
    pca = principal_components(train, sizes[middle - 1])
    by_pca = pca.inverse_transform(pca.transform(test))
    steps = backward(outputs[1:], weights, outputs[-1] - test, hidden)
    norms = [float(np.linalg.norm(outputs[layer].T @ delta)) for layer, delta in steps]
    side = isqrt(test.shape[1])
    images, copies = (X.reshape(-1, side, side).astype(float) for X in (test, made))
    pairs = list(zip(images, copies, strict=True))
    ssim = [structural_similarity(a, b, data_range=1.0) for a, b in pairs]
    intensity = images.mean(axis=(1, 2)) - copies.mean(axis=(1, 2))
    return {
        "test_ssim": float(np.mean(ssim)),
        "test_edges": float(edges(copies) / edges(images)),
        "test_variation": float(variation(copies) / variation(images)),
        "test_intensity_error": float(np.abs(intensity).mean()),
        "test_explained": 1 - error / float(np.mean((test - test.mean(axis=0)) ** 2)),
        "test_mse_pca": float(np.mean((by_pca - test) ** 2)),
        "code_zeros": float(np.mean(outputs[middle] == 0)),
        "gradient_ratio": norms[-1] / norms[0] if norms[0] else 0.0,  # the steps go back
    }


def edges(images: Array) -> float:
    """Compute the mean magnitude of Sobel's gradient of images (n_images, height, width)."""
    return float(np.mean([sobel(image) for image in images]))  # one by one: it has no batches


def variation(images: Array) -> float:
    """Compute the mean total variation of images (n_images, height, width), per pixel."""
    steps = np.abs(np.diff(images, axis=1)).sum() + np.abs(np.diff(images, axis=2)).sum()
    return float(steps / images.size)
