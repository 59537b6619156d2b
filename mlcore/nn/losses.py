"""Losses on the network's linear outputs ("scores"), with their gradients.

A loss takes scores of shape (n_samples, n_outputs), returns the mean loss of the batch and
replaces the scores in place by dE/d scores: the delta that back-propagation starts from.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.nn.activations import Array


def cross_entropy(scores: Array, labels: NDArray[np.intp]) -> float:
    """Mean softmax cross-entropy in nats, -1/n sum_i log softmax(scores_i)[labels_i].

    Fused, so that no logarithm of a rounded 0 is ever taken. Labels are class indices from 0; the
    scores are overwritten by (softmax(scores) - one-hot(labels)) / n_samples.
    """
    rows = np.arange(len(labels))
    scores -= scores.max(axis=1, keepdims=True)
    shifted = scores[rows, labels]
    np.exp(scores, out=scores)
    total = scores.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - shifted))
    scores /= total
    scores[rows, labels] -= 1.0
    scores /= len(labels)
    return loss


def squared_error(scores: Array, targets: Array) -> float:
    """Mean of (scores - targets)^2 over samples and outputs, as in the report's section A.

    The scores are overwritten by 2 (scores - targets) / (n_samples * n_outputs).
    """
    scores -= targets
    loss = float(np.mean(scores * scores))
    scores *= 2.0 / scores.size
    return loss


Loss = Callable[[Array, NDArray[Any]], float]
