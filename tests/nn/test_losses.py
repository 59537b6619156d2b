"""Losses and their gradients against scikit-learn, SciPy and numerical derivatives."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, mean_squared_error
from textbook import LOSSES, reference_loss

from mlcore.nn.losses import cross_entropy, squared_error

both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_shape = pytest.mark.parametrize("shape", [(1, 3), (9, 2), (50, 10)])


def classification(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 3.0, shape), rng.integers(0, shape[1], shape[0])


def regression(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 3.0, shape), rng.normal(0.0, 3.0, shape)


def tolerance(dtype):
    return {"rtol": 32 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}


@every_shape
@both_floats
def test_cross_entropy_is_the_log_loss_of_the_softmax(shape, dtype):
    scores, labels = classification(shape)
    scores = scores.astype(dtype)
    expected = log_loss(labels, softmax(scores.astype(float), axis=1), labels=range(shape[1]))
    np.testing.assert_allclose(cross_entropy(scores, labels)[0], expected, **tolerance(dtype))


@every_shape
@both_floats
@pytest.mark.parametrize("name", LOSSES)
def test_the_scores_become_the_numerical_derivative(shape, dtype, name, central_differences):
    scores, y = (classification if name == "cross_entropy" else regression)(shape)
    expected = central_differences(lambda: reference_loss(name, scores, y), scores)
    found, kept = scores.astype(dtype), y.copy()
    LOSSES[name](found, y)
    rtol = 1e-6 if dtype == np.float64 else 1e-4
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 100)
    np.testing.assert_array_equal(y, kept)


@both_floats
def test_cross_entropy_at_extreme_logits(dtype):
    scores = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    loss, n_correct = cross_entropy(scores, np.array([0, 1, 2]))
    assert n_correct == 1  # of the last row the first score is taken
    assert loss == pytest.approx((0.0 + 2e4 + np.log(3)) / 3, rel=1e-6)
    expected = np.array([[0, 0, 0], [1, -1, 0], [1 / 3, 1 / 3, -2 / 3]]) / 3
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_cross_entropy_keeps_the_digits_that_a_rounded_probability_loses():
    scores, labels = np.array([[0.0, -50.0]]), np.array([1])
    assert cross_entropy(scores, labels)[0] == pytest.approx(50.0, rel=1e-14)


@every_shape
@both_floats
def test_squared_error_is_the_mean_over_samples_and_outputs(shape, dtype):
    scores, targets = (a.astype(dtype) for a in regression(shape))
    expected = mean_squared_error(targets.astype(float), scores.astype(float))
    np.testing.assert_allclose(squared_error(scores, targets)[0], expected, **tolerance(dtype))
