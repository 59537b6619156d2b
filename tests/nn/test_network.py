"""The estimators: what they learn, when they stop, what decides their bits."""

import inspect
import math
import pickle
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils._param_validation import InvalidParameterError
from threadpoolctl import threadpool_info, threadpool_limits

from mlcore.nn import NeuralNetwork, NeuralNetworkRegressor
from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.initializers import INITIALIZERS

both_estimators = pytest.mark.parametrize("cls", [NeuralNetwork, NeuralNetworkRegressor])
both_floats = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def halves():
    X, y = iris()
    return X[::2], y[::2], X[1::2], y[1::2]


def noisy_halves():
    X, y, X_val, y_val = halves()
    rng = np.random.default_rng(0)
    return X, rng.permutation(y), X_val, y_val


def build(cls=NeuralNetwork, **changes):
    options = {
        "hidden_layer_sizes": (8, 6),
        "learning_rate": 0.05,
        "max_epochs": 4,
        "batch_size": 16,
        "random_state": 0,
    }
    return cls(**options | changes)


def parameters(model):
    return [*model.weights_, *model.biases_]


def bits(model):
    return [a.tobytes() for a in parameters(model)]


def losses(model):
    return [row["val_loss"] for row in model.history_]


def scores(model, X):
    *hidden, (W, b) = zip(model.weights_, model.biases_, strict=True)
    for W_hidden, b_hidden in hidden:
        X = np.maximum(X @ W_hidden + b_hidden, 0)
    return X @ W + b


def initial_weights(cls=NeuralNetwork, **changes):
    """The weights after steps that are too small to change them visibly."""
    X, y = iris()
    return build(cls, learning_rate=1e-14, max_epochs=1, **changes).fit(X, y).weights_


@both_estimators
@both_floats
def test_same_random_state_same_bits(cls, dtype):
    X, y = iris()
    assert bits(build(cls).fit(X.astype(dtype), y)) == bits(build(cls).fit(X.astype(dtype), y))


@both_estimators
def test_other_random_state_other_weights(cls):
    X, y = iris()
    first, second = build(cls).fit(X, y), build(cls, random_state=1).fit(X, y)
    for a, b in zip(first.weights_, second.weights_, strict=True):
        assert not np.any(a == b)


def test_no_random_state_other_weights_at_every_fit():
    X, y = iris()
    model = build(random_state=None)
    assert bits(model.fit(X, y)) != bits(model.fit(X, y))


def test_a_second_fit_starts_from_new_weights():
    X, y = iris()
    model = build().fit(X, y)
    once = bits(model)
    assert bits(model.fit(X, y)) == once
    assert len(model.history_) == 4


@both_estimators
def test_initial_weights_do_not_depend_on_the_order_of_the_samples(cls):
    few, many = initial_weights(cls, batch_size=150), initial_weights(cls, batch_size=7)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


# Without inputs every ReLU stays off: the output biases see nothing but the order of the labels
@both_estimators
def test_order_of_the_samples_does_not_depend_on_the_initial_weights(cls):
    X, y = np.zeros((30, 4)), np.arange(30) % 3
    networks = [
        {"hidden_layer_sizes": (8, 6)},
        {"hidden_layer_sizes": (3,)},
        {"weight_init": "zero"},
    ]
    options = {"activation": "relu", "batch_size": 1}
    found = [build(cls, **options, **changes).fit(X, y).biases_[-1] for changes in networks]
    other = build(cls, **options, random_state=1).fit(X, y).biases_[-1]
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-10)
    assert not np.allclose(found[0], other, rtol=1e-4, atol=0)


def test_random_state_may_be_a_generator():
    X, y = iris()
    state = np.random.RandomState(0)
    first, second = build(random_state=state).fit(X, y), build(random_state=state).fit(X, y)
    assert bits(first) == bits(build(random_state=0).fit(X, y))
    assert bits(first) != bits(second)


@pytest.mark.parametrize("scheme", sorted(INITIALIZERS))
def test_initial_weights_come_from_the_scheme(scheme):
    (W, _) = initial_weights(hidden_layer_sizes=(2000,), weight_init=scheme)
    std = {
        "zero": 0.0,
        "random": 0.01 / 12**0.5,
        "random_normal": 0.01,
        "normal": (2 / 2000) ** 0.5,
        "he": (2 / 4) ** 0.5,
        "xavier": (2 / 2004) ** 0.5,
    }
    assert W.std() == pytest.approx(std[scheme], rel=0.05, abs=1e-10)


@both_estimators
def test_samples_are_shuffled(cls):
    X, y, _, _ = halves()
    model = build(cls, batch_size=len(X) - 1, max_epochs=1, weight_init="zero", activation="tanh")
    last_biases = [model.set_params(random_state=seed).fit(X, y).biases_[-1] for seed in range(3)]
    assert not np.allclose(last_biases[0], last_biases[1], rtol=1e-6, atol=0)
    assert not np.allclose(last_biases[0], last_biases[2], rtol=1e-6, atol=0)


