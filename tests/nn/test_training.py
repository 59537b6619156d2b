"""The training loop against scikit-learn's, and where it diverges."""

import math
import re

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import gen_batches
from textbook import SKLEARN_NAMES, data, images, network, scattered

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.columns import Columns
from mlcore.nn.losses import cross_entropy, squared_error
from mlcore.nn.training import evaluate, train

N, FEATURES, CLASSES, HIDDEN = 23, 4, 3, (5, 6)
RATE = 0.1


class InOrder:
    """A generator that leaves the samples in their order."""

    def permutation(self, n):
        return np.arange(n)


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
    options = {"hidden": ACTIVATIONS["tanh"], "loss": loss, "learning_rate": RATE}
    options |= {"batch_size": 7, "max_epochs": 3, "rng": InOrder()}
    return train(X, y, weights, biases, **options | changes)


def assert_same_parameters(weights, biases, mlp, tolerance=1e-11):
    for mine, theirs in zip(weights + biases, mlp.coefs_ + mlp.intercepts_, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def assert_same_trajectory(X, y, X_val, y_val, widths, activation, batch_size, tolerance=1e-11):
    """Train in the dtype of `X`, and scikit-learn's classifier in float64, for three epochs."""
    weights, biases = network([X.shape[1], *widths, CLASSES])
    mlp = reference(MLPClassifier, X.astype(float), y, weights, biases, activation, RATE)
    weights, biases = ([a.astype(X.dtype) for a in part] for part in (weights, biases))
    kept = X.copy(), y.copy()
    options = {"batch_size": batch_size, "rng": np.random.default_rng(5)}
    options |= {"hidden": ACTIVATIONS[activation], "validation": (X_val, y_val)}
    epochs = start(X, y, weights, biases, cross_entropy, **options)
    rng = np.random.default_rng(5)
    for epoch, stats in enumerate(epochs, start=1):
        order, losses, correct = rng.permutation(len(X)), [], 0
        for rows in gen_batches(len(X), batch_size):
            x, labels = X[order[rows]].astype(float), y[order[rows]]
            correct += np.sum(mlp.predict(x) == labels)
            mlp.partial_fit(x, labels)
            losses += [mlp.loss_] * len(x)
        assert_same_parameters(weights, biases, mlp, tolerance)
        assert stats.epoch == epoch
        assert stats.train_loss == pytest.approx(np.mean(losses), rel=tolerance)
        assert stats.train_accuracy == pytest.approx(correct / len(X), rel=1e-12)
        val_loss = log_loss(y_val, mlp.predict_proba(X_val))
        assert stats.val_loss == pytest.approx(val_loss, rel=tolerance)
        assert stats.val_accuracy == pytest.approx(mlp.score(X_val, y_val), rel=1e-12)
    assert epoch == 3
    np.testing.assert_equal((X, y), kept)


@pytest.mark.parametrize("activation", SKLEARN_NAMES)
@pytest.mark.parametrize(
    ("batch_size", "widths"),
    [(1, HIDDEN), (7, (1, 1)), (7, (6, 1, 4)), (11, (2, 2, 2, 2, 2, 2)), (N, HIDDEN), (100, (1,))],
)
def test_trajectory_of_a_classifier(activation, batch_size, widths):
    samples = data("cross_entropy", N, FEATURES, CLASSES)
    further = data("cross_entropy", 2300, FEATURES, CLASSES, seed=1)
    assert_same_trajectory(*samples, *further, widths, activation, batch_size)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(("n", "batch_size"), [(300, 128), (45, 7), (9, 1), (100, 16)])
@pytest.mark.parametrize(
    ("make", "whole"),
    [
        (images, False),
        (lambda n: images(n, blank_every=2), False),
        (lambda n: images(n) - 0.5, True),
        (scattered, True),
        (lambda n: np.asfortranarray(scattered(n)), True),
    ],
    ids=["margins", "blank", "dense", "scattered", "Fortran order"],
)
def test_trajectory_in_blocks_or_not(dtype, tolerance, n, batch_size, make, whole):
    X, y = make(n).astype(dtype), np.random.default_rng(3).permutation(np.arange(n) % CLASSES)
    assert (Columns.of(X).reach is None) == whole
    assert_same_trajectory(X, y, X, y, (6,), "tanh", batch_size, tolerance)


@pytest.mark.parametrize("activation", SKLEARN_NAMES)
def test_trajectory_of_a_regressor(activation):
    X, y = data("squared_error", N, FEATURES, 2)
    weights, biases = network([FEATURES, *HIDDEN, 2])
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


def misaligned(a):
    copy = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def read_only(a):
    copy = a.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.repeat(2, axis=-1)[..., ::2],
        lambda a: a[::-1],
        lambda a: a.astype(np.float32),
        lambda a: a.astype(int),
        misaligned,
        read_only,
    ],
)
def test_parameters_that_cannot_be_updated_in_place_are_refused(position, change):
    X, y = data("cross_entropy", N, FEATURES, CLASSES)
    weights, biases = network([FEATURES, *HIDDEN, CLASSES])
    given = [*weights, *biases]
    given[position] = change(given[position])
    before = [a.copy() for a in given]
    with pytest.raises(ValueError, match="weights and biases should be C-contiguous float64"):
        next(start(X, y, given[:3], given[3:], cross_entropy))
    np.testing.assert_equal(given, before)


