"""Intervals against SciPy, published tables and simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mlcore.judging.statistics import (
    Interval,
    prediction_interval,
    redraw_variance,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (10, 10), (7, 20), (1, 1), (0, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(k, n, level):
    expected = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson_interval(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_stays_one_whatever_rounding_does():
    assert all(wilson_interval(n, n, 0.95).high <= 1 for n in range(1, 500))
    assert all(wilson_interval(0, n, 0.95).low >= 0 for n in range(1, 500))


def test_half_a_success_lies_between():
    low, high = wilson_interval(6.5, 10, 0.95)
    assert wilson_interval(6, 10, 0.95).low < low < wilson_interval(7, 10, 0.95).low
    assert wilson_interval(6, 10, 0.95).high < high < wilson_interval(7, 10, 0.95).high


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match=f"there are no {k} of {n}"):
        wilson_interval(k, n, 0.95)


@pytest.mark.parametrize(
    ("values", "extra", "mean", "half"),
    [
        # t(2) and t(1) at 97.5 % are 4.3027 and 12.706 in printed tables
        ([1.0, 2.0, 3.0], 0.0, 2, 4.3027 * (1 + 1 / 3) ** 0.5),
        ([1.0, 2.0, 3.0], 2.0, 2, 4.3027 * (1 + 1 / 3 + 2) ** 0.5),
        ([0.0, 2.0], 0.0, 1, 12.706 * 2**0.5 * 1.5**0.5),
        ([0.5] * 10, 0.0, 0.5, 0),
    ],
)
def test_prediction_interval_by_hand(values, extra, mean, half):
    low, high = prediction_interval(values, 0.95, extra)
    assert (mean - low, high - mean) == (pytest.approx(half, rel=1e-4),) * 2


def test_prediction_interval_needs_two_values():
    with pytest.raises(ValueError, match="at least 2 values, not 1"):
        prediction_interval([1.0], 0.95)


def test_one_further_run_falls_inside_as_often_as_promised():
    rng = np.random.default_rng(0)
    inside = 0
    for *values, further in rng.normal(size=(2000, 11)):
        low, high = prediction_interval(values, 0.95)
        inside += low <= further <= high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)


def test_redraw_variance_is_that_of_two_draws_from_the_same_samples():
    rng = np.random.default_rng(1)
    everything = rng.exponential(size=500)
    differences = [
        rng.choice(everything, 100, replace=False).mean()
        - rng.choice(everything, 100, replace=False).mean()
        for _ in range(4000)
    ]
    expected = redraw_variance(everything.var(), 100, 500)
    assert np.var(differences) == pytest.approx(expected, rel=0.08)


def test_rounding_in_binary_puts_nothing_outside():
    """0.1 + 0.2 is a little more than 0.3."""
    assert Interval(0.1 + 0.2, 1.0).holds(0.3)
    assert Interval(0.0, 0.3).holds(0.1 + 0.2)
    assert not Interval(0.3001, 1.0).holds(0.3)
    assert not Interval(0.0, 0.2999).holds(0.3)


def test_whole_parts_do_not_vary():
    assert redraw_variance(0.2, 500, 500) == 0
