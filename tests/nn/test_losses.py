"""Losses and their gradients against scikit-learn, SciPy and numerical derivatives."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, mean_squared_error
from textbook import LOSSES, both_floats, central_differences, data, reference_loss

from mlcore.nn.losses import cross_entropy


def by_scikit_learn(name, scores, y):
    if name == "squared_error":
        return mean_squared_error(y, scores)
    return log_loss(y, softmax(scores, axis=1), labels=range(scores.shape[1]))


@both_floats
@pytest.mark.parametrize("shape", [(1, 3), (9, 2), (50, 10)])
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_scikit_learns_and_the_scores_become_its_slopes(shape, dtype, name):
    scores, y = data(name, *shape, shape[1])
    scores *= 3
    expected = central_differences(lambda: reference_loss(name, scores, y), scores)
    found, kept, eps = scores.astype(dtype), y.copy(), np.finfo(dtype).eps
    loss = by_scikit_learn(name, found.astype(float), y)
    np.testing.assert_allclose(LOSSES[name](found, y)[0], loss, rtol=32 * eps, atol=8 * eps)
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
