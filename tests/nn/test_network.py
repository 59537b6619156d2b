"""The estimator: what it learns, when it stops, what decides its bits."""

import math
import re
import threading
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks
from textbook import SKLEARN_NAMES, X, bits, both_floats, build, y
from threadpoolctl import threadpool_info, threadpool_limits

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.gradients import forward
from mlcore.nn.initializers import INITIALIZERS
from mlcore.nn.training import EpochStats


@parametrize_with_checks([build(hidden_layer_sizes=(16,), learning_rate=0.1, max_epochs=100)])
def test_scikit_learns_own_checks_of_an_estimator(estimator, check):
    check(estimator)


def halves():
    return X[::2], y[::2], X[1::2], y[1::2]


def losses(model):
    return [row["val_loss"] for row in model.history_]


@both_floats
def test_the_random_state_decides_the_bits(dtype):
    data = X.astype(dtype), y
    first, same, other = (build(random_state=s).fit(*data) for s in (0, 0, 1))
    assert bits(first) == bits(same)
    for a, b in zip(first.weights_, other.weights_, strict=True):
        assert not np.any(a == b)
    drawn = build(random_state=None)
    assert bits(drawn.fit(*data)) != bits(drawn.fit(*data))
    generator = build(random_state=np.random.RandomState(0))
    assert bits(generator.fit(*data)) == bits(first) != bits(generator.fit(*data))


def test_initial_weights_do_not_depend_on_the_order_of_the_samples():
    small = {"learning_rate": 1e-14, "max_epochs": 1}  # steps that leave the weights as they were
    few, many = (build(**small, batch_size=n).fit(X, y).weights_ for n in (150, 7))
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


@both_floats
@pytest.mark.parametrize("init_scale", [1.0, 3.0])
@pytest.mark.parametrize("scheme", sorted(INITIALIZERS))
def test_weights_begin_as_their_scheme_says_and_hidden_biases_as_they(scheme, init_scale, dtype):
    mean = 0.005 if scheme == "random" else 0.0
    sd = {"zero": 0.0, "random": 0.01 / 12**0.5, "random_normal": 0.01, "he": (2 / 4) ** 0.5,
          "normal": (2 / 40_000) ** 0.5, "xavier": (2 / 40_004) ** 0.5}[scheme]  # fmt: skip
    wide = {"hidden_layer_sizes": (40_000,), "weight_init": scheme, "learning_rate": 1e-14,
            "max_epochs": 1, "batch_size": 10}  # fmt: skip
    samples = X[:10].astype(dtype), y[::15]
    model = build(**wide, bias_init="weights", init_scale=init_scale).fit(*samples)
    plain = build(**wide).fit(*samples)
    hidden, output = model.biases_
    assert hidden.dtype == dtype
    for values in (hidden, model.weights_[0]):
        assert values.mean() == pytest.approx(init_scale * mean, abs=0.03 * init_scale * sd + 1e-12)
        assert values.std() == pytest.approx(init_scale * sd, rel=0.03, abs=1e-12)
    assert len(np.unique(hidden)) > 30_000 or scheme == "zero"
    np.testing.assert_allclose(output, 0, atol=1e-12)
    np.testing.assert_allclose(plain.biases_[0], 0, atol=1e-12)
    for scaled, W in zip(model.weights_, plain.weights_, strict=True):
        np.testing.assert_allclose(scaled, init_scale * W, rtol=1e-5, atol=1e-12)


def test_biases_may_have_a_scheme_of_their_own():
    model = build(weight_init="zero", bias_init="normal", init_scale=5.0, learning_rate=1e-14,
                  hidden_layer_sizes=(40_000,), max_epochs=1).fit(X, y)  # fmt: skip
    assert model.biases_[0].std() == pytest.approx((2 / 40_000) ** 0.5, rel=0.03)
    assert np.abs(model.weights_[0]).max() < 1e-12