@both_estimators
@pytest.mark.parametrize("sizes", [(5,), (7, 3), (2, 3, 4, 5), 6, [4, 3], np.array([3, 2])])
def test_shapes_of_the_parameters(cls, sizes):
    X, y = iris()
    model = build(cls, hidden_layer_sizes=sizes, max_epochs=1).fit(X, y)
    widths = [4, *np.atleast_1d(sizes), 3 if cls is NeuralNetwork else 1]
    expected = list(pairwise(widths))
    assert [W.shape for W in model.weights_] == expected
    assert [b.shape for b in model.biases_] == [(width,) for width in widths[1:]]


@both_estimators
@both_floats
def test_parameters_have_the_dtype_of_the_data(cls, dtype):
    X, y = iris()
    X = X.astype(dtype)
    model = build(cls).fit(X, y, validation=(X.astype(np.float64), y))
    assert {a.dtype for a in parameters(model)} == {np.dtype(dtype)}
    found = model.predict_proba(X) if cls is NeuralNetwork else model.predict(X)
    assert found.dtype == dtype


@both_estimators
def test_integers_are_trained_in_float64(cls):
    X, y = iris()
    X = np.rint(X).astype(np.int64)
    model = build(cls).fit(X, y)
    assert {a.dtype for a in parameters(model)} == {np.dtype(np.float64)}
    assert bits(model) == bits(build(cls).fit(X.astype(np.float64), y))


