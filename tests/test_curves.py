"""Figures of curves against curves drawn by hand."""

import math

import numpy as np
import pytest

from mlcore import curves

FALLING = [1.0, 0.5, 0.4, 0.3]


def test_a_curve_that_only_falls_is_as_smooth_as_can_be():
    assert curves.roughness(FALLING) == pytest.approx(1)
    assert curves.rising_share(FALLING) == 0
    assert [curves.n_spikes(FALLING, height) for height in curves.SPIKE_HEIGHTS] == [0] * 4


def test_roughness_by_hand():
    # Down 0.5, up 0.2, down 0.3: 1.0 of way for 0.6 of fall
    assert curves.roughness([1.0, 0.5, 0.7, 0.4]) == pytest.approx(1.0 / 0.6)


@pytest.mark.parametrize("curve", [[0.4, 0.5], [0.4, 0.6, 0.4], [0.4]])
def test_a_curve_that_does_not_fall_is_endlessly_rough(curve):
    assert curves.roughness(curve) == math.inf


def test_rising_share_counts_steps():
    assert curves.rising_share([1.0, 0.5, 0.7, 0.4, 0.4]) == pytest.approx(1 / 4)
    assert curves.rising_share([1.0]) == 0


def test_a_spike_stands_above_the_lowest_so_far_and_is_recovered_from():
    #        lowest  12 %   4 %    low   30 %, never recovered from
    curve = [0.50, 0.56, 0.52, 0.49, 0.637]
    assert curves.n_spikes(curve, 5) == 1
    assert curves.n_spikes(curve, 10) == 1
    assert curves.n_spikes(curve, 20) == 0
    assert curves.n_spikes([*curve, 0.48], 20) == 1


def test_generalisation_loss_by_hand():
    train = [1.0, 0.5, 0.3, 0.2]
    assert curves.generalisation_loss(train, [1.0, 0.4, 0.44, 0.5]) == pytest.approx(25)
    assert curves.generalisation_loss(train, [1.0, 0.6, 0.5, 0.4]) == 0


def test_no_overfitting_where_the_training_loss_does_not_fall():
    assert curves.generalisation_loss([1.0, 0.5, 0.6], [1.0, 0.4, 0.5]) == 0


@pytest.mark.parametrize("curve", [[], [[1.0]], [1.0, 0.0], [1.0, math.nan]])
def test_what_is_no_curve_is_refused(curve):
    with pytest.raises(ValueError, match="one positive loss for each epoch"):
        curves.roughness(curve)


def test_describe_gives_each_of_them():
    train, val = np.array([1.0, 0.5, 0.45]), np.array([0.9, 0.6, 0.72])
    described = curves.describe(train, val)
    assert described["train_roughness"] == pytest.approx(1)
    assert described["val_roughness"] == pytest.approx(0.42 / 0.18)
    assert described["val_rising"] == 0.5
    assert described["generalisation_loss"] == pytest.approx(20)
    assert described["val_spikes_10"] == 0  # it does not come back
    assert described["generalisation_loss_10"] == pytest.approx(20)
    assert len(described) == 6 + 2 * len(curves.SPIKE_HEIGHTS)


def test_overfitting_is_judged_with_a_shorter_patience_too():
    train = 1 / np.arange(1, 26)
    val = np.concatenate([[1.0, 0.5, 0.4], np.linspace(0.41, 0.62, 22)])
    described = curves.describe(train, val)
    assert described["generalisation_loss"] == pytest.approx(100 * (0.62 / 0.4 - 1))
    # Ten epochs after the third
    assert described["generalisation_loss_10"] == pytest.approx(100 * (0.50 / 0.4 - 1))
