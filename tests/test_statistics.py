"""Intervals against SciPy, published tables and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bartlett

from mlcore.judging import statistics
from mlcore.judging.statistics import Interval, Spread, joint_departure, pooled, spread_of

SHAPE = np.array([-1, 1] * 5) * np.sqrt(9 / 10)  # mean 0, standard deviation 1


@pytest.mark.parametrize(
    ("values", "level", "mean", "t", "sd"),
    # t(2) and t(1) at 97.5 %, t(2) at 95 % in printed tables
    [([1.0, 2.0, 3.0], 0.95, 2, 4.3027, 1), ([0.0, 2.0], 0.95, 1, 12.706, 2**0.5),
     ([1.0, 2.0, 3.0], 0.9, 2, 2.9200, 1), ([0.5] * 10, 0.95, 0.5, 2.2622, 0)],
)  # fmt: skip
def test_intervals_by_hand(values, level, mean, t, sd):
    runs, n = pd.Series(values), len(values)
    spread = spread_of(runs)
    assert spread == (pytest.approx(sd), n - 1)
    for (low, high), factor in ((statistics.further_run(runs, spread, level), (1 + 1 / n) ** 0.5),
                                (statistics.mean_interval(runs, level), n**-0.5)):  # fmt: skip
        assert (mean - low, high - mean) == (pytest.approx(t * sd * factor, rel=1e-4),) * 2


def test_one_further_run_falls_inside_as_often_as_promised():
    rng = np.random.default_rng(0)
    inside = 0
    for *values, further in rng.normal(size=(1000, 11)):
        runs = pd.Series(values)
        inside += statistics.further_run(runs, spread_of(runs), 0.95).holds(further)
    assert inside / 1000 == pytest.approx(0.95, abs=0.02)


def test_pooled_variances_by_hand():
    # Variances 1 (df 2) and 8 / 3 (df 3): (2 x 1 + 3 x 8 / 3) / 5 = 2
    groups = [pd.Series([1.0, 2.0, 3.0]), pd.Series([0.0, 0.0, 2.0, 2.0]) * 2**0.5]
    assert pooled(groups, 0.95) == (pytest.approx(2**0.5), 5)


def test_spreads_that_differ_are_not_pooled():
    groups = [pd.Series(SHAPE), pd.Series(SHAPE) * 2.2]
    assert 0.02 < bartlett(*groups).pvalue < 0.05
    assert pooled(groups, 0.95) is None
    assert pooled(groups, 0.99) is not None
    # Nor is what does not vary, or stands alone
    assert pooled([groups[0], 0 * groups[0]], 0.95) is None
    assert pooled(groups[:1], 0.95) is None


@pytest.mark.parametrize(("t", "df", "p"), [(2.2622, 9, 0.05), (-3.2498, 9, 0.01), (0, 9, 1)])
def test_departure_by_tables(t, df, p):
    runs = pd.Series(5 + 2 * SHAPE)
    z, found = statistics.departure(5 + t * 2 * 1.1**0.5, runs, Spread(2.0, df))
    assert (z, found) == (pytest.approx(t), pytest.approx(p, abs=1e-5))
    assert statistics.departure(5, runs, Spread(0.0, 9)) == (None, None)


def drawn(correlation, n=4000):
    """Runs of three values with a mean of 7, sd 1, 2 and 3; the first two are correlated."""
    normal = np.random.default_rng(1).normal(size=(n, 3))
    a, b, c = np.linalg.qr(normal - normal.mean(0))[0].T * (n - 1) ** 0.5
    b = correlation * a + (1 - correlation**2) ** 0.5 * b
    return pd.DataFrame(np.stack([a, 2 * b, 3 * c], axis=1) + 7)


AT = pd.Series([7 + 2.0, 7 + 2 * 1.5, 7 - 3 * 1.0])  # z of 2, 1.5 and -1
NO_ROUNDING = pd.Series([0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("rounding", "runs", "expected"),
    # Uniform within half a unit: its square over 3, as much again as the variance of the first.
    # Means of several runs count more
    [(0, [1, 1, 1], 4 + 2.25 + 1), (3**0.5, [1, 1, 1], 4 / 2 + 2.25 + 1),
     (0, [4, 4, 4], 4 * (4 + 2.25 + 1)), (0, [4, 1, 1], 4 * 4 + 2.25 + 1)],
)  # fmt: skip
def test_of_independent_values_chi_square_adds_the_squares_of_z(rounding, runs, expected):
    chi2 = joint_departure(AT, drawn(0), pd.Series([rounding, 0.0, 0.0]), pd.Series(runs))
    assert chi2 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("towards", [1, -1])
def test_a_departure_along_a_correlation_counts_for_less(towards):
    # (z1^2 + z2^2 - 2 r z1 z2) / (1 - r^2) by hand, and 1 for the third
    expected = (4 + 2.25 - 2 * 0.8 * 3 * towards) / (1 - 0.64) + 1
    printed = AT if towards == 1 else AT.where(AT.index != 1, 7 - 2 * 1.5)
    chi2 = joint_departure(printed, drawn(0.8), NO_ROUNDING)
    assert chi2 == pytest.approx(expected, rel=0.02)  # shrunk a little


def test_correlations_of_few_runs_are_shrunk():
    # Two of six runs' chance correlation would multiply chi-square
    runs = drawn(0.999, 6)[[0, 1]]
    across = pd.Series([8.0, 5.0])
    r = runs.corr().iloc[0, 1]
    by_hand = (1 + 1 + 2 * r) / (1 - r**2) / (1 + 1 / 6)
    assert joint_departure(across, runs, NO_ROUNDING[:2]) < by_hand / 2


SPREAD = np.arange(960, 970) / 1000


@pytest.mark.parametrize(
    ("values", "printed", "expected"),
    # Eight of 820 in 7,000 round to 0.1171; one of 821 is above, one of 818 below
    [(SPREAD, 0.9625, "4 of 11"), (SPREAD, 0.95, "1 of 11"), (SPREAD, 0.98, "11 of 11"),
     (SPREAD, 0.962, "3.5 of 11"),
     (np.array([820] * 8 + [821, 818]) / 7000, 0.1171, "6 of 11")],
)  # fmt: skip
def test_rank_counts_runs_below_and_half_of_those_that_print_the_same(values, printed, expected):
    assert statistics.rank(pd.Series(values), printed, 4) == expected


def test_rounding_in_binary_puts_nothing_outside():
    """0.1 + 0.2 is a little more than 0.3."""
    assert Interval(0.1 + 0.2, 1.0).holds(0.3)
    assert Interval(0.0, 0.3).holds(0.1 + 0.2)
    assert not Interval(0.3001, 1.0).holds(0.3)
    assert not Interval(0.0, 0.2999).holds(0.3)