@both_estimators
def test_float32_and_float64_agree(cls):
    X, y = iris()
    wide, narrow = build(cls).fit(X, y), build(cls).fit(X.astype(np.float32), y)
    for a, b in zip(parameters(wide), parameters(narrow), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


@both_estimators
@both_floats
def test_layout_of_the_data_does_not_matter(cls, dtype):
    X, y = iris()
    X = X.astype(dtype)
    spread = np.zeros((2 * len(X), 12), dtype)
    spread[::2, 1::3] = X
    expected = build(cls).fit(X, y, validation=(X, y))
    for same in (np.asfortranarray(X), spread[::2, 1::3], X[::-1].copy()[::-1]):
        model = build(cls).fit(same, y, validation=(same, y))
        assert bits(model) == bits(expected)
        assert losses(model) == losses(expected)
        np.testing.assert_allclose(model.predict(same), expected.predict(X), rtol=1e-4, atol=1e-5)


@both_estimators
def test_data_is_left_alone(cls):
    X, y, X_val, y_val = halves()
    arrays = [X.copy(), y.copy(), X_val.copy(), y_val.copy()]
    model = build(cls).fit(arrays[0], arrays[1], validation=(arrays[2], arrays[3]))
    model.predict(arrays[0])
    for array, kept in zip(arrays, [X, y, X_val, y_val], strict=True):
        np.testing.assert_array_equal(array, kept)


@both_estimators
def test_validation_does_not_change_training(cls):
    X, y, X_val, y_val = halves()
    assert bits(build(cls).fit(X, y, validation=(X_val, y_val))) == bits(build(cls).fit(X, y))


@both_estimators
def test_validation_is_evaluated_in_the_dtype_of_the_training_data(cls):
    X, y, X_val, y_val = halves()
    X, narrow = X.astype(np.float32), X_val.astype(np.float32)
    expected = build(cls).fit(X, y, validation=(narrow, y_val))
    found = build(cls).fit(X, y, validation=(narrow.astype(np.float64), y_val))
    assert found.history_ == expected.history_


BEYOND_FLOAT32 = [1e39, -1e39, 1e300]
METHODS = {
    NeuralNetwork: ["predict", "predict_proba", "predict_log_proba", "evaluate", "score"],
    NeuralNetworkRegressor: ["predict", "score"],
}


@pytest.mark.parametrize(
    ("cls", "method"), [(cls, method) for cls, methods in METHODS.items() for method in methods]
)
@pytest.mark.parametrize("value", BEYOND_FLOAT32)
def test_a_float32_network_refuses_values_beyond_its_range(cls, method, value):
    X, y = iris()
    model = build(cls).fit(X.astype(np.float32), y)
    X[7, 2] = value
    arguments = (X, y) if method in ("evaluate", "score") else (X,)
    with pytest.raises(ValueError, match="X has values beyond the range of float32"):
        getattr(model, method)(*arguments)


@both_estimators
@pytest.mark.parametrize("value", BEYOND_FLOAT32)
def test_float32_training_refuses_validation_values_beyond_its_range(cls, value):
    X, y, X_val, y_val = halves()
    X_val[7, 2] = value
    with pytest.raises(ValueError, match="X has values beyond the range of float32"):
        build(cls).fit(X.astype(np.float32), y, validation=(X_val, y_val))


@pytest.mark.parametrize("validated", [False, True])
def test_float32_training_refuses_targets_beyond_its_range(validated):
    X, y = iris()
    X, bad = X.astype(np.float32), np.where(y == 1, 1e39, y)
    arguments = (X, y, (X, bad)) if validated else (X, bad, None)
    with pytest.raises(ValueError, match="y has values beyond the range of float32"):
        build(NeuralNetworkRegressor).fit(*arguments[:2], validation=arguments[2])


@both_estimators
def test_a_float32_network_takes_values_below_its_range_for_zero(cls):
    X, y = iris()
    model = build(cls).fit(X.astype(np.float32), y)
    np.testing.assert_array_equal(model.predict(X * 1e-60), model.predict(X * 0))


@both_estimators
def test_a_batch_beyond_the_data_is_the_whole_data(cls):
    X, y = iris()
    assert bits(build(cls, batch_size=10**13).fit(X, y)) == bits(
        build(cls, batch_size=150).fit(X, y)
    )


def test_labels_of_any_type():
    X, y, X_val, y_val = halves()
    names = np.array(["virginica", "setosa", "versicolor"])
    expected = build().fit(X, names[y].astype(object), validation=(X_val, names[y_val]))
    assert expected.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(expected.predict(X_val)) <= set(names)

    ranked = np.argsort(np.argsort(names))
    numbered = build().fit(X, ranked[y] * 10 - 5, validation=(X_val, ranked[y_val] * 10 - 5))
    assert numbered.classes_.tolist() == [-5, 5, 15]
    assert bits(numbered) == bits(expected)
    assert numbered.history_ == expected.history_
    np.testing.assert_array_equal(
        expected.classes_[(numbered.predict(X_val) + 5) // 10], expected.predict(X_val)
    )


def test_validation_may_miss_classes():
    X, y, X_val, y_val = halves()
    kept = y_val != 1
    model = build().fit(X, y, validation=(X_val[kept], y_val[kept]))
    expected = log_loss(y_val[kept], model.predict_proba(X_val[kept]), labels=[0, 1, 2])
    assert losses(model)[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unknown", [-1, 3, 1.5])
def test_unknown_validation_label(unknown):
    X, y, X_val, y_val = halves()
    y_val = y_val.astype(type(unknown))
    y_val[10] = unknown
    with pytest.raises(ValueError, match=rf"unknown to training: \[{unknown}\]"):
        build().fit(X, y, validation=(X_val, y_val))


def test_unknown_validation_string():
    X, y, X_val, y_val = halves()
    names = np.array(["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="unknown to training"):
        build().fit(X, names[y], validation=(X_val, names[y_val + 1]))


@both_estimators
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :3], y), "features"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
    ],
)
def test_invalid_validation_set(cls, change, message):
    X, y = iris()
    with pytest.raises(ValueError, match=message):
        build(cls).fit(X, y, validation=change(X, y))


@both_estimators
@pytest.mark.parametrize(
    ("validation", "given"),
    [
        (lambda X, y: (X,), "tuple of length 1"),
        (lambda X, y: [X, y, y], "list of length 3"),
        (lambda X, y: (), "tuple of length 0"),
        (lambda X, y: X, "ndarray"),
        (lambda X, y: X[:2], "ndarray"),
        (lambda X, y: {"X": X, "y": y}, "dict"),
        (lambda X, y: "Xy", "str"),
        (lambda X, y: 2, "int"),
    ],
)
def test_a_validation_set_is_a_pair(cls, validation, given):
    X, y = iris()
    with pytest.raises(
        ValueError, match=rf"^validation should be a tuple \(X, y\), not a {given}$"
    ):
        build(cls).fit(X, y, validation=validation(X, y))


def test_validation_with_another_number_of_outputs():
    X, y = iris()
    with pytest.raises(ValueError, match="validation has 2 outputs, training 1"):
        build(NeuralNetworkRegressor).fit(X, y, validation=(X, X[:, :2]))


@both_estimators
@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_layer_sizes": 0},
        {"hidden_layer_sizes": 8.0},
        {"hidden_layer_sizes": True},
        {"hidden_layer_sizes": "8"},
        {"hidden_layer_sizes": None},
        {"learning_rate": 0},
        {"learning_rate": -0.1},
        {"learning_rate": math.inf},
        {"learning_rate": math.nan},
        {"learning_rate": True},
        {"activation": "swish"},
        {"weight_init": "ones"},
        {"max_epochs": 0},
        {"max_epochs": True},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"batch_size": np.True_},
        {"patience": 0},
        {"patience": True},
        {"restore_best": "yes"},
        {"restore_best": 1},
        {"diagnostics": "yes"},
        {"diagnostics": 1},
        {"random_state": "x"},
        {"random_state": True},
    ],
    ids=str,
)
def test_invalid_parameters(cls, changes):
    X, y = iris()
    (name,) = changes
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        build(cls, **changes).fit(X, y)


