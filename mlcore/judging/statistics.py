"""How far runs with other seeds predict one more run, and how often something holds."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """Both ends included."""

    low: float
    high: float


def prediction_interval(
    values: Sequence[float], level: float, extra_variance: float = 0.0
) -> Interval:
    """Give the interval in which one further run falls, if runs are normally distributed.

    The mean, plus or minus t(n - 1) sqrt(s^2 (1 + 1 / n) + v). Runs of ours predict a printed
    value: Patil, Peng and Leek (2016), turned round.

    Parameters
    ----------
    values : sequence of float
        Of n runs with different seeds, at least 2.
    level : float
        Such as 0.95.
    extra_variance : float
        v, what the further run varies by beyond the seed.

    Raises
    ------
    ValueError
        For fewer than two values.
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

    Parameters
    ----------
    successes : float
        In 0 .. n; a tie may count half.
    n : int
        At least 1.
    level : float

    Raises
    ------
    ValueError
        If `successes` is not in 0 .. n, or there are no trials.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"there are no {successes} of {n}")
    z = stats.norm.ppf((1 + level) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
