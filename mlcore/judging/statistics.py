"""How far runs with other seeds predict one more run, and how often something holds."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

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


def prediction_interval(
    values: Sequence[float], level: float, extra_variance: float = 0.0
) -> Interval:
    """Give the interval in which one further run falls, if runs are normally distributed.

    The mean, plus or minus t(n - 1) sqrt(s^2 (1 + 1 / n) + v). Runs of ours predict a printed
    value: Patil, Peng and Leek (2016), turned round.

    Parameters
    ----------
    values : sequence of float
        Of n runs with different seeds; raises ValueError for fewer than two.
    level : float
        Such as 0.95.
    extra_variance : float
        v, what the further run varies by beyond the seed.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval needs at least 2 values, not {n}")
    mean, variance = float(np.mean(values)), float(np.var(values, ddof=1))
    half = stats.t.ppf((1 + level) / 2, n - 1) * sqrt(variance * (1 + 1 / n) + extra_variance)
    return Interval(mean - half, mean + half)


def redraw_variance(variance: float, n_samples: int, n_all: int) -> float:
    """Give the variance of the difference of two means over parts drawn from the same samples.

    Both parts are drawn without replacement and independently, so each mean has the variance
    sigma^2 / n (1 - n / N).

    Parameters
    ----------
    variance : float
        sigma^2, between single samples; p (1 - p) for an accuracy p.
    n_samples : int
        n, of each part.
    n_all : int
        N, that both are drawn from.
    """
    return 2 * variance / n_samples * (1 - n_samples / n_all)


def wilson_interval(successes: float, n: int, level: float) -> Interval:
    """Give Wilson's score interval (1927) for a share.

    `successes` are in 0 .. n, and a tie may count half. Raises ValueError if they are not, or
    there are no trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"there are no {successes} of {n}")
    z = stats.norm.ppf((1 + level) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


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
