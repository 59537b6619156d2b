"""Measures of curves against curves drawn by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from mlcore.errors import RetraceError
from mlcore.judging import curves

FALLING = [1.0, 0.5, 0.4, 0.3]


@pytest.mark.parametrize(
    ("curve", "roughness", "rising"),
    [
        (FALLING, 1, 0),
        ([1.0, 0.5, 0.7, 0.4], 1.0 / 0.6, 1 / 3),  # down 0.5, up 0.2, down 0.3: 1.0 for 0.6
        ([1.0, 0.5, 0.7, 0.4, 0.4], 1.0 / 0.6, 1 / 4),
        *(([0.4, 0.5], 1, 1), ([0.4, 0.6, 0.4], 2, 0.5)),
        # Flat: the range is below a thousandth of the last loss
        ([2.3, 2.302, 2.3], math.nan, 0.5),
        ([2.3, 2.303, 2.3], 2, 0.5),
        ([0.4], math.nan, 0),
    ],
)
def test_how_smoothly_a_curve_falls(curve, roughness, rising):
    assert curves.roughness(np.array(curve)) == pytest.approx(roughness, nan_ok=True)
    assert curves.rising_share(np.array(curve)) == pytest.approx(rising)


#        lowest  12 %   4 %    low   30 %, never recovered from
SPIKES = [0.50, 0.56, 0.52, 0.49, 0.637]


@pytest.mark.parametrize(
    ("curve", "height", "expected"),
    [
        *((FALLING, height, 0) for height in curves.SPIKE_HEIGHTS),
        *((SPIKES, height, n) for height, n in ((5, 1), (10, 1), (20, 0))),
        ([*SPIKES, 0.48], 20, 1),
        ([1.0, 0.5, 0.6, 0.4], 5, 1),  # above 0.5, though below the first
        ([0.5, 0.75, 0.25], 50, 0),  # as high as that, not higher
        ([1.0, 1.496, 0.5], 50, 0),  # by 49.6 %
        ([0.5, 0.6, 0.5], 5, 0),  # back to the lowest, not below it
        ([0.5, 0.6, 0.3, 0.7, 0.8], 5, 1),  # recovered from at once, what follows is not
    ],
)
def test_a_spike_stands_above_the_lowest_so_far_and_is_recovered_from(curve, height, expected):
    assert curves.n_spikes(np.array(curve), height) == expected


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    # No overfitting where the training loss does not fall
    [([1.0, 0.5, 0.3, 0.2], [1.0, 0.4, 0.44, 0.5], 25), ([1.0, 0.5], [1.0, 0.4], 0),
     ([1.0, 0.5, 0.6], [1.0, 0.4, 0.5], 0), ([1.0, 0.5, 0.5], [1.0, 0.4, 0.5], 0)],
)  # fmt: skip
def test_generalisation_loss_by_hand(train, val, expected):
    assert curves.generalisation_loss(*np.array([train, val])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([1.0, 0.8, 0.6], 1),
        ([1.0, 0.8, 0.7, 0.6, 0.55, 0.5], 0.9),
        ([1.0, 0.5, 0.6, 0.7, 0.8, 0.4], 5 / 6),  # the lowest so far counts
        ([0.4, 0.5, 0.6, 0.7, 0.8, 0.9], math.nan),  # never falls
        ([2.3010, 2.3009, 2.3, 2.3, 2.3, 2.2999], 10 / 11),  # nearly flat: its fall counts, too
    ],
)
def test_the_share_of_the_fall_that_five_epochs_reach(curve, expected):
    assert curves.early_fall(np.array(curve)) == pytest.approx(expected, nan_ok=True)


def test_the_first_epoch_that_reaches_an_accuracy():
    accuracies = map(np.array, ([0.8, 0.9, 0.8], [0.95], [0.1] * 100))
    assert [*map(curves.epochs_to_learn, accuracies)] == [2, 1, 101]


def test_describe_gives_each_of_them():
    train, val = np.array([1.0, 0.5, 0.45]), np.array([0.9, 0.6, 0.72])
    assert curves.describe(train, val, np.array([0.5, 0.92, 0.91])) == {
        "train_roughness": pytest.approx(1), "val_roughness": pytest.approx(0.42 / 0.3),
        "train_rising": 0, "val_rising": 0.5, "train_fall_5": 1, "epochs_to_90": 2,
        "train_range": pytest.approx(0.55 / 0.45), "val_range": pytest.approx(0.3 / 0.72),
        "generalisation_loss": pytest.approx(20), "generalisation_loss_10": pytest.approx(20),
        # The rise does not come back
        **{f"{part}_spikes_{h}": 0 for part in ("train", "val") for h in curves.SPIKE_HEIGHTS},
    }  # fmt: skip


def test_overfitting_is_judged_with_a_shorter_patience_too():
    train = 1 / np.arange(1, 26)
    val = np.concatenate([[1.0, 0.5, 0.4], np.linspace(0.41, 0.62, 22)])
    described = curves.describe(train, val, val)
    assert described["generalisation_loss"] == pytest.approx(100 * (0.62 / 0.4 - 1))
    # Ten epochs after the third
    assert described["generalisation_loss_10"] == pytest.approx(100 * (0.50 / 0.4 - 1))


def test_each_training_gets_the_measures_of_its_own_curve():
    runs = pd.DataFrame({"params": ["b", "none", "a"], "seed": [1, 2, 3]}, index=[5, 6, 7])
    # As smooth as can be, and down 0.5, up 0.2, down 0.3; epochs and trainings in no order
    losses = {"a": [1.0, 0.5, 0.4, 0.3], "b": [1.0, 0.5, 0.7, 0.4]}
    rows = [
        {"params": params, "epoch": epoch, "train_loss": 1 / epoch, "val_loss": losses[params][i],
         "val_accuracy": epoch / 4}
        for i, epoch in reversed([*enumerate(range(1, 5))])
        for params in ("b", "a")
    ]  # fmt: skip
    table = curves.with_measures(runs, pd.DataFrame(rows))
    assert table[["params", "seed"]].equals(runs)
    assert table["val_roughness"].tolist() == pytest.approx([1 / 0.6, math.nan, 1], nan_ok=True)
    assert table["val_rising"].tolist() == pytest.approx([1 / 3, math.nan, 0], nan_ok=True)
    assert table["epochs_to_90"].tolist() == pytest.approx([4, math.nan, 4], nan_ok=True)
    down = pd.DataFrame(rows).assign(val_loss=lambda table: table["val_loss"] - 0.3)
    with pytest.raises(RetraceError, match="curve of a has losses that are not > 0"):
        curves.with_measures(runs, down)
    # Without any curve every measure is missing
    table = curves.with_measures(runs, pd.DataFrame(rows)[:0])
    assert list(table) == ["params", "seed", *curves.MEASURES]
    assert table[list(curves.MEASURES)].isna().all(axis=None)