@both_estimators
@pytest.mark.parametrize(
    "sizes",
    [
        (),
        (4, 0),
        (4, -1),
        (8.0,),
        (2.7, 3),
        (math.inf,),
        (4, None),
        ("8",),
        (True,),
        (4, True),
        [[8]],
        [[4, 3], [2, 1]],
        [[4], [3, 2]],
        [(4,), (3,)],
        np.array([8.0]),
        np.array([[8]]),
        np.array([True]),
    ],
    ids=repr,
)
def test_layer_sizes_that_are_no_positive_integers_are_refused(cls, sizes):
    X, y = iris()
    message = "'hidden_layer_sizes' parameter must hold positive integers"
    with pytest.raises(InvalidParameterError, match=message):
        build(cls, hidden_layer_sizes=sizes).fit(X, y)


@both_estimators
def test_predicting_before_training(cls):
    with pytest.raises(NotFittedError):
        build(cls).predict(iris()[0])


@both_estimators
def test_history_without_a_validation_set(cls):
    X, y = iris()
    model = build(cls, patience=1, max_epochs=6).fit(X, y)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4, 5, 6]
    assert (model.n_epochs_, model.best_epoch_) == (6, 6)


@both_estimators
@pytest.mark.parametrize("validated", [False, True])
def test_history_has_the_figures_that_apply(cls, validated):
    X, y, X_val, y_val = halves()
    model = build(cls).fit(X, y, validation=(X_val, y_val) if validated else None)
    keys = ["epoch"]
    for part in ["train", "val"] if validated else ["train"]:
        keys += [f"{part}_loss"] + [f"{part}_accuracy"] * (cls is NeuralNetwork)
    for row in model.history_:
        assert type(row) is dict
        assert list(row) == keys
        assert all(map(math.isfinite, row.values()))


def test_history_of_the_classifier_ends_with_its_validation_figures():
    X, y, X_val, y_val = halves()
    model = build().fit(X, y, validation=(X_val, y_val))
    last = model.history_[-1]
    expected = log_loss(y_val, model.predict_proba(X_val))
    assert last["val_loss"] == pytest.approx(expected, rel=1e-10)
    assert last["val_accuracy"] == pytest.approx(accuracy_score(y_val, model.predict(X_val)))


def test_history_of_the_regressor_ends_with_its_validation_figures():
    X, y, X_val, y_val = halves()
    model = build(NeuralNetworkRegressor).fit(X, y, validation=(X_val, y_val))
    expected = mean_squared_error(y_val, model.predict(X_val))
    assert losses(model)[-1] == pytest.approx(expected, rel=1e-10)


@both_floats
def test_evaluate_gives_log_loss_and_accuracy(dtype):
    X, y, X_val, y_val = halves()
    names = np.array(["virginica", "setosa", "versicolor"])
    model = build().fit(X.astype(dtype), names[y])
    many, labels = np.tile(X_val, (17, 1))[:1100], names[np.tile(y_val, 17)[:1100]]
    found = model.evaluate(many, labels)
    probabilities = model.predict_proba(many).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found.keys() == {"loss", "accuracy"}
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, model.predict(many)))


@both_floats
def test_evaluate_agrees_with_the_history(dtype):
    X, y, X_val, y_val = halves()
    model = build().fit(X.astype(dtype), y, validation=(X_val, y_val))
    last = model.history_[-1]
    assert model.evaluate(X_val, y_val) == {
        "loss": last["val_loss"],
        "accuracy": last["val_accuracy"],
    }


def test_evaluate_is_exact_where_probabilities_round_to_zero():
    X, y = iris()
    model = build().fit(X, y)
    model.weights_[-1][...] = 0.0
    model.biases_[-1][...] = [0.0, 2000.0, -1000.0]
    assert model.evaluate(X[y == 2], y[y == 2]) == {"loss": 3000.0, "accuracy": 0.0}


def test_evaluate_leaves_the_model_and_the_data_alone():
    X, y = iris()
    model = build().fit(X, y)
    before, kept = bits(model), (X.copy(), y.copy())
    model.evaluate(X, y)
    assert bits(model) == before
    assert len(model.history_) == 4
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, y + 1), r"unknown to training: \[3\]"),
        (lambda X, y: (X[:, :3], y), "features"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
    ],
)
def test_evaluate_refuses_data_that_do_not_fit(change, message):
    X, y = iris()
    with pytest.raises(ValueError, match=message):
        build().fit(X, y).evaluate(*change(X, y))


