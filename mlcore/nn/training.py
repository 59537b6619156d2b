"""Mini-batch gradient descent: the loop over epochs and batches."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import get_blas_funcs
from sklearn.utils import gen_batches

from mlcore.nn.activations import Activation, Array
from mlcore.nn.columns import Block, Columns
from mlcore.nn.gradients import backward, forward, forward_from
from mlcore.nn.losses import Loss

EVALUATION_BATCH = 256
"""Rows scored at a time outside training: they stay in the cache, and it fixes the bits."""

FLOATS = (np.float64, np.float32)
"""Data types that a network can be trained in: the real ones that the BLAS has."""


class EpochStats(NamedTuple):
    """What one pass over the training set gave.

    Training metrics are means over the epoch's batches, each taken before its update, so they
    cost nothing extra. Accuracies are fractions, NaN for regression; validation metrics are NaN
    without a validation set.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


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
        value, hits = loss(scores, y[rows])
        total += value * len(scores)
        correct += hits
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
    X : ndarray of shape (n_samples, n_features), float32 or float64
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
        When `X` is of another dtype, when it, `y` and the first weights do not fit each other, or
        when a weight or bias could not be updated in place: if it is of another dtype or layout,
        not aligned or read-only.
    FloatingPointError
        When the loss of a batch, a weight or the validation loss is not finite; the message names
        the epoch, and the step if it is known. The weights are of no use then.
    """
    if X.dtype not in FLOATS:
        raise ValueError(f"X should be float32 or float64, not {X.dtype}")
    n_rows = len(y), len(weights[0])
    if X.shape != n_rows:
        raise ValueError(f"X should have shape {n_rows}, as y and the first weights, not {X.shape}")
    if not all(values.dtype == X.dtype and values.flags.carray for values in (*weights, *biases)):
        # SciPy would give the BLAS a copy, and the update would be lost
        raise ValueError(f"weights and biases should be C-contiguous {X.dtype}, as X is")
    columns = Columns.of(X)
    first = weights[0][columns.used]
    batch_size = min(batch_size, len(X))
    descent = _Descent([first, *weights[1:]], biases, hidden, loss, learning_rate, batch_size)
    for epoch in range(1, max_epochs + 1):
        train_loss, train_accuracy = descent.run_epoch(epoch, columns, y, rng.permutation(len(X)))
        weights[0][columns.used] = first
        # A batch's loss shows what the steps before it did; this shows what the last one did
        if not all(np.isfinite(values).all() for values in (*weights, *biases)):
            raise _diverged(f"weights are not finite after epoch {epoch}", learning_rate)
        val_loss, val_accuracy = math.nan, math.nan
        if validation is not None:
            val_loss, val_accuracy = evaluate(*validation, weights, biases, hidden, loss)
            if not math.isfinite(val_loss):
                what = f"the validation loss is {val_loss} after epoch {epoch}"
                raise _diverged(what, learning_rate)
        yield EpochStats(epoch, train_loss, train_accuracy, val_loss, val_accuracy)


def _diverged(what: str, learning_rate: float) -> FloatingPointError:
    return FloatingPointError(
        f"training diverged: {what}; try a learning_rate smaller than {learning_rate:g}"
    )


class _Descent:
    """Steps of gradient descent, and the arrays that every step uses anew.

    Weights and biases are updated in place. The first weights have the rows of `Columns.used`, in
    its order; `batch_size` is the most samples that a batch has.
    """

    def __init__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array],
        hidden: Activation,
        loss: Loss,
        learning_rate: float,
        batch_size: int,
    ) -> None:
        self.weights, self.biases, self.hidden, self.loss = weights, biases, hidden, loss
        self.learning_rate, self.batch_size = learning_rate, batch_size
        dtype = biases[0].dtype
        self.ones = np.ones(batch_size, dtype)
        self.inputs = np.empty((batch_size, len(weights[0])), dtype)
        self.activations = [np.empty((batch_size, len(b)), dtype) for b in biases]
        self.deltas = [np.empty_like(a) for a in self.activations[:-1]]
        (self.gemm,) = get_blas_funcs(("gemm",), dtype=dtype)

    def run_epoch(
        self, epoch: int, columns: Columns, y: NDArray[Any], order: NDArray[np.intp]
    ) -> tuple[float, float]:
        """Take a step for every batch of the samples in this order.

        Gives loss and accuracy, means over the samples, each taken before its batch's update.
        Raises FloatingPointError, which names the epoch, when the loss of a batch is not finite.
        """
        total, correct = 0.0, 0.0
        for step, rows in enumerate(gen_batches(len(order), self.batch_size), start=1):
            chosen, blocks = columns.batch(order[rows], self.inputs)
            value, hits = self.forward(blocks, y[chosen])
            if not math.isfinite(value):
                what = f"the loss is {value} at epoch {epoch}, step {step}"
                raise _diverged(what, self.learning_rate)
            self.update()
            total += value * len(chosen)
            correct += hits
        return total / len(order), correct / len(order)

    def forward(self, blocks: Sequence[Block], y: NDArray[Any]) -> tuple[float, float]:
        """Take in a batch, `y` in the order of its blocks; gives what the loss does."""
        self.blocks = blocks
        z, *buffers = (a[: len(y)] for a in self.activations)
        first, *others = blocks
        np.matmul(first.values, self.weights[0][first.features], out=z)
        for block in others:
            self._add_product(z[block.samples], block.values, self.weights[0][block.features])
        self.outputs = forward_from(z, self.weights, self.biases, self.hidden, buffers)
        return self.loss(self.outputs[-1], y)

    def update(self) -> None:
        """Move all weights and biases against the gradient of the batch taken in last."""
        delta = self.outputs[-1]  # the loss has put its gradient there
        delta *= self.learning_rate
        n = len(delta)
        buffers = [d[:n] for d in self.deltas]
        for layer, d in backward(self.outputs, self.weights, delta, self.hidden, buffers):
            if layer:
                self._subtract_product(self.weights[layer], self.outputs[layer - 1], d)
            else:
                for block in self.blocks:
                    rows = self.weights[0][block.features]
                    self._subtract_product(rows, block.values, d[block.samples])
            self.biases[layer] -= self.ones[:n] @ d

    # One BLAS call each. It wants Fortran order, which transposes of C-ordered arrays have

    def _add_product(self, z: Array, inputs: Array, W: Array) -> None:
        """Compute z += inputs @ W."""
        self.gemm(1.0, W.T, inputs.T, beta=1.0, c=z.T, overwrite_c=True)

    def _subtract_product(self, W: Array, inputs: Array, delta: Array) -> None:
        """Compute W -= inputs.T @ delta."""
        if W.size:  # a block may have no features, and SciPy refuses empty arrays
            self.gemm(-1.0, delta.T, inputs.T, beta=1.0, c=W.T, trans_b=True, overwrite_c=True)
