"""Leave zeros out of the first layer's products, where that changes nothing.

A feature that is zero in a whole batch adds nothing to the layer's output, and its weights have no
gradient. With the features in descending order of use, those that a batch needs are the first few:
of MNIST's 784 pixels 67 are zero in all images, and a batch of 128 reaches the first 630 or so.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from mlcore.nn.activations import Array

CHUNK = 256
"""Rows looked through at a time: they stay in the cache."""


class Columns(NamedTuple):
    """A training set, features that are used most first.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_used)
        C-ordered; without the features that are zero in every sample.
    used : ndarray of shape (n_used,), intp
        The feature that each column holds.
    reach : ndarray of shape (n_samples,), intp
        Number of leading columns that hold all non-zero values of the sample.
    """

    values: Array
    used: NDArray[np.intp]
    reach: NDArray[np.intp]

    @classmethod
    def by_use(cls, X: Array) -> Self:
        """Order the columns of `X`, shape (n_samples, n_features), which is copied."""
        counts = np.count_nonzero(X, axis=0)
        used = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        values = np.empty((len(X), len(used)), X.dtype)
        reach = np.zeros(len(X), np.intp)
        if len(used):
            for rows in gen_batches(len(X), CHUNK):
                # mode="clip" lets take write straight into the array; the indices are in range
                part = np.take(X[rows], used, axis=1, out=values[rows], mode="clip")
                reach[rows] = len(used) - (part != 0)[:, ::-1].argmax(axis=1)
        return cls(values, used, reach)

    def batch(self, chosen: NDArray[np.intp]) -> Array:
        """Give the rows `chosen`, shape (n_chosen, n_reached), C-ordered."""
        width = self.reach[chosen].max()
        rows: Array = self.values[:, :width][chosen]
        return rows