def test_evaluate_before_training():
    with pytest.raises(NotFittedError):
        build().evaluate(*iris())


def test_training_figures_are_of_the_weights_before_each_step():
    X, y = iris()
    initial = initial_weights(batch_size=200)
    (first,) = build(batch_size=200, max_epochs=1).fit(X, y).history_
    hidden = X
    for W in initial[:-1]:
        hidden = np.maximum(hidden @ W, 0)
    probabilities = softmax(hidden @ initial[-1], axis=1)
    assert first["train_loss"] == pytest.approx(log_loss(y, probabilities), rel=1e-10)
    assert first["train_accuracy"] == pytest.approx(accuracy_score(y, probabilities.argmax(axis=1)))


@pytest.mark.parametrize("patience", [1, 3, 10])
@pytest.mark.parametrize("restore_best", [False, True])
def test_early_stopping_ends_patience_epochs_after_the_best(patience, restore_best):
    X, y, X_val, y_val = noisy_halves()
    model = build(
        learning_rate=0.2, max_epochs=500, patience=patience, restore_best=restore_best
    ).fit(X, y, validation=(X_val, y_val))
    curve = losses(model)
    assert model.n_epochs_ == len(curve) < 500
    assert model.best_epoch_ == 1 + np.argmin(curve)
    assert model.n_epochs_ == model.best_epoch_ + patience
    waits = [n - 1 - np.argmin(curve[:n]) for n in range(1, len(curve))]
    assert max(waits) < patience


def test_no_early_stopping_within_patience():
    X, y, X_val, y_val = noisy_halves()
    model = build(learning_rate=0.2, max_epochs=50, patience=50)
    model.fit(X, y, validation=(X_val, y_val))
    assert model.n_epochs_ == 50
    assert model.best_epoch_ < 50


@both_estimators
def test_restore_best_gives_the_weights_of_the_lowest_loss(cls):
    X, y, X_val, y_val = noisy_halves()
    model = build(cls, learning_rate=0.2, max_epochs=60, patience=60, restore_best=True)
    model.fit(X, y, validation=(X_val, y_val))
    assert 1 <= model.best_epoch_ < model.n_epochs_ == 60
    if cls is NeuralNetwork:
        found = log_loss(y_val, model.predict_proba(X_val))
    else:
        found = mean_squared_error(y_val, model.predict(X_val))
    assert found == pytest.approx(min(losses(model)), rel=1e-10)
    assert found < 0.999 * losses(model)[-1]
    shorter = build(cls, learning_rate=0.2, max_epochs=model.best_epoch_).fit(X, y)
    assert bits(model) == bits(shorter)


@both_estimators
def test_without_restore_best_the_last_weights_stay(cls):
    X, y, X_val, y_val = noisy_halves()
    model = build(cls, learning_rate=0.2, max_epochs=60, patience=60)
    model.fit(X, y, validation=(X_val, y_val))
    if cls is NeuralNetwork:
        found = log_loss(y_val, model.predict_proba(X_val))
    else:
        found = mean_squared_error(y_val, model.predict(X_val))
    assert found == pytest.approx(losses(model)[-1], rel=1e-10)
    assert found > 1.001 * min(losses(model))


def test_restore_best_without_a_validation_set_keeps_the_last_weights():
    X, y = iris()
    assert bits(build(restore_best=True).fit(X, y)) == bits(build().fit(X, y))


@both_estimators
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_zero_init_keeps_the_units_of_a_layer_identical(cls, activation):
    X, y, _, _ = halves()
    model = build(cls, activation=activation, weight_init="zero", learning_rate=0.5, max_epochs=30)
    model.fit(X, y)
    for W, b in zip(model.weights_[:-1], model.biases_[:-1], strict=True):
        np.testing.assert_allclose(
            W, np.repeat(W[:, :1], W.shape[1], axis=1), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(b, np.full_like(b, b[0]), rtol=1e-9, atol=1e-12)
    for W in model.weights_[1:]:
        np.testing.assert_allclose(W, np.repeat(W[:1], len(W), axis=0), rtol=1e-9, atol=1e-12)
    assert np.abs(model.weights_[-1]).min() > 1e-6
    assert (np.abs(model.weights_[0]).max() > 1e-6) == (activation == "sigmoid")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "identity"])
def test_zero_init_learns_the_class_frequencies_only(activation):
    X, y = iris()
    X, y = X[20:], y[20:]
    model = build(activation=activation, weight_init="zero", batch_size=200, max_epochs=300)
    model.set_params(learning_rate=0.5).fit(X, y)
    assert not any(W.any() for W in model.weights_)
    expected = np.tile(np.array([30, 50, 50]) / 130, (len(X), 1))
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)