# Without inputs every ReLU stays off: the output biases see nothing but the order of the labels
def test_order_of_the_samples_does_not_depend_on_the_initial_weights():
    X, y = np.zeros((30, 4)), np.arange(30) % 3
    networks = [{}, {"hidden_layer_sizes": (3,)}, {"weight_init": "zero"}]
    options = {"activation": "relu", "batch_size": 1}
    found = [build(**options, **changes).fit(X, y).biases_[-1] for changes in networks]
    other = build(**options, random_state=1).fit(X, y).biases_[-1]
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-10)
    assert not np.allclose(found[0], other, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sizes", [(5,), (7, 3), (2, 3, 4, 5), 6, [4, 3], np.array([3, 2])])
def test_shapes_of_the_parameters(sizes):
    model = build(hidden_layer_sizes=sizes, max_epochs=1, batch_size=10**13).fit(X, y)
    widths = [4, *np.atleast_1d(sizes), 3]
    assert [W.shape for W in model.weights_] == list(pairwise(widths))
    assert [b.shape for b in model.biases_] == [(width,) for width in widths[1:]]


@pytest.mark.parametrize(
    ("given", "dtype"), [(np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64)]
)
def test_parameters_have_the_dtype_of_the_data(given, dtype):
    data = np.rint(X).astype(given)
    model = build(learning_rate=np.float64(0.05)).fit(data, y, validation=(X, y))
    assert {a.dtype for a in model.weights_ + model.biases_} == {np.dtype(dtype)}
    assert model.predict_proba(X).dtype == dtype
    assert bits(model) == bits(build().fit(data.astype(dtype), y))  # whatever it is validated on


@both_floats
def test_layout_of_the_data_does_not_matter(dtype):
    straight = X.astype(dtype)
    spread = np.zeros((2 * len(X), 12), dtype)
    spread[::2, 1::3] = straight
    expected = build().fit(straight, y, validation=(straight, y))
    for same in (np.asfortranarray(straight), spread[::2, 1::3], straight[::-1].copy()[::-1]):
        model = build().fit(same, y, validation=(same, y))
        assert bits(model) == bits(expected)
        assert losses(model) == losses(expected)
        assert model.predict(same).tolist() == expected.predict(straight).tolist()


def test_a_float32_network_refuses_values_beyond_its_range():
    model = build().fit(X.astype(np.float32), y)
    beyond = np.where(X[7, 2] == X, -1e39, X)
    for method in (model.predict, model.predict_proba, model.predict_log_proba):
        with pytest.raises(ValueError, match="X has values beyond the range of float32"):
            method(beyond)
    # What is below it counts as zero
    np.testing.assert_array_equal(model.predict(X * 1e-60), model.predict(X * 0))


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
    found = expected.classes_[(numbered.predict(X_val) + 5) // 10]
    np.testing.assert_array_equal(found, expected.predict(X_val))


def test_validation_may_miss_classes():
    X, y, X_val, y_val = halves()
    kept = y_val != 1
    model = build().fit(X, y, validation=(X_val[kept], y_val[kept]))
    expected = log_loss(y_val[kept], model.predict_proba(X_val[kept]), labels=[0, 1, 2])
    assert losses(model)[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unknown", [-1, 3, 1.5, "d"])
def test_unknown_labels(unknown):
    X, y, X_val, y_val = halves()
    if unknown == "d":
        y, y_val = np.array(["a", "b", "c"])[y], np.array(["a", "b", "c"])[y_val]
    y_val = y_val.astype(type(unknown))
    y_val[10] = unknown
    message = re.escape(f"unknown to training: [{unknown!r}]")
    with pytest.raises(ValueError, match=message):
        build().fit(X, y, validation=(X_val, y_val))
    with pytest.raises(ValueError, match=message):
        build().fit(X, y).evaluate(X_val, y_val)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :3], y), "features"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (np.where(X > 1, 1e39, X), y), "X has values beyond the range of float32"),
    ],
)
def test_further_data_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        build().fit(X.astype(np.float32), y, validation=change(X, y))
    with pytest.raises(ValueError, match=message):
        build().fit(X.astype(np.float32), y).evaluate(*change(X, y))


