"""Losses on the network's linear outputs ("scores"), with their gradients.

A loss takes scores of shape (n_samples, n_outputs), returns the mean loss of the batch and how
many of its samples are right, and replaces the scores in place by dE/d scores: the delta that
back-propagation starts from.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.nn.activations import Array


def cross_entropy(scores: Array, labels: NDArray[np.intp]) -> tuple[float, float]:
    """Mean softmax cross-entropy, fused so that no logarithm of a rounded 0 is ever taken.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes), contiguous
        Logits; overwritten by (softmax(scores) - one-hot(labels)) / n_samples.
    labels : ndarray of shape (n_samples,), integer
        Class indices from 0 to n_classes - 1.

    Returns
    -------
    loss : float
        -1/n sum_i log softmax(scores_i)[labels_i], in nats.
    n_correct : float
        Rows whose highest score is the label's.
    """
    n, n_classes = scores.shape
    flat, first = scores.reshape(-1, copy=False), np.arange(0, scores.size, n_classes)
    # Flat indices, and argmax for max(axis=1): less time
    highest, right = first + scores.argmax(axis=1), first + labels
    scores -= flat.take(highest)[:, np.newaxis]
    shifted = flat.take(right)
    np.exp(scores, out=scores)
    total = scores.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - shifted))
    scores /= total
    flat[right] -= 1.0
    scores /= n
    return loss, float(np.count_nonzero(highest == right))


def squared_error(scores: Array, targets: Array) -> tuple[float, float]:
    """Mean squared error over samples and outputs.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_outputs)
        Predictions; overwritten by 2 (scores - targets) / (n_samples * n_outputs).
    targets : ndarray of shape (n_samples, n_outputs)

    Returns
    -------
    loss : float
        mean((scores - targets)^2), as in the report's section A.
    n_correct : float
        NaN: there is no right or wrong.
    """
    scores -= targets
    loss = float(np.mean(scores * scores))
    scores *= 2.0 / scores.size
    return loss, math.nan


Loss = Callable[[Array, NDArray[Any]], tuple[float, float]]