@both_estimators
def test_on_epoch_is_called_with_every_epoch(cls):
    X, y, X_val, y_val = halves()
    seen = []
    model = build(cls).fit(X, y, validation=(X_val, y_val), on_epoch=seen.append)
    assert [row["epoch"] for row in seen] == [1, 2, 3, 4]
    assert all(a is b for a, b in zip(seen, model.history_, strict=True))


@both_estimators
def test_fit_uses_one_blas_thread(cls):
    X, y = iris()
    seen = []

    def count(row=None):
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        seen.append({pool["num_threads"] for pool in pools})

    with threadpool_limits(limits=2, user_api="blas"):
        build(cls, max_epochs=2).fit(X, y, on_epoch=count)
        count()
    assert seen == [{1}, {1}, {2}]


def interrupt(error):
    def raise_it(row):
        if row["epoch"] == 2:
            raise error

    return raise_it


# What makes a fit fail: changed parameters, X and arguments of fit, with the error
FAILURES = {
    "parameter": ({"learning_rate": -1.0}, lambda X, y: X, {}, InvalidParameterError),
    "layer sizes": ({"hidden_layer_sizes": (8.0,)}, lambda X, y: X, {}, InvalidParameterError),
    "data": ({}, lambda X, y: np.full_like(X, np.nan), {}, ValueError),
    "samples": ({}, lambda X, y: X[1:], {}, ValueError),
    "validation": ({}, lambda X, y: X, {"validation": 5}, ValueError),
    "validation labels": ({}, lambda X, y: X, {"validation": ([[0] * 3], ["?"])}, ValueError),
    "divergence": (
        {"activation": "identity", "learning_rate": 1e200},
        lambda X, y: 1e3 * X,
        {},
        FloatingPointError,
    ),
    "exception": ({}, lambda X, y: X, {"on_epoch": interrupt(OSError())}, OSError),
    "interrupt": (
        {"restore_best": True},
        lambda X, y: X,
        {"on_epoch": interrupt(KeyboardInterrupt())},
        KeyboardInterrupt,
    ),
}
every_failure = pytest.mark.parametrize("failure", FAILURES)


def fail(model, failure):
    """Fit in vain, on data of other widths and labels than `iris`."""
    X, y = iris()
    X, y = X[20:, :3], y[20:] + 5
    _, change, arguments, error = FAILURES[failure]
    with pytest.raises(error):
        model.fit(change(X, y), y, **arguments)


@both_estimators
@every_failure
def test_a_failing_fit_leaves_a_fitted_estimator_as_it_was(cls, failure):
    X, y, X_val, y_val = halves()
    model = build(cls).fit(X, y, validation=(X_val, y_val))
    model.set_params(**FAILURES[failure][0])
    before, predicted = deepcopy(vars(model)), model.predict(X)
    fail(model, failure)
    assert vars(model).keys() == before.keys()
    for name, value in vars(model).items():
        np.testing.assert_equal(value, before[name], err_msg=name)
    np.testing.assert_array_equal(model.predict(X), predicted)


@both_estimators
@every_failure
def test_a_failing_fit_leaves_an_unfitted_estimator_unfitted(cls, failure):
    model = build(cls, **FAILURES[failure][0])
    before = dict(vars(model))
    fail(model, failure)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        model.predict(iris()[0])


@both_estimators
def test_pickle_round_trip(cls):
    X, y, X_val, y_val = halves()
    model = build(cls).fit(X, y, validation=(X_val, y_val), on_epoch=lambda row: None)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert vars(again).keys() == vars(model).keys()
    assert bits(again) == bits(model)
    assert again.history_ == model.history_
    np.testing.assert_array_equal(again.predict(X_val), model.predict(X_val))
    assert again.get_params() == model.get_params()


@both_estimators
def test_clone_keeps_the_parameters_and_drops_the_fit(cls):
    X, y = iris()
    model = build(cls).fit(X, y)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "weights_")
    assert bits(fresh.fit(X, y)) == bits(model)


def test_regressor_differs_from_the_classifier_in_defaults_only():
    classifier, regressor = NeuralNetwork().get_params(), NeuralNetworkRegressor().get_params()
    assert {name for name in classifier if classifier[name] != regressor[name]} == {
        "learning_rate",
        "activation",
        "weight_init",
    }
    for name in ("__init__", "fit"):
        signatures = [
            inspect.signature(getattr(cls, name)) for cls in (NeuralNetwork, NeuralNetworkRegressor)
        ]
        assert list(signatures[0].parameters) == list(signatures[1].parameters)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu"])
