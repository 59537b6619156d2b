"""How far runs predict one more run, and what differences between runs mean."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.covariance import LedoitWolf

Series: TypeAlias = "pd.Series[float]"

ROUNDING = 1e-9
"""Far below any printed digit, and above what binary fractions add to decimal ones."""


class Interval(NamedTuple):
    """Both ends included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Say whether a value lies in it, give or take what binary fractions add."""
        return bool(self.low - ROUNDING <= value <= self.high + ROUNDING)


class Spread(NamedTuple):
    """How far single runs lie from their mean: a standard deviation and its degrees of freedom."""

    sd: float
    df: int


def spread_of(values: Series) -> Spread:
    """Give the spread of runs, of which there are two at least."""
    return Spread(float(values.std(ddof=1)) if values.nunique() > 1 else 0.0, len(values) - 1)


def pooled(groups: Sequence[Series], level: float) -> Spread | None:
    """Pool the spreads of similar runs, unless Bartlett's test tells them apart at the level.

    Both suppose that groups are independent. Where they share images, the degrees of freedom are
    fewer than told here.
    """
    if len(groups) < 2 or any(len(g) < 2 or g.nunique() < 2 for g in groups):
        return None
    if stats.bartlett(*groups).pvalue < 1 - level:
        return None
    df = sum(len(g) - 1 for g in groups)
    return Spread(sqrt(sum((len(g) - 1) * g.var(ddof=1) for g in groups) / df), df)


def further_run(values: Series, spread: Spread, level: float, k: int = 1) -> Interval:
    """Give the interval in which one further run falls, if runs are normally distributed.

    Or the mean of `k` further runs. It is the mean of n `values`, plus or minus
    t sd sqrt(1 / k + 1 / n), with their own spread or one pooled with that of others. Runs of ours
    predict a printed value: Patil, Peng and Leek (2016), turned round.
    """
    mean = float(values.mean())
    half = stats.t.ppf((1 + level) / 2, spread.df) * spread.sd * sqrt(1 / k + 1 / len(values))
    return Interval(mean - half, mean + half)


def further_sd(spread: Spread, k: int, level: float) -> Interval:
    """Give the interval in which the standard deviation of `k` further runs falls (Fisher's F)."""
    ends = stats.f.ppf([(1 - level) / 2, (1 + level) / 2], k - 1, spread.df)
    low, high = spread.sd * np.sqrt(ends)
    return Interval(float(low), float(high))


def departure(
    printed: float, values: Series, spread: Spread, half_unit: float = 0.0, k: int = 1
) -> tuple[float, float] | tuple[None, None]:
    """Give z, by how many standard errors a printed value departs from runs, and its two-sided p.

    By Student's t with the spread's degrees of freedom; None and None where runs do not vary. The
    printed value may be the mean of `k` runs. Its rounding, uniform within half a unit of the last
    digit, adds a third of that unit's square to the variance.
    """
    if spread.sd == 0:
        return None, None
    error = sqrt(spread.sd**2 * (1 / k + 1 / len(values)) + half_unit**2 / 3)
    z = (printed - float(values.mean())) / error
    return z, float(2 * stats.t.sf(abs(z), spread.df))


def mean_interval(values: Series, level: float) -> Interval:
    """Give Student's interval of the mean of values, a point where they do not vary."""
    spread = spread_of(values)
    half = stats.t.ppf((1 + level) / 2, spread.df) * spread.sd / sqrt(len(values))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def joint_departure(
    printed: Series, runs: pd.DataFrame, half_units: Series, k: "Series | None" = None
) -> float:
    """Measure how far several printed values together depart from runs that have them all.

    `runs` has a row per run and a column per value; each value is the mean of `k` runs, of one if
    not given, and rounded within half a unit of its last digit, 0 where it is not.

    A chi-square: d' C^-1 d with d the differences from the runs' means. C is the runs' covariance
    times (1 / k + 1 / n); between a mean of k runs and one of l it is times
    (1 / max(k, l) + 1 / n), as if the shorter list of runs were part of the longer. The
    correlations are shrunk towards none (Ledoit and Wolf, 2004), as there may be no more runs than
    values: a departure across a strong correlation counts for less than it should. Roundings of
    the printed digits, uniform within half a unit, widen C.
    """
    n, sd = len(runs), runs.std(ddof=1)
    standard = ((runs - runs.mean()) / sd).to_numpy()
    correlation = LedoitWolf(assume_centered=True).fit(standard).covariance_
    correlation = correlation / np.sqrt(np.outer(np.diag(correlation), np.diag(correlation)))
    rounding = np.diag((half_units / sd).to_numpy() ** 2 / 3)
    d = ((printed - runs.mean()) / sd).to_numpy()
    runs_of = np.ones(len(d)) if k is None else k.to_numpy()
    covariance = correlation * (1 / np.maximum.outer(runs_of, runs_of) + 1 / n) + rounding
    return float(d @ np.linalg.solve(covariance, d))


def wilson_interval(successes: int, n: int, level: float) -> Interval:
    """Give Wilson's score interval (1927) for a share."""
    low, high = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(float(low), float(high))


def within(distance: float, tolerance: float) -> bool:
    """Compare decimals that are not exact in binary."""
    return bool(distance <= tolerance + ROUNDING)


def half_unit(decimals: int) -> float:
    """Give half a unit of the last of so many digits after the point."""
    return 0.5 * 10.0**-decimals


def rank(values: Series, printed: float, decimals: int) -> str:
    """Say where a printed value stands among others: "3 of 11" if two of ten are below it.

    A value that is the same to the digits printed is a tie, and counts half.
    """
    distance = values - printed
    ties = distance.abs() <= half_unit(decimals) + ROUNDING
    below = (~ties & (distance < 0)).sum()
    return f"{below + ties.sum() / 2 + 1:g} of {len(values) + 1}"
