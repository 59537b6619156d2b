"""Mini-batch gradient descent: the loop over epochs and batches, and when to stop it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import get_blas_funcs
from sklearn.utils import gen_batches

from mlcore.nn.activations import Activation, Array
from mlcore.nn.columns import Columns
from mlcore.nn.gradients import backward, forward
from mlcore.nn.losses import Loss, cross_entropy

EVALUATION_BATCH = 256
"""Rows scored at a time outside training: they stay in the cache, and it fixes the bits."""


class EpochStats(NamedTuple):
    """What one pass over the training set gave.

    Training figures are means over the epoch's batches, each taken before its update, so they
    cost nothing extra. Accuracies are fractions, NaN for regression; validation figures are NaN
    without a validation set.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


class EarlyStopping:
    """Stop once the validation loss has not gone below its minimum for `patience` epochs.

    Parameters
    ----------
    patience : int
        Epochs without a new minimum that are waited for.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_epoch = 0
        self.best_loss = math.inf

    def improved(self, stats: EpochStats) -> bool:
        """Take in one epoch; True if its validation loss is the lowest so far."""
        if not stats.val_loss < self.best_loss:
            return False
        self.best_epoch, self.best_loss = stats.epoch, stats.val_loss
        return True

    def exhausted(self, stats: EpochStats) -> bool:
        """Whether patience ends with this epoch; never without a validation set."""
        return not math.isnan(stats.val_loss) and stats.epoch - self.best_epoch >= self.patience


def count_correct(scores: Array, labels: NDArray[np.intp], loss: Loss) -> float:
    """Count the rows whose highest score is the label's; NaN if `loss` is not a classifier's."""
    if loss is not cross_entropy:
        return math.nan
    return float(np.count_nonzero(scores.argmax(axis=1) == labels))


def evaluate(
    X: Array,
    y: NDArray[Any],
    weights: Sequence[Array],
    biases: Sequence[Array],
    hidden: Activation,
    loss: Loss,
) -> tuple[float, float]:
    """Compute the loss of a network on a data set, without training.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        As `train` takes it.
    weights, biases : sequences of ndarrays
    hidden : Activation
    loss : Loss

    Returns
    -------
    loss : float
        Mean over the samples.
    accuracy : float
        Fraction of correct labels; NaN for regression.
    """
    total, correct = 0.0, 0.0
    for rows in gen_batches(len(X), EVALUATION_BATCH):
        scores = forward(X[rows], weights, biases, hidden)[-1]
        correct += count_correct(scores, y[rows], loss)
        total += loss(scores, y[rows]) * len(scores)
    return total / len(X), correct / len(X)


def train(
    X: Array,
    y: NDArray[Any],
    weights: Sequence[Array],
    biases: Sequence[Array],
    *,
    hidden: Activation,
    loss: Loss,
    learning_rate: float,
    batch_size: int,
    max_epochs: int,
    rng: np.random.Generator,
    validation: tuple[Array, NDArray[Any]] | None = None,
) -> Iterator[EpochStats]:
    """Train a network in place by mini-batch gradient descent, one epoch per step of the iterator.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class indices for cross-entropy, targets for the squared error.
    weights, biases : sequences of C-contiguous ndarrays, of the dtype of `X`
        Updated in place. Rows of the first weights whose feature is zero in all of `X` have no
        gradient and stay as they are.
    hidden : Activation
    loss : Loss
    learning_rate : float
    batch_size : int
        The last batch of an epoch holds what is left over.
    max_epochs : int
    rng : numpy.random.Generator
        Draws the order of the samples, anew for every epoch.
    validation : tuple of ndarrays, optional
        ``(X, y)`` to evaluate after every epoch.

    Yields
    ------
    EpochStats

    Raises
    ------
    ValueError
        When a weight or bias is of another dtype or layout, and so could not be updated in place.
    FloatingPointError
        When the loss of a batch, a weight or the validation loss is not finite; the message names
        the epoch, and the step if it is known.
    """
    for values in (*weights, *biases):
        if values.dtype != X.dtype or not values.flags.c_contiguous:
            raise ValueError(
                f"weights and biases should be C-contiguous {X.dtype} as X is, "
                f"not {values.dtype} with strides {values.strides} for shape {values.shape}"
            )

    def diverged(what: str) -> FloatingPointError:
        return FloatingPointError(
            f"training diverged: {what}; try a learning_rate smaller than {learning_rate:g}"
        )

    columns = Columns.by_use(X)
    first = weights[0][columns.used]
    batch_size = min(batch_size, len(X))
    descend = _descent(X.dtype)
    ones = np.ones(batch_size, X.dtype)
    activations = [np.empty((batch_size, len(b)), X.dtype) for b in biases]
    deltas = [np.empty_like(a) for a in activations[:-1]]

    for epoch in range(1, max_epochs + 1):
        order = rng.permutation(len(X))
        total, correct = 0.0, 0.0
        for step, rows in enumerate(gen_batches(len(X), batch_size), start=1):
            chosen = order[rows]
            n = len(chosen)
            target = y[chosen]
            x = columns.batch(chosen)
            current = [first[: x.shape[1]], *weights[1:]]
            outputs = forward(x, current, biases, hidden, [a[:n] for a in activations])
            scores = outputs[-1]
            correct += count_correct(scores, target, loss)
            value = loss(scores, target)
            if not math.isfinite(value):
                raise diverged(f"the loss is {value} at epoch {epoch}, step {step}")
            total += value * n
            scores *= learning_rate
            for layer, delta in backward(outputs, current, scores, hidden, [d[:n] for d in deltas]):
                descend(current[layer], outputs[layer], delta)
                biases[layer] -= ones[:n] @ delta
        weights[0][columns.used] = first
        # A batch's loss shows what the steps before it did; this shows what the last one did
        if not all(np.isfinite(values).all() for values in (*weights, *biases)):
            raise diverged(f"weights are not finite after epoch {epoch}")
        val_loss, val_accuracy = math.nan, math.nan
        if validation is not None:
            val_loss, val_accuracy = evaluate(*validation, weights, biases, hidden, loss)
            if not math.isfinite(val_loss):
                raise diverged(f"the validation loss is {val_loss} after epoch {epoch}")
        yield EpochStats(epoch, total / len(X), correct / len(X), val_loss, val_accuracy)


def _descent(dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], None]:
    """Give ``descend(W, inputs, delta)``: W -= inputs.T @ delta in one BLAS call."""
    (gemm,) = get_blas_funcs(("gemm",), dtype=dtype)

    def descend(W: Array, inputs: Array, delta: Array) -> None:
        if not W.size:  # no feature is used; SciPy refuses empty arrays
            return
        # BLAS wants Fortran order: the transposes of C-ordered arrays are that without a copy
        gemm(-1.0, delta.T, inputs.T, beta=1.0, c=W.T, trans_b=True, overwrite_c=True)

    return descend