@pytest.mark.parametrize("given", [(X,), [X, y, y], X[:2]], ids=["X", "X y y", "array"])
def test_a_validation_set_is_a_pair(given):
    with pytest.raises(ValueError, match=r"^validation should be a tuple \(X, y\)$"):
        build().fit(X, y, validation=given)


INVALID = {
    "hidden_layer_sizes": [0, 8.0, True, "8", None],
    "learning_rate": [0, -0.1, math.inf, math.nan],
    "activation": ["swish"],
    "weight_init": ["ones"],
    "max_epochs": [0],
    "batch_size": [0, 1.5],
    "patience": [0],
    "restore_best": ["yes", 1],
    "diagnostics": ["yes", 1],
    "random_state": ["x"],
}
NO_SIZES = [
    (), (4, 0), (4, -1), (8.0,), (2.7, 3), (math.inf,), (4, None), ("8",), (True,),
    [[8]], [[4, 3], [2, 1]], np.array([8.0]), np.array([[8]]), np.array([True]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [(name, value, f"The '{name}' param") for name, values in INVALID.items() for value in values]
    + [("hidden_layer_sizes", sizes, "must hold positive integers") for sizes in NO_SIZES],
)
def test_invalid_parameters(name, value, message):
    with pytest.raises(InvalidParameterError, match=message):
        build(**{name: value}).fit(X, y)


@both_floats
@pytest.mark.parametrize("validated", [False, True])
def test_history_has_the_values_that_apply(validated, dtype):
    X, y, X_val, y_val = halves()
    seen, model = [], build(patience=1)
    validation = (X_val.astype(np.float64), y_val) if validated else None
    model.fit(X.astype(dtype), y, validation=validation, on_epoch=seen.append)
    keys = ["epoch", "train_loss", "train_accuracy"]
    keys += ["val_loss", "val_accuracy"] if validated else []
    for row in model.history_:
        assert type(row) is dict
        assert list(row) == keys
        assert all(map(math.isfinite, row.values()))
    assert all(a is b for a, b in zip(seen, model.history_, strict=True))
    assert [row["epoch"] for row in seen] == [1, 2, 3, 4]
    assert (model.n_epochs_, model.best_epoch_) == (4, 4)
    if validated:  # in the dtype of the training data
        found = model.evaluate(X_val, y_val)
        assert seen[-1].items() > {f"val_{name}": value for name, value in found.items()}.items()


@pytest.mark.parametrize("patience", [1, 3, 10])
@pytest.mark.parametrize("restore_best", [False, True])
def test_early_stopping_ends_patience_epochs_after_the_best(patience, restore_best):
    X, y, X_val, y_val = halves()
    y = np.random.default_rng(0).permutation(y)  # noise, to which it soon fits too well
    options = {"learning_rate": 0.2, "restore_best": restore_best}
    model = build(max_epochs=500, patience=patience, **options)
    model.fit(X, y, validation=(X_val, y_val))
    curve = losses(model)
    assert model.n_epochs_ == len(curve) < 500
    assert model.best_epoch_ == 1 + np.argmin(curve)
    assert model.n_epochs_ == model.best_epoch_ + patience
    waits = [n - 1 - np.argmin(curve[:n]) for n in range(1, len(curve))]
    assert max(waits) < patience
    # The last weights stay, or the best are restored
    expected = min(curve) if restore_best else curve[-1]
    assert log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(expected, rel=1e-10)
    n_epochs = model.best_epoch_ if restore_best else model.n_epochs_
    assert bits(model) == bits(build(max_epochs=n_epochs, **options).fit(X, y))


@pytest.mark.parametrize(
    ("patience", "losses", "best", "last"),
    [
        (3, [2.0, 1.0, 1.5, 1.2, 1.1], 2, 5),
        (2, [3.0, 3.5, 2.5, 2.6, 2.4, 2.5, 2.5], 5, 7),  # waits anew at every minimum
        (2, [1.0, 1.0, 1.0], 1, 3),  # an equal loss is no improvement
        (1, [3.0, 2.0, 1.0, 1.1], 3, 4),
        (None, [1.0, *[2.0] * 1000], 1, 1006),
        (1, [math.nan] * 50, 55, 55),  # without a validation set
    ],
)
def test_patience_by_hand(monkeypatch, patience, losses, best, last):
    losses = losses + losses[-1:] * 5
    stats = [EpochStats(epoch, 1.0, 0.5, loss, 0.5) for epoch, loss in enumerate(losses, start=1)]
    monkeypatch.setattr("mlcore.nn.network.train", lambda *_, **__: iter(stats))
    model = build(patience=patience).fit(X, y)
    assert (model.best_epoch_, model.n_epochs_) == (best, last)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "identity"])
