"""Forward and backward passes against plain formulas and numerical derivatives.

Buffers, and updates between the layers of a backward pass: test_training.py.
"""

import numpy as np
import pytest
import textbook
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from textbook import LOSSES, TEXTBOOK, every_activation

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.gradients import gradients

WIDTH = st.integers(1, 6)


def pre_activations(X, weights, biases, function):
    layers = []
    for W, b in zip(weights, biases, strict=True):
        layers.append(X @ W + b)
        X = function(layers[-1])
    return layers


@every_activation
@pytest.mark.parametrize("loss", sorted(LOSSES))
@settings(deadline=None, max_examples=12, derandomize=True)
@given(st.lists(WIDTH, max_size=6), WIDTH, WIDTH, st.integers(1, 9), st.integers(0, 99))
@example([], 4, 3, 6, 0)
@example([4], 3, 5, 8, 0)
@example([5, 4], 6, 3, 9, 1)
@example([3, 4, 3, 5, 2, 4], 4, 3, 5, 2)
def test_gradients_are_numerical_derivatives(name, loss, hidden, n_features, n_outputs, n, seed):
    X, y = textbook.data(loss, n, n_features, n_outputs, [seed, n])
    weights, biases = textbook.network([n_features, *hidden, n_outputs], seed)
    function = TEXTBOOK[name]

    def value():
        return textbook.reference_loss(loss, pre_activations(X, weights, biases, function)[-1], y)

    if name in ("relu", "leaky_relu"):  # they have kinks
        layers = pre_activations(X, weights, biases, function)[:-1]
        assume(min((np.abs(z).min() for z in layers), default=1.0) > 1e-3)
    arrays = [X, y, *weights, *biases]
    before = [a.copy() for a in arrays]
    mean_loss, weight_gradients, bias_gradients = gradients(
        X, y, weights, biases, ACTIVATIONS[name], LOSSES[loss]
    )
    assert type(mean_loss) is float
    assert mean_loss == pytest.approx(value(), rel=1e-12)
    np.testing.assert_equal(arrays, before)
    computed = weight_gradients + bias_gradients
    for parameter, gradient in zip(weights + biases, computed, strict=True):
        expected = textbook.central_differences(value, parameter)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-9, strict=True)