@pytest.mark.parametrize(
    ("dtype", "shape", "told"),
    [
        (np.float16, (N, FEATURES), "X should be float32 or float64, not float16"),
        (int, (N, FEATURES), "X should be float32 or float64, not int64"),
        (float, (N, 3), r"should have shape \(23, 4\), as y and the first weights, not \(23, 3\)"),
        (float, (19, FEATURES), r"should have shape \(23, 4\), .* not \(19, 4\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(dtype, shape, told):
    _, y = data("cross_entropy", N, FEATURES, CLASSES)
    weights, biases = network([FEATURES, *HIDDEN, CLASSES])
    with pytest.raises(ValueError, match=told):
        next(start(np.zeros(shape, dtype), y, weights, biases, cross_entropy))


def test_a_validation_loss_of_nan_is_divergence():
    X, y = data("cross_entropy", N, FEATURES, CLASSES)
    broken = np.full((1, FEATURES), np.nan), y[:1]
    weights, biases = network([FEATURES, *HIDDEN, CLASSES])
    epochs = start(X, y, weights, biases, cross_entropy, validation=broken)
    with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1;"):
        list(epochs)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_evaluate_weighs_every_row_the_same(n):
    X, y = data("squared_error", n, FEATURES, 2)
    weights, biases = network([FEATURES, 2])
    loss, accuracy = evaluate(X, y, weights, biases, ACTIVATIONS["tanh"], squared_error)
    assert loss == pytest.approx(mean_squared_error(y, X @ weights[0] + biases[0]), rel=1e-10)
    assert math.isnan(accuracy)


# A linear 1-1 network on x = 1, y = 0: each step multiplies the prediction by 1 - 4 rate, so that
# the loss is beyond float64 at the second one.
@pytest.mark.parametrize(
    ("weight", "rate", "changes", "where"),
    [
        (1.0, 1e160, {"batch_size": 1}, "loss is inf at epoch 1, step 2"),
        (1.0, 3e200, {"batch_size": 3}, "loss is inf at epoch 2, step 1"),
        (1.0, 1e160, {"validation": True, "max_epochs": 1}, "validation loss is inf after epoch 1"),
        (np.nan, 0.1, {}, "loss is nan at epoch 1, step 1"),
    ],
)
def test_divergence_names_where_and_the_learning_rate(weight, rate, changes, where):
    X, y = np.ones((3, 1)), np.zeros((3, 1))
    if "validation" in changes:
        changes = changes | {"validation": (X, y)}
    weights, biases = [np.full((1, 1), weight)], [np.zeros(1)]
    epochs = start(X, y, weights, biases, squared_error, learning_rate=rate, **changes)
    message = f"diverged: the {where}; .*learning_rate.*{re.escape(f'{rate:g}')}"
    with np.errstate(over="ignore"), pytest.raises(FloatingPointError, match=message):
        list(epochs)