def test_zero_init_learns_the_class_frequencies_only(activation):
    model = build(activation=activation, weight_init="zero", batch_size=200, max_epochs=300)
    model.set_params(learning_rate=0.5).fit(X[20:], y[20:])
    assert not any(W.any() for W in model.weights_)
    expected = np.tile(np.array([30, 50, 50]) / 130, (len(X), 1))
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        yield
        assert blas_threads() == {2}  # whatever was done, it is put back


@pytest.mark.usefixtures("two_blas_threads")
def test_fits_that_overlap_in_threads_use_one_blas_thread():
    """The second begins within the first and goes on after its end."""
    begun, ended, seen = threading.Event(), threading.Event(), []

    def first_epoch(row):
        second.start()
        assert begun.wait(60)

    def second_epoch(row):
        begun.set()
        assert ended.wait(60)
        seen.append(blas_threads())

    options = {"max_epochs": 1, "hidden_layer_sizes": (512, 256), "batch_size": 1000}
    X = np.random.default_rng(0).normal(size=(1000, 784)).astype(np.float32)
    alone, beside = (build(**options | {"max_epochs": 3}) for _ in range(2))
    y = np.arange(1000) % 10
    alone.fit(X, y)
    second = threading.Thread(target=lambda: beside.fit(X, y, on_epoch=second_epoch))
    build(**options).fit(X, y, on_epoch=first_epoch)
    ended.set()
    second.join()
    assert seen == [{1}] * 3
    assert bits(beside) == bits(alone)


def test_scores_do_not_depend_on_the_number_of_blas_threads():
    X = np.random.default_rng(0).normal(size=(1000, 784)).astype(np.float32)
    y = np.arange(1000) % 10
    model = build(hidden_layer_sizes=(512, 256), max_epochs=1).fit(X, y)
    found = []
    for n in (1, 2):
        with threadpool_limits(limits=n, user_api="blas"):
            found.append((model.predict_proba(X).tobytes(), model.evaluate(X, y)))
            assert blas_threads() == {n}
    assert found[0] == found[1]


def raising(error):
    def raise_it(row):
        if row["epoch"] == 2:
            raise error

    return raise_it


# What makes a fit fail: changed parameters and arguments of fit, with the error
FAILURES = {
    "parameter": ({"learning_rate": -1.0}, {}, InvalidParameterError),
    "layer sizes": ({"hidden_layer_sizes": (8.0,)}, {}, InvalidParameterError),
    "validation": ({}, {"validation": ([[0] * 3], ["?"])}, ValueError),
    "divergence": ({"activation": "identity", "learning_rate": 1e200}, {}, FloatingPointError),
    "exception": ({}, {"on_epoch": raising(OSError)}, OSError),
    "Ctrl-C": ({"restore_best": True}, {"on_epoch": raising(KeyboardInterrupt)}, KeyboardInterrupt),
}


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_fit_leaves_an_estimator_as_it_was(failure):
    changes, arguments, error = FAILURES[failure]
    fitted, unfitted = build().fit(X, y, validation=(X, y)), build()
    for model in (fitted, unfitted):
        model.set_params(**changes)
        before = deepcopy(vars(model))
        with pytest.raises(error):
            model.fit(X[20:, :3], y[20:] + 5, **arguments)  # of other widths and labels
        np.testing.assert_equal(vars(model), before)
    for method in (unfitted.predict, lambda X: unfitted.evaluate(X, y)):
        with pytest.raises(NotFittedError):
            method(X)


