"""Activations and their gradients against textbook formulas and numerical derivatives."""

import numpy as np
import pytest
from textbook import REFERENCES, TEXTBOOK, both_floats, central_differences, every_activation

from mlcore.nn.activations import ACTIVATIONS

EXTREMES = [[0.0, 0.0, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [-1e4, 0, 1]]


def samples(shape=(40, 7), seed=0):
    return np.random.default_rng(seed).normal(0.0, 4.0, shape)


@every_activation
@both_floats
@pytest.mark.parametrize(("z", "digits"), [(samples(), 16), (np.array(EXTREMES), 4)])
def test_function_is_the_textbook_formula_in_place_on_a_view(name, dtype, z, digits):
    buffer = np.concatenate([z, z]).astype(dtype)
    before, n, eps = buffer.copy(), len(z), np.finfo(dtype).eps
    assert ACTIVATIONS[name].function(buffer[:n]) is None
    expected = TEXTBOOK[name](before[:n].astype(np.float64))
    np.testing.assert_allclose(buffer[:n], expected, rtol=digits * eps, atol=eps)
    np.testing.assert_array_equal(buffer[n:], before[n:])


@every_activation
@both_floats
def test_gradient_is_the_numerical_derivative_in_place_on_a_view(name, dtype):
    z, upstream = samples((6, 5)) / 4, samples((6, 5), seed=1)
    z[np.abs(z) < 1e-3] = 1.0
    expected = central_differences(lambda: np.sum(TEXTBOOK[name](z) * upstream), z)
    output, buffer = (a.astype(dtype) for a in (TEXTBOOK[name](z), np.tile(upstream, (2, 1))))
    kept, before = output.copy(), buffer.copy()
    assert ACTIVATIONS[name].gradient(output, buffer[:6]) is None
    digits = 1e-6 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(buffer[:6], expected, rtol=digits, atol=digits / 100)
    np.testing.assert_array_equal(buffer[6:], before[6:])
    np.testing.assert_array_equal(output, kept)


@every_activation
def test_greatest_derivative_is_the_numerical_one(name):
    # For softmax the derivative of a unit with respect to its own input
    z = np.column_stack((np.linspace(-6, 6, 4801), np.zeros(4801)))
    step = np.array([1e-5, 0.0])
    slope = (TEXTBOOK[name](z + step) - TEXTBOOK[name](z - step))[:, 0] / (2 * step[0])
    assert ACTIVATIONS[name].greatest_derivative == pytest.approx(slope.max(), rel=1e-6)


@pytest.mark.parametrize("name", sorted(TEXTBOOK.keys() - {"softmax"}))
@both_floats
def test_gradient_at_zero_and_far_out(name, dtype):
    output = TEXTBOOK[name](np.array([[-1e4, -0.0, 0.0, 1e4]], dtype)).astype(dtype)
    delta = np.full((1, 4), 3.0, dtype)
    ACTIVATIONS[name].gradient(output, delta)
    _, at_zero, (left, right) = REFERENCES[name]
    np.testing.assert_allclose(delta, [[3 * left, 3 * at_zero, 3 * at_zero, 3 * right]], rtol=1e-6)


@both_floats
def test_softmax_gradient_at_extreme_inputs(dtype):
    output = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype)
    delta = np.array([[3.0, 5.0, 7.0], [3.0, 5.0, 7.0]], dtype)
    ACTIVATIONS["softmax"].gradient(output, delta)
    np.testing.assert_array_equal(delta, [[0.0, 0.0, 0.0], [-0.5, 0.5, 0.0]])