def test_predictions_are_those_of_scikit_learn_with_the_same_parameters(activation):
    X, y = iris()
    model = build(activation=activation, weight_init="xavier", max_epochs=30).fit(X, y)
    name = {"sigmoid": "logistic"}.get(activation, activation)
    mlp = MLPClassifier((8, 6), activation=name, solver="sgd", batch_size=50)
    mlp.partial_fit(X, y, classes=[0, 1, 2])
    mlp.coefs_, mlp.intercepts_ = model.weights_, model.biases_
    np.testing.assert_allclose(model.predict_proba(X), mlp.predict_proba(X), rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X), mlp.predict(X))
    assert model.score(X, y) == mlp.score(X, y)


@both_floats
def test_probabilities_at_extreme_scores(dtype):
    X, y = iris()
    model = build().fit(X.astype(dtype), y)
    model.weights_[-1][...] *= 1e6
    probabilities = model.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


@both_floats
def test_log_probabilities_are_the_log_softmax_of_the_scores(dtype):
    X, y = iris()
    model = build(max_epochs=30).fit(X.astype(dtype), y)
    found = model.predict_log_proba(X)
    assert found.dtype == dtype
    expected = log_softmax(scores(model, X), axis=1)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=256 * eps, atol=64 * eps)


@both_floats
def test_log_probabilities_where_probabilities_round_to_zero(dtype):
    X, y = iris()
    model = build().fit(X.astype(dtype), y)
    model.weights_[-1][...] = 0.0
    model.biases_[-1][...] = [0.0, 2000.0, -1000.0]
    np.testing.assert_array_equal(model.predict_proba(X[:1]), [[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(model.predict_log_proba(X[:1]), [[-2000.0, 0.0, -3000.0]])
    model.biases_[-1][...] = [5e4, 5e4, 0.0]
    expected = [[-math.log(2), -math.log(2), -5e4 - math.log(2)]]
    np.testing.assert_allclose(model.predict_log_proba(X[:1]), expected, rtol=1e-6)


@both_floats
def test_log_probabilities_of_rows_with_scores_far_apart(dtype):
    X, y = iris()
    model = build(hidden_layer_sizes=(1,)).fit(X.astype(dtype), y)
    model.weights_[0][...] = [[1], [0], [0], [0]]
    model.weights_[1][...] = [[1, 2, 3]]
    for bias in model.biases_:
        bias[...] = 0
    found = model.predict_log_proba([[1, 0, 0, 0], [1e4, 0, 0, 0]])
    total = math.log(math.exp(1) + math.exp(2) + math.exp(3))
    expected = [[1 - total, 2 - total, 3 - total], [-2e4, -1e4, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@both_estimators
def test_predictions_of_many_rows_are_those_of_each_row(cls):
    X, y = iris()
    model = build(cls).fit(X, y)
    many = np.tile(X, (17, 1))
    found = model.predict_proba(many) if cls is NeuralNetwork else model.predict(many)
    each = [
        (model.predict_proba(row) if cls is NeuralNetwork else model.predict(row))[0]
        for row in X[:, np.newaxis]
    ]
    np.testing.assert_allclose(found, np.concatenate([each] * 17), rtol=1e-10)


def test_default_network_learns_digits():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0, stratify=y)
    model = NeuralNetwork(max_epochs=30, random_state=0).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.93


@both_floats
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"softmax"}))
def test_classifier_learns_digits(activation, dtype):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(dtype)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    model = NeuralNetwork(
        (64,),
        activation=activation,
        weight_init="he",
        learning_rate=0.1,
        batch_size=16,
        max_epochs=20,
        random_state=0,
    ).fit(X_train, y_train)
    assert model.score(X_test, y_test) > 0.93


@both_floats
def test_regressor_learns_a_function(dtype):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 2)).astype(dtype)
    y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2
    model = build(
        NeuralNetworkRegressor, hidden_layer_sizes=(32,), learning_rate=0.1, max_epochs=100
    ).fit(X[:400], y[:400])
    predicted = model.predict(X[400:])
    assert predicted.shape == (200,)
    assert r2_score(y[400:], predicted) > 0.95


def test_regressor_with_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 2))
    Y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] ** 2, X[:, 0] - X[:, 1]])
    model = build(
        NeuralNetworkRegressor, hidden_layer_sizes=(32,), learning_rate=0.3, max_epochs=200
    ).fit(X[:400], Y[:400], validation=(X[400:], Y[400:]))
    predicted = model.predict(X[400:])
    assert predicted.shape == (200, 3)
    assert r2_score(Y[400:], predicted, multioutput="raw_values").min() > 0.9
    assert losses(model)[-1] == pytest.approx(mean_squared_error(Y[400:], predicted), rel=1e-10)


def test_regressor_takes_a_column_of_targets_for_a_vector():
    X, y = iris()
    expected = build(NeuralNetworkRegressor).fit(X, y, validation=(X, y))
    with pytest.warns(UserWarning, match="column-vector y"):
        model = build(NeuralNetworkRegressor).fit(X, y[:, np.newaxis], validation=(X, y[:, None]))
    assert bits(model) == bits(expected)
    assert losses(model) == losses(expected)
    assert model.predict(X).shape == (len(X),)