@pytest.mark.parametrize(("activation", "name"), SKLEARN_NAMES.items())
def test_predictions_are_those_of_scikit_learn_with_the_same_parameters(activation, name):
    model = build(activation=activation, weight_init="xavier", max_epochs=30).fit(X, y)
    mlp = MLPClassifier((8, 6), activation=name, solver="sgd", batch_size=50)
    mlp.partial_fit(X, y, classes=[0, 1, 2])
    mlp.coefs_, mlp.intercepts_ = model.weights_, model.biases_
    many, labels = np.tile(X, (17, 1))[:1100], np.tile(y, 17)[:1100]
    for method in ("predict_proba", "predict_log_proba", "predict"):
        found, expected = (getattr(network, method)(many) for network in (model, mlp))
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    evaluated = model.evaluate(many, labels)
    assert evaluated["loss"] == pytest.approx(log_loss(labels, mlp.predict_proba(many)), rel=1e-10)
    assert evaluated["accuracy"] == model.score(many, labels) == mlp.score(many, labels)


@both_floats
def test_log_probabilities_of_rows_with_scores_far_apart(dtype):
    model = build(hidden_layer_sizes=(1,)).fit(X.astype(dtype), y)
    model.weights_[0][...] = [[1], [0], [0], [0]]
    model.weights_[1][...] = [[1, 2, 3]]
    for bias in model.biases_:
        bias[...] = 0
    rows = [[1, 0, 0, 0], [1e4, 0, 0, 0]]
    total = math.log(math.exp(1) + math.exp(2) + math.exp(3))
    expected = [[1 - total, 2 - total, 3 - total], [-2e4, -1e4, 0]]
    found = model.predict_log_proba(rows)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(model.predict_proba(rows)[1], [0, 0, 1])


@both_floats
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"softmax"}))
def test_classifier_learns_digits(activation, dtype):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X.astype(dtype) / 16, y, random_state=0, stratify=y)
    options = {"hidden_layer_sizes": (64,), "weight_init": "he", "learning_rate": 0.1}
    model = build(activation=activation, max_epochs=20, **options).fit(X, y)
    assert model.score(X_test, y_test) > 0.93


@both_floats
def test_a_feature_that_is_zero_in_training_still_counts_in_scoring(dtype):
    padded = np.zeros((len(X), 6), dtype)
    padded[:, [0, 2, 3, 5]] = X
    model = build(activation="relu").fit(padded, y)
    padded[:, [1, 4]] = np.random.default_rng(0).normal(size=(len(X), 2))
    scores = forward(padded, model.weights_, model.biases_, ACTIVATIONS["relu"])[-1]
    found = model.predict_proba(padded)
    np.testing.assert_allclose(found, softmax(scores, axis=1), rtol=1e-4, atol=1e-6)
    padded[:, [1, 4]] = 0
    assert np.abs(found - model.predict_proba(padded)).max() > 0.01


def test_column_labels_count_as_flat_ones():
    flat = build().fit(X, y, validation=(X, y))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = build().fit(X, y[:, np.newaxis], validation=(X, y[:, np.newaxis]))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        values = column.evaluate(X, y[:, np.newaxis])
    assert column.history_ == flat.history_
    assert values == flat.evaluate(X, y)


def test_divergence_in_the_last_step_is_an_error():
    X = np.linspace(0, 1e6, 20)[:, np.newaxis]
    network = build(learning_rate=1e308, max_epochs=1, batch_size=1000)
    with pytest.raises(FloatingPointError, match=r"not finite after epoch 1.*learning_rate"):
        network.fit(X, np.arange(20) % 2)
