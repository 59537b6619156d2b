"""Leave zeros out of the first layer's products.

With finite weights a zero adds nothing to the layer's output or to the gradient of its weights, so
that only the order of the sums changes. With the features in descending order of use, the values
of a sample that are not zero are among its first few; with the samples of a batch in ascending
order of how many those are, rectangles cover them: all samples with the first features, fewer and
fewer samples with the rarer ones. Of MNIST's 784 pixels 68 are zero in all 56,000 training images;
of a batch of 128 one half needs no more than the first 413 or so, the image that needs most 632.
Where zeros are few or scattered the rectangles would cover nearly all: a batch stays as it is.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from mlcore.nn.activations import Array

CHUNK = 256
"""Rows looked through at a time: they stay in the cache."""


WORTHWHILE = 0.85
"""The most of a batch that rectangles may cover: beyond it they cost more than they leave out."""


class Block(NamedTuple):
    """A rectangle of a batch, from one of its samples to its last.

    Attributes
    ----------
    samples, features : slice
        Where it lies in the batch, whose features are those of `Columns.used`.
    values : ndarray of shape (samples of the block, features of the block)
        C-ordered.
    """

    samples: slice
    features: slice
    values: Array


class Columns(NamedTuple):
    """A training set: features that are used most first, or as it is.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_used)
        C-ordered; without the features that are zero in every sample, unless it is as it was.
    used : ndarray of shape (n_used,), intp
        The feature that each column holds.
    reach : ndarray of shape (n_samples,), intp, or None
        Number of leading columns that hold all non-zero values of the sample; None if the set is
        as it was.
    """

    values: Array
    used: NDArray[np.intp]
    reach: NDArray[np.intp] | None

    @classmethod
    def of(cls, X: Array) -> Self:
        """Order the columns of `X`, shape (n_samples, n_features), if that leaves out enough."""
        some = X[:: len(X) // CHUNK + 1]  # of all parts of the set, and few: this is to be cheap
        _, blocks = cls.by_use(some).batch(np.arange(len(some)), some)
        if sum(block.values.size for block in blocks) <= WORTHWHILE * some.size:
            return cls.by_use(X)
        return cls(np.ascontiguousarray(X), np.arange(X.shape[1]), None)

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
                from_last = (part != 0)[:, ::-1]
                last = len(used) - from_last.argmax(axis=1)
                reach[rows] = np.where(from_last.any(axis=1), last, 0)
        return cls(values, used, reach)

    def batch(
        self, chosen: NDArray[np.intp], buffer: Array
    ) -> tuple[NDArray[np.intp], list[Block]]:
        """Give the samples `chosen` as blocks, and the order in which these have them.

        Parameters
        ----------
        chosen : ndarray of shape (n_samples,), intp
        buffer : ndarray of shape (at least n_samples, n_used)
            Holds the batch if the set is as it was: memory used anew is in the cache.

        Returns
        -------
        order : ndarray of shape (n_samples,), intp
            `chosen`, in ascending order of reach.
        blocks : list of Block
            One, with everything, if the set is as it was. Otherwise they do not overlap, and
            outside them the batch is zero: the first has all samples, with the features that the
            first half of them needs, none if that half is all zero; up to three more have what
            the last half, quarter and eighth need beyond that.
        """
        if self.reach is None:
            whole = self.values.take(chosen, axis=0, out=buffer[: len(chosen)], mode="clip")
            return chosen, [Block(slice(None), slice(None), whole)]
        order = chosen[self.reach[chosen].argsort(kind="stable")]
        n = len(order)
        blocks = []
        first = low = 0
        for last in (n - n // 2, n - n // 4, n - n // 8, n):
            high = int(self.reach[order[last - 1]])
            if high > low or not first:
                values = self.values[:, low:high][order[first:]]
                blocks.append(Block(slice(first, n), slice(low, high), values))
            first, low = last, high
        return order, blocks
