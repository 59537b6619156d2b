"""Values about a network against its gradients and layers made by hand."""

import math

import numpy as np
import pytest
from textbook import LOSSES, X, bits, both_floats, build, data, network, y

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.diagnostics import PROBE_SIZE, SAME, diagnose, explain, unit_spread, why
from mlcore.nn.gradients import gradients
from mlcore.nn.losses import squared_error


def hidden_values(activation, z):
    """The values of a hidden layer with pre-activations `z`, (n_samples, n_units)."""
    n_samples, n_units = np.shape(z)
    weights = [np.array(z, float), np.ones((n_units, 1))]
    model = weights, [np.zeros(n_units), np.zeros(1)], ACTIVATIONS[activation], squared_error
    return diagnose(np.eye(n_samples), np.zeros((n_samples, 1)), *model)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("hidden", [(), (4,), (5, 4, 3)], ids=str)
def test_values_of_every_layer_and_the_norms_of_its_gradients(activation, loss, hidden):
    X, y = data(loss, 9, 3, 2)
    weights, biases = network([3, *hidden, 2])
    model = weights, biases, ACTIVATIONS[activation], LOSSES[loss]
    arrays = [X, y, *weights, *biases]
    before = [a.copy() for a in arrays]
    values = diagnose(X, y, *model)
    np.testing.assert_equal(arrays, before)
    names = [f"gradient_norm_{layer}" for layer in range(1, len(weights) + 1)]
    for name in ("dead_units", "saturated_units", "unit_spread"):
        names += [f"{name}_{layer}" for layer in range(1, len(weights))]
    assert sorted(values) == sorted(names)
    assert {type(value) for value in values.values()} == {float}
    _, by_weights, by_biases = gradients(X, y, *model)  # which finite differences test
    for layer, (by_W, by_b) in enumerate(zip(by_weights, by_biases, strict=True), start=1):
        expected = math.hypot(*by_W.flat, *by_b)
        assert values[f"gradient_norm_{layer}"] == pytest.approx(expected, rel=1e-12)


# score = v w x with x = 2, w = 1, v = 1e-30 and y = 1, so that dE/d score is -2: dE/dv = -4 and
# dE/d(its bias) = -2; below it dE/dw = -2 v x = -4e-30 and dE/d(its bias) = -2e-30
@both_floats
def test_gradient_norms_that_vanish_are_not_rounded_to_zero(dtype):
    weights = [np.ones((1, 1), dtype), np.full((1, 1), 1e-30, dtype)]
    biases = [np.zeros(1, dtype), np.zeros(1, dtype)]
    X, y = np.full((1, 1), 2.0, dtype), np.full((1, 1), 1.0, dtype)
    values = diagnose(X, y, weights, biases, ACTIVATIONS["identity"], squared_error)
    assert values["gradient_norm_1"] == pytest.approx(2e-30 * math.sqrt(5), rel=1e-5, abs=0)
    assert values["gradient_norm_2"] == pytest.approx(2 * math.sqrt(5), rel=1e-5)


# Units: always off, off but for one sample, always on, off at exactly 0
RELU_LAYER = [[-1, -1, 1, 0], [-2, 3, 2, 0], [-3, -1, 3, -1], [-0.1, -2, 0.1, -5]]


@pytest.mark.parametrize(
    ("activation", "z", "dead"),
    [
        *((name, RELU_LAYER, 0.5 if name == "relu" else 0.0) for name in ACTIVATIONS),
        ("tanh", [[50, 50, 0], [-50, 0, 0]], 1 / 3),  # rounding leaves no derivative
    ],
)
def test_dead_units(activation, z, dead):
    assert hidden_values(activation, z)["dead_units_1"] == dead


# Thresholds: 1 - tanh^2 = 0.1 at z = 1.8184 and s (1 - s) = 0.025 at z = 3.6369; the relu's mean
# derivative is the share of samples that it is on for
@pytest.mark.parametrize(
    ("activation", "z", "saturated"),
    [
        ("tanh", [[1.81, 1.83, -1.81, -1.83]], 0.5),
        ("tanh", [[5, 5, 0], [-5, 0, 0], [5, 5, 0], [-5, -5, 0]], 1 / 3),
        ("sigmoid", [[3.63, 3.65, -3.63, -3.65]], 0.5),
        ("sigmoid", [[9, 9, 0], [-9, 0, 0], [9, 9, 0], [-9, -9, 0]], 1 / 3),
        ("relu", [[1, -1, -1, 1]] + [[-1, -1, -1, 1]] * 10, 0.75),
        ("relu", [[1, -1, -1, 1]] + [[-1, -1, -1, 1]] * 9, 0.5),
        ("leaky_relu", RELU_LAYER, 0.5),
        ("identity", RELU_LAYER, 0.0),
        ("softmax", [[2, 2, -9, -9]], 0.5),
        ("softmax", [[0, 0, 0, 0]], 0.0),
        ("softmax", [[9, 0], [-9, 0]], 1.0),
    ],
)
def test_saturated_units(activation, z, saturated):
    assert hidden_values(activation, z)["saturated_units_1"] == pytest.approx(saturated)


def test_values_are_of_their_layers():
    identity, dead, off = np.eye(4), np.diag([1.0, 1.0, 1.0, -1.0]), -np.eye(4)
    model = [identity, dead, off, identity], [np.zeros(4)] * 4, ACTIVATIONS["relu"], squared_error
    values = diagnose(np.full((3, 4), 2.0), np.zeros((3, 4)), *model)
    assert [values[f"dead_units_{layer}"] for layer in (1, 2, 3)] == [0.0, 0.25, 1.0]
    assert [values[f"gradient_norm_{layer}"] for layer in (1, 2, 3, 4)] == [0.0] * 4


