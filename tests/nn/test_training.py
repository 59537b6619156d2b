"""The training loop against scikit-learn's, and when it stops."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import gen_batches

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.losses import cross_entropy, squared_error
from mlcore.nn.training import EarlyStopping, EpochStats, evaluate, train

N, FEATURES, CLASSES, HIDDEN = 23, 4, 3, (5, 6)
RATE = 0.1
SKLEARN_NAMES = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


class InOrder:
    """A generator that leaves the samples in their order."""

    def permutation(self, n):
        return np.arange(n)


def data(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, FEATURES))
    labels = np.argmax(X[:, :CLASSES] + rng.normal(scale=0.5, size=(n, CLASSES)), axis=1)
    labels[:CLASSES] = range(CLASSES)
    return X, labels, rng.normal(size=(n, 2)) + X[:, :2]


def network(n_outputs, hidden=HIDDEN, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [FEATURES, *hidden, n_outputs]
    pairs = list(pairwise(sizes))
    weights = [rng.normal(0.0, fan_in**-0.5, (fan_in, fan_out)) for fan_in, fan_out in pairs]
    return weights, [rng.normal(0.0, 0.3, fan_out) for _, fan_out in pairs]


def reference(cls, X, y, weights, biases, activation, learning_rate):
    """scikit-learn's plain gradient descent from given weights, one step per partial_fit."""
    mlp = cls(
        hidden_layer_sizes=[W.shape[1] for W in weights[:-1]],
        activation=SKLEARN_NAMES[activation],
        solver="sgd",
        alpha=0.0,
        batch_size=len(X),
        learning_rate_init=learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    mlp.partial_fit(X, y, **({"classes": np.unique(y)} if cls is MLPClassifier else {}))
    for mine, given in zip(mlp.coefs_ + mlp.intercepts_, weights + biases, strict=True):
        mine[...] = given
    return mlp.set_params(batch_size="auto")


def start(X, y, weights, biases, loss, **changes):
    options = {
        "hidden": ACTIVATIONS["tanh"],
        "loss": loss,
        "learning_rate": RATE,
        "batch_size": 7,
        "max_epochs": 3,
        "rng": InOrder(),
    }
    return train(X, y, weights, biases, **options | changes)


def assert_same_parameters(weights, biases, mlp):
    for mine, theirs in zip(weights + biases, mlp.coefs_ + mlp.intercepts_, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", SKLEARN_NAMES)
@pytest.mark.parametrize(
    ("batch_size", "widths"),
    [(1, HIDDEN), (7, (1, 1)), (7, (6, 1, 4)), (11, (2, 2, 2, 2, 2, 2)), (N, HIDDEN), (100, (1,))],
)
def test_trajectory_of_a_classifier(activation, batch_size, widths):
    X, y, _ = data()
    weights, biases = network(CLASSES, widths)
    mlp = reference(MLPClassifier, X, y, weights, biases, activation, RATE)
    X_val, y_val, _ = data(2300, seed=1)
    kept = X.copy(), y.copy()
    options = {"batch_size": batch_size, "rng": np.random.default_rng(5)}
    options |= {"hidden": ACTIVATIONS[activation], "validation": (X_val, y_val)}
    epochs = start(X, y, weights, biases, cross_entropy, **options)
    rng = np.random.default_rng(5)
    for epoch, stats in enumerate(epochs, start=1):
        order, losses, correct = rng.permutation(N), [], 0
        for rows in gen_batches(N, batch_size):
            x, labels = X[order[rows]], y[order[rows]]
            correct += np.sum(mlp.predict(x) == labels)
            mlp.partial_fit(x, labels)
            losses += [mlp.loss_] * len(x)
        assert_same_parameters(weights, biases, mlp)
        assert stats.epoch == epoch
        assert stats.train_loss == pytest.approx(np.mean(losses), rel=1e-10)
        assert stats.train_accuracy == pytest.approx(correct / N, rel=1e-12)
        assert stats.val_loss == pytest.approx(log_loss(y_val, mlp.predict_proba(X_val)), rel=1e-10)
        assert stats.val_accuracy == pytest.approx(mlp.score(X_val, y_val), rel=1e-12)
    assert epoch == 3
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize("activation", SKLEARN_NAMES)
def test_trajectory_of_a_regressor(activation):
    X, _, y = data()
    weights, biases = network(2)
    # scikit-learn descends sum over outputs of (error^2)/2, here their mean: 2 / n_outputs of it
    mlp = reference(MLPRegressor, X, y, weights, biases, activation, 0.1 * 2 / 2)
    mlp.set_params(batch_size=7)
    hidden = ACTIVATIONS[activation]
    epochs = start(X, y, weights, biases, squared_error, hidden=hidden, learning_rate=0.1)
    for stats in epochs:
        mlp.partial_fit(X, y)
        assert_same_parameters(weights, biases, mlp)
        assert stats.train_loss == pytest.approx(2 * mlp.loss_, rel=1e-10)
        assert np.isnan([stats.train_accuracy, stats.val_loss, stats.val_accuracy]).all()


def test_float32_stays_float32_and_close_to_float64():
    X, y, _ = data()
    wide, narrow = network(CLASSES), network(CLASSES)
    narrow = tuple([a.astype(np.float32) for a in arrays] for arrays in narrow)
    list(start(X, y, *wide, cross_entropy))
    list(start(X.astype(np.float32), y, *narrow, cross_entropy))
    for a, b in zip(wide[0] + wide[1], narrow[0] + narrow[1], strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def changed(arrays, position, change):
    return [change(a) if i == position else a for i, a in enumerate(arrays)]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    copy = raw[1:].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("change_weight", "change_bias"),
    [
        (np.asfortranarray, None),
        (lambda W: W.repeat(2, axis=1)[:, ::2], lambda b: b.repeat(2)[::2]),
        (lambda W: W[::-1], lambda b: b[::-1]),
        (lambda a: a.astype(np.float32),) * 2,
        (lambda a: a.astype(np.float16),) * 2,
        (lambda a: a.astype(int),) * 2,
        (misaligned,) * 2,
        (read_only,) * 2,
    ],
)
def test_parameters_that_cannot_be_updated_in_place_are_refused(
    position, change_weight, change_bias
):
    X, y, _ = data()
    weights, biases = network(CLASSES)
    cases = [(changed(weights, position, change_weight), biases)]
    if change_bias is not None:
        cases.append((weights, changed(biases, position, change_bias)))
    for given_weights, given_biases in cases:
        given = [*given_weights, *given_biases]
        before = [a.copy() for a in given]
        with pytest.raises(ValueError, match="weights and biases should be C-contiguous float64"):
            next(start(X, y, given_weights, given_biases, cross_entropy))
        for array, kept in zip(given, before, strict=True):
            np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("dtype", "parameters_dtype", "n_samples", "n_features", "what"),
    [
        (np.float32, float, N, FEATURES, r"C-contiguous float32 as X is, .* not float64 with"),
        (np.float16, np.float16, N, FEATURES, "X should be float32 or float64, not float16"),
        (int, int, N, FEATURES, "X should be float32 or float64, not int64"),
        (float, float, N, 3, f"X has 3 features, the first weights {FEATURES} rows"),
        (float, float, N, 5, f"X has 5 features, the first weights {FEATURES} rows"),
        (float, float, 19, FEATURES, f"X has 19 samples, y {N}"),
    ],
)
def test_data_that_do_not_fit_are_refused(dtype, parameters_dtype, n_samples, n_features, what):
    X, y = np.zeros((n_samples, n_features), dtype), np.zeros(N, int)
    weights, biases = ([a.astype(parameters_dtype) for a in part] for part in network(CLASSES))
    with pytest.raises(ValueError, match=what):
        next(start(X, y, weights, biases, cross_entropy))


UNUSED = [[0], [2, 5], [1, 2, 3, 4, 6]]


def padded(X, weights, unused):
    """`X` with columns of zeros at `unused`, and weights for them."""
    width = FEATURES + len(unused)
    used = np.setdiff1d(np.arange(width), unused)
    wide_X = np.zeros((len(X), width), X.dtype)
    wide_X[:, used] = X
    W = np.random.default_rng(9).normal(size=(width, weights[0].shape[1])).astype(X.dtype)
    W[used] = weights[0]
    return wide_X, [W, *(w.copy() for w in weights[1:])], used


@pytest.mark.parametrize("unused", UNUSED, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [(), HIDDEN])
def test_features_that_are_always_zero_change_nothing(unused, dtype, hidden):
    X, y, _ = data()
    X = X.astype(dtype)
    weights, biases = ([a.astype(dtype) for a in part] for part in network(CLASSES, hidden))
    wide_X, wide_weights, used = padded(X, weights, unused)
    wide_biases = [b.copy() for b in biases]
    initial, kept = wide_weights[0].copy(), wide_X.copy()
    expected = list(start(X, y, weights, biases, cross_entropy, validation=(X, y)))
    found = list(start(wide_X, y, wide_weights, wide_biases, cross_entropy, validation=(wide_X, y)))
    assert wide_weights[0][unused].tobytes() == initial[unused].tobytes()
    assert wide_weights[0][used].tobytes() == weights[0].tobytes() != initial[used].tobytes()
    for a, b in zip(wide_weights[1:] + wide_biases, weights[1:] + biases, strict=True):
        assert a.tobytes() == b.tobytes()
    np.testing.assert_array_equal(wide_X, kept)
    for a, b in zip(found, expected, strict=True):
        assert a.train_loss == b.train_loss
        assert a.val_loss == pytest.approx(b.val_loss, rel=1e-6)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_evaluate_weighs_every_row_the_same(n):
    X, y, targets = data(n + CLASSES)
    X, y, targets = X[-n:], y[-n:], targets[-n:]
    weights, biases = network(CLASSES, hidden=())
    scores = X @ weights[0] + biases[0]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss, accuracy = evaluate(X, y, weights, biases, ACTIVATIONS["tanh"], cross_entropy)
    assert loss == pytest.approx(log_loss(y, probabilities, labels=range(CLASSES)), rel=1e-10)
    assert accuracy == pytest.approx(accuracy_score(y, scores.argmax(axis=1)), rel=1e-12)

    weights, biases = network(2, hidden=())
    loss, accuracy = evaluate(X, targets, weights, biases, ACTIVATIONS["tanh"], squared_error)
    expected = mean_squared_error(targets, X @ weights[0] + biases[0])
    assert loss == pytest.approx(expected, rel=1e-10)
    assert math.isnan(accuracy)


@pytest.mark.parametrize(
    ("patience", "losses", "improved", "stops_at"),
    [
        (3, [2.0, 1.0, 1.5, 1.2, 1.1], [1, 2], 5),
        (2, [3.0, 3.5, 2.5, 2.6, 2.4, 2.5, 2.5], [1, 3, 5], 7),  # waits anew at every minimum
        (2, [1.0, 1.0, 1.0], [1], 3),  # an equal loss is no improvement
        (1, [3.0, 2.0, 1.0, 1.1], [1, 2, 3], 4),
        (None, [1.0, *[2.0] * 1000], [1], None),
        (1, [math.nan] * 50, [], None),  # without a validation set
    ],
)
def test_early_stopping(patience, losses, improved, stops_at):
    stopping = EarlyStopping(patience)
    stats = [EpochStats(epoch, 1.0, 0.5, loss, 0.5) for epoch, loss in enumerate(losses, start=1)]
    seen = [(s.epoch, stopping.improved(s), stopping.exhausted(s)) for s in stats]
    assert [epoch for epoch, better, _ in seen if better] == improved
    assert [epoch for epoch, _, ends in seen if ends] == ([stops_at] if stops_at else [])
    assert stopping.best_epoch == max(improved, default=0)


# A linear 1-1 network on x = 1, y = 0: each step multiplies the prediction by 1 - 4 rate, so that
# the loss is beyond float64 at the second one.
@pytest.mark.parametrize(
    ("rate", "changes", "where"),
    [
        (1e160, {"batch_size": 1}, "loss is inf at epoch 1, step 2"),
        (3e200, {"batch_size": 3}, "loss is inf at epoch 2, step 1"),
        (1e160, {"validation": True, "max_epochs": 1}, "validation loss is inf after epoch 1"),
    ],
)
def test_divergence_names_where_and_the_learning_rate(rate, changes, where):
    X, y = np.ones((3, 1)), np.zeros((3, 1))
    if "validation" in changes:
        changes = changes | {"validation": (X, y)}
    weights, biases = [np.ones((1, 1))], [np.zeros(1)]
    epochs = start(X, y, weights, biases, squared_error, learning_rate=rate, **changes)
    message = f"diverged: the {where}; .*learning_rate.*{re.escape(f'{rate:g}')}"
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match=message):
        list(epochs)


@pytest.mark.parametrize("validated", [False, True])
def test_a_loss_of_nan_is_divergence(validated):
    X, y, _ = data()
    weights, biases = network(CLASSES)
    broken = np.full((1, FEATURES), np.nan), y[:1]
    if not validated:
        weights[0][0, 0] = np.nan
    epochs = start(X, y, weights, biases, cross_entropy, validation=broken)
    where = "validation loss is nan after epoch 1" if validated else "nan at epoch 1, step 1"
    with pytest.raises(FloatingPointError, match=f"{where};"):
        list(epochs)
