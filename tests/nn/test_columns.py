"""The blocks that a batch is taken apart into."""

import numpy as np
import pytest
from textbook import images

from mlcore.nn.columns import CHUNK, Columns

UNUSED = np.empty((0, 0))
"""The buffer for a batch as it is, where batches are blocks."""


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13, 128])
@pytest.mark.parametrize("kind", ["sparse", "dense", "one sample", "zero"])
def test_blocks_hold_every_value_of_the_batch_once(n, kind):
    X = {
        "sparse": images(200),
        "dense": images(200) + 1,
        "one sample": np.where(np.arange(200)[:, np.newaxis] == 7, images(200) + 1, 0),
        "zero": np.zeros((200, 40)),
    }[kind]
    columns = Columns.by_use(X)
    for seed in range(5):
        chosen = np.random.default_rng(seed).permutation(200)[:n]
        order, blocks = columns.batch(chosen, UNUSED)
        assert sorted(order) == sorted(chosen)
        assert blocks[0].samples == slice(0, n)
        values, times = np.zeros((2, n, len(columns.used)))
        for block in blocks:
            assert block.values.flags.c_contiguous
            values[block.samples, block.features] += block.values
            times[block.samples, block.features] += 1
        np.testing.assert_array_equal(values, X[order][:, columns.used])
        assert times.max(initial=0) <= 1


def block(samples, features, values):
    return slice(samples, 4), slice(*features), values


@pytest.mark.parametrize(
    ("X", "used", "reach", "chosen", "ordered", "expected"),
    [
        ([[0, 5, 1, 0], [0, 6, 0, 0], [9, 7, 2, 0], [0, 8, 0, 0]],
         [1, 2, 0], [2, 1, 3, 1], [3, 2, 1, 0], [3, 1, 0, 2],
         [block(0, (0, 1), [[8], [6], [5], [7]]), block(2, (1, 2), [[1], [2]]),
          block(3, (2, 3), [[9]])]),
        # Blank samples need no features
        ([[0, 0], [3, 0], [0, 0], [4, 5]], [0, 1], [0, 1, 0, 2], [0, 1, 2, 3], [0, 2, 1, 3],
         [block(0, (0, 0), [[], [], [], []]), block(2, (0, 1), [[3], [4]]),
          block(3, (1, 2), [[5]])]),
    ],
)  # fmt: skip
def test_a_batch_by_hand(X, used, reach, chosen, ordered, expected):
    columns = Columns.by_use(np.array(X, float))
    assert (columns.used.tolist(), columns.reach.tolist()) == (used, reach)
    order, blocks = columns.batch(np.array(chosen), UNUSED)
    assert order.tolist() == ordered
    assert [(b.samples, b.features, b.values.tolist()) for b in blocks] == expected


def test_a_batch_is_cut_after_a_half_three_quarters_and_seven_eighths():
    X = np.tril(np.ones((128, 128)))  # every sample needs one feature more than the one before
    columns = Columns.by_use(X)
    order, blocks = columns.batch(np.random.default_rng(0).permutation(128), UNUSED)
    assert order.tolist() == list(range(128))
    assert [(b.samples, b.features) for b in blocks] == [
        (slice(0, 128), slice(0, 64)),
        (slice(64, 128), slice(64, 96)),
        (slice(96, 128), slice(96, 112)),
        (slice(112, 128), slice(112, 128)),
    ]


def test_equals_stay_in_their_order():
    """Whatever sorting algorithm suits the processor: the order decides the last bits."""
    rng = np.random.default_rng(2)
    X = np.zeros((300, 300))
    X[:, rng.random(300) < 0.5] = 1.0  # features in use throughout, and in half of the samples
    X[:150] = 1.0
    columns = Columns.by_use(X)
    counts = (X != 0).sum(axis=0)
    assert columns.used.tolist() == sorted(range(300), key=lambda feature: -counts[feature])
    chosen = rng.permutation(300)
    order, _ = columns.batch(chosen, UNUSED)
    assert order.tolist() == sorted(chosen, key=lambda sample: columns.reach[sample])


@pytest.mark.parametrize("n", [1, 20, CHUNK, 5 * CHUNK + 3])
def test_margins_and_features_that_are_never_used_are_left_out(n):
    margins = np.pad(images(n) + 1, [(0, 0), (0, 8)])
    for X in (margins, np.zeros((n, 40)), images(n, blank_every=2)):
        found, expected = Columns.of(X), Columns.by_use(X)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