@both_floats
@pytest.mark.parametrize(
    ("W", "b", "spread"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], 0.0),
        ([[0.1, 0.1, 0.1], [0.7, 0.7, 0.7]], [0.3, 0.3, 0.3], 0.0),
        ([[1.5], [2.5]], [1.0], 0.0),
        ([[0.3, -0.3], [-0.7, 0.7]], [0.1, -0.1], 1.0),
        # Means 2 and 0, deviations 1: sqrt(2 / (1 + 9))
        ([[1.0, 3.0], [0.0, 0.0]], [0.0, 0.0], math.sqrt(0.2)),
        # Units that differ in their biases only: sqrt(2 / (4 + 2))
        ([[1.0, 1.0], [1.0, 1.0]], [1.0, -1.0], math.sqrt(2 / 6)),
    ],
)
def test_unit_spread(W, b, spread, dtype):
    found = unit_spread(np.array(W, dtype), np.array(b, dtype))
    assert type(found) is float
    assert found == pytest.approx(spread, rel=1e-6, abs=1e-12)


@both_floats
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_diagnostics_do_not_change_training(dtype, activation):
    data = X.astype(dtype), y
    plain, diagnosed = (
        build(activation=activation, diagnostics=diagnostics).fit(*data, validation=data)
        for diagnostics in (False, True)
    )
    assert bits(plain) == bits(diagnosed)
    for row, more in zip(plain.history_, diagnosed.history_, strict=True):
        assert row.items() < more.items()
    assert data[0].tobytes() == X.astype(dtype).tobytes()


def test_diagnostics_of_the_last_epoch_are_of_the_final_weights():
    model = build(activation="tanh", diagnostics=True, hidden_layer_sizes=(4, 3)).fit(X, y)
    network = model.weights_, model.biases_, ACTIVATIONS["tanh"], LOSSES["cross_entropy"]
    for name, value in diagnose(X, y, *network).items():
        assert model.history_[-1][name] == pytest.approx(value, rel=1e-9), name


def test_diagnostics_are_of_the_first_samples():
    X = np.abs(np.random.default_rng(0).normal(size=(PROBE_SIZE + 50, 3)))
    y = np.arange(len(X)) % 2
    # Off for all of the probe, on for what comes after it: dead as far as the probe shows
    X[PROBE_SIZE:] *= -1
    model = build(diagnostics=True, learning_rate=1e-12, max_epochs=1, weight_init="he")
    values = model.set_params(hidden_layer_sizes=(64,)).fit(X, y).history_[0]
    on = X[:PROBE_SIZE] @ model.weights_[0] > 0
    assert 0 < (~on.any(axis=0)).mean() < 1
    assert not (X @ model.weights_[0] <= 0).all(axis=0).any()
    assert values["dead_units_1"] == (~on.any(axis=0)).mean()
    assert values["saturated_units_1"] == (on.mean(axis=0) < 0.1).mean()


LEARNS = {
    **{"gradient_norm_1": 0.5, "gradient_norm_2": 0.4, "gradient_norm_3": 0.3},
    **{"unit_spread_1": 1.0, "unit_spread_2": 0.9, "dead_units_1": 0.1, "dead_units_2": 0.2},
    **{"saturated_units_1": 0.0, "saturated_units_2": 0.0},
}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "gradients reach every layer, units differ"),
        ({"unit_spread_1": 0.0, "unit_spread_2": 9e-5}, "every hidden layer: all units the same"),
        ({"unit_spread_2": 1e-5}, "hidden layers 2: all units the same"),
        ({"unit_spread_2": SAME}, "gradients reach every layer, units differ"),
        ({"unit_spread_1": 0.0, "unit_spread_2": 0.0, "unit_spread_3": 1.0, "dead_units_3": 0.0,
          "gradient_norm_4": 0.3}, "hidden layers 1, 2: all units the same"),
        ({"gradient_norm_1": 3e-5}, "first layer's gradient: 1/10,000 of the output's"),
        ({"gradient_norm_1": 3e-4}, "gradients reach every layer, units differ"),
        ({"gradient_norm_1": 0.0}, "no gradient reaches the first layer"),
        # Why no gradient comes through says more than that none does
        ({"gradient_norm_1": 0.0, "unit_spread_1": 0.0, "unit_spread_2": 0.0},
         "every hidden layer: all units the same"),
        ({"dead_units_2": 0.5}, "up to 50% of a layer's units dead"),
        ({"dead_units_2": 0.49}, "gradients reach every layer, units differ"),
    ],
)  # fmt: skip
def test_what_the_values_mean(values, says):
    assert explain(LEARNS | values) == says


@pytest.mark.parametrize(("first", "output", "ratio"), [(0.5, 2.0, 0.25), (0.0, 0.0, 0.0)])
def test_what_explains_most_is_of_the_first_and_of_the_last_epoch(first, output, ratio):
    epochs = [
        {"epoch": 1.0, "gradient_norm_10": output, "gradient_norm_9": 7.0, "gradient_norm_1": first,
         "unit_spread_1": 0.1, "unit_spread_2": 0.2},
        {"epoch": 2.0, "gradient_norm_10": 9.0, "gradient_norm_9": 9.0, "gradient_norm_1": 1.0,
         "unit_spread_1": 0.4, "unit_spread_2": 0.3},
    ]  # fmt: skip
    assert why(epochs) == {"gradient_ratio": ratio, "unit_spread": 0.3}
