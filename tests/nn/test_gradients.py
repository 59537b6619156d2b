"""Forward and backward passes against plain formulas, numerical derivatives and work by hand."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from textbook import (
    LOSSES,
    TEXTBOOK,
    central_differences,
    data,
    every_activation,
    network,
    reference_loss,
)

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.gradients import backward, forward, forward_from, gradients

KINKED = {"relu", "leaky_relu"}
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
    X, y = data(loss, n, n_features, n_outputs, [seed, n])
    weights, biases = network([n_features, *hidden, n_outputs], seed)
    function = TEXTBOOK[name]

    def value():
        return reference_loss(loss, pre_activations(X, weights, biases, function)[-1], y)

    if name in KINKED:
        layers = pre_activations(X, weights, biases, function)[:-1]
        assume(min((np.abs(z).min() for z in layers), default=1.0) > 1e-3)
    arrays = [X, y, *weights, *biases]
    before = [a.copy() for a in arrays]
    mean_loss, weight_gradients, bias_gradients = gradients(
        X, y, weights, biases, ACTIVATIONS[name], LOSSES[loss]
    )
    assert type(mean_loss) is float
    assert mean_loss == pytest.approx(value(), rel=1e-12)
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)
    for parameters, computed in ((weights, weight_gradients), (biases, bias_gradients)):
        for parameter, gradient in zip(parameters, computed, strict=True):
            expected = central_differences(value, parameter)
            np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-9)


@every_activation
def test_forward_is_the_composition_of_layers_in_buffers_or_not(name):
    X = np.random.default_rng(0).normal(size=(7, 3))
    weights, biases = network([3, 5, 4, 2])
    buffers = [np.full((9, width), np.nan) for width in (5, 4, 2)]
    z, *rest = (b[:7] for b in buffers)
    np.matmul(X, weights[0], out=z)
    buffered = forward_from(z, weights, biases, ACTIVATIONS[name], rest)
    first, *outputs = forward(X, weights, biases, ACTIVATIONS[name])
    assert first is X
    layers = pre_activations(X, weights, biases, TEXTBOOK[name])
    expected = [*map(TEXTBOOK[name], layers[:-1]), layers[-1]]
    for found in (outputs, buffered, [b[:7] for b in buffers]):
        for output, values in zip(found, expected, strict=True):
            np.testing.assert_allclose(output, values, rtol=1e-12, atol=1e-15)
    assert all(np.isnan(buffer[7:]).all() for buffer in buffers)


@every_activation
@pytest.mark.parametrize("buffered", [False, True])
def test_deltas_are_unaffected_by_updates_after_each_yield(name, buffered):
    X = np.random.default_rng(0).normal(size=(7, 3))
    upstream = np.random.default_rng(1).normal(size=(7, 2))
    weights, biases = network([3, 5, 4, 2])
    function = TEXTBOOK[name]
    row_biases = [np.tile(b, (7, 1)) for b in biases]

    def error():
        return np.sum(upstream * pre_activations(X, weights, row_biases, function)[-1])

    expected = [central_differences(error, b) for b in row_biases]
    outputs = forward(X, weights, biases, ACTIVATIONS[name])[1:]
    buffers = [np.full((7, width), np.nan) for width in (5, 4)] if buffered else None
    seen = []
    for layer, delta in backward(outputs, weights, upstream.copy(), ACTIVATIONS[name], buffers):
        np.testing.assert_allclose(delta, expected[layer], rtol=1e-6, atol=1e-9)
        if buffered and layer < 2:
            assert np.shares_memory(delta, buffers[layer])
        weights[layer][...] = np.nan
        seen.append(layer)
    assert seen == [2, 1, 0]