@both_estimators
def test_divergence(cls):
    X, y = iris()
    model = build(cls, activation="identity", learning_rate=1e200)
    with pytest.raises(FloatingPointError, match=r"epoch \d+, step \d+; .*learning_rate.*1e\+200"):
        model.fit(1e3 * X, y)


@both_estimators
@both_floats
def test_a_feature_that_is_zero_in_training_still_counts_in_scoring(cls, dtype):
    X, y = iris()
    padded = np.zeros((len(X), 6), dtype)
    padded[:, [0, 2, 3, 5]] = X
    model = build(cls, activation="relu").fit(padded, y)
    padded[:, [1, 4]] = np.random.default_rng(0).normal(size=(len(X), 2))
    expected = scores(model, padded)
    if cls is NeuralNetwork:
        expected, found = softmax(expected, axis=1), model.predict_proba(padded)
    else:
        found = model.predict(padded)[:, np.newaxis]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    padded[:, [1, 4]] = 0
    ignoring = model.predict_proba(padded) if cls is NeuralNetwork else model.predict(padded)
    assert np.abs(found - ignoring.reshape(found.shape)).max() > 0.01


def test_a_single_class():
    model = build().fit([[1.0, 2.0], [3.0, 4.0]], ["only", "only"])
    assert model.predict([[0.0, 0.0]]).tolist() == ["only"]
    np.testing.assert_array_equal(model.predict_proba([[0.0, 0.0]]), [[1.0]])


def test_in_a_pipeline():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), build(max_epochs=60)).fit(X, y)
    alone = build(max_epochs=60).fit(scale(X), y)
    np.testing.assert_allclose(pipeline.predict_proba(X), alone.predict_proba(scale(X)), rtol=1e-8)
    assert pipeline.score(X, y) > 0.9


def test_in_a_grid_search():
    X, y = iris()
    grid = {"learning_rate": [1e-9, 0.1], "hidden_layer_sizes": [(4,), (8, 4)]}
    search = GridSearchCV(build(max_epochs=30), grid, cv=3).fit(X, y)
    assert search.best_params_["learning_rate"] == 0.1
    assert search.best_score_ > 0.9
    assert bits(search.best_estimator_) == bits(
        build(max_epochs=30, **search.best_params_).fit(X, y)
    )


def test_in_cross_validation():
    X, y = iris()
    model = build(max_epochs=60, learning_rate=0.1)
    scores = cross_val_score(model, X, y, cv=5)
    assert scores.shape == (5,)
    assert scores.mean() > 0.9
    assert not hasattr(model, "weights_")


def test_regressor_in_cross_validation():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = build(NeuralNetworkRegressor, learning_rate=0.02, max_epochs=30)
    assert cross_val_score(model, scale(X), scale(y), cv=5).mean() > 0.35


def test_in_probability_calibration():
    X, y = iris()
    calibrated = CalibratedClassifierCV(build(max_epochs=60, learning_rate=0.1), cv=3).fit(X, y)
    probabilities = calibrated.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert accuracy_score(y, probabilities.argmax(axis=1)) > 0.9


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_column_labels_count_as_flat_ones():
    X, y = load_iris(return_X_y=True)
    flat = NeuralNetwork((4,), max_epochs=3, random_state=0).fit(X, y, validation=(X, y))
    column = NeuralNetwork((4,), max_epochs=3, random_state=0).fit(
        X, y, validation=(X, y[:, np.newaxis])
    )
    assert column.history_ == flat.history_
    assert column.evaluate(X, y[:, np.newaxis]) == flat.evaluate(X, y)


def test_column_labels_are_warned_of_as_scikit_learn_does():
    X, y = iris()
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        build().fit(X, y[:, np.newaxis])


def test_divergence_in_the_last_step_is_an_error():
    X = np.linspace(0, 1, 20)[:, np.newaxis]
    network = NeuralNetworkRegressor(
        (8,), learning_rate=1e308, max_epochs=1, batch_size=1000, random_state=0
    )
    with pytest.raises(FloatingPointError, match=r"not finite after epoch 1.*learning_rate"):
        network.fit(X, 1000 * X[:, 0])


def test_a_numpy_learning_rate_gives_the_same_bits():
    X, y = load_iris(return_X_y=True)
    weights = [
        NeuralNetwork((4,), learning_rate=rate, max_epochs=3, random_state=0)
        .fit(X.astype(np.float32), y)
        .weights_[0]
        .tobytes()
        for rate in (0.02, np.float64(0.02))
    ]
    assert weights[0] == weights[1]
