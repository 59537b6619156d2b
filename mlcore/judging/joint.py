"""Several numbers together: each may look fine where all of them cannot be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mlcore.judging.numbers import Evidence, Number, replicates
from mlcore.judging.rules import Joint, Measured
from mlcore.judging.statistics import (
    Interval,
    Series,
    departure,
    further_run,
    joint_departure,
    spread_of,
)

MIN_JOINT = 6
"""Runs that a covariance needs."""


@dataclass(frozen=True)
class Contrast:
    """A difference between two printed numbers of one metric, and what our runs say of it."""

    metric: str  # beginning of the numbers' paths
    first: str  # less the second is the difference
    second: str
    published: float
    mean: float  # of our runs, each the difference of two on the same images
    interval: Interval  # for one further run, the roundings of both printed numbers included
    z: float | None
    p: float | None


def judge_jointly(numbers: Sequence[Number], evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Judge the numbers of each joint rule together, and the differences between them.

    By the rule's name come "numbers", the paths taken in; "left_out", paths of numbers that do not
    vary, or not as a normal distribution does; "chi2", "df" and "p"; for paired numbers "rank",
    where the printed values' chi-square stands among those of our own runs, each judged by the
    others; "n", runs that have all numbers; "contrasts", see `Contrast`; "protocols", see
    `compare`.
    """
    return {
        name: _judge(joint, [n for n in numbers if _fits(n, joint)], evidence)
        for name, joint in evidence.rules.joint.items()
    }


def _fits(number: Number, joint: Joint) -> bool:
    return any(fnmatchcase(number.path, pattern) for pattern in joint.match)


def _judge(joint: Joint, numbers: Sequence[Number], evidence: Evidence) -> dict[str, Any]:
    taken = [number for number in numbers if number.p is not None]
    result: dict[str, Any] = {
        "numbers": [number.path for number in taken],
        "left_out": [number.path for number in numbers if number.p is None],
        "n": min((number.n for number in taken), default=0),
        "contrasts": [asdict(c) for c in contrasts(joint, numbers, evidence)],
        "protocols": compare(joint, [n for n in numbers if n.n], evidence),
    }
    if not taken:
        return result | {"chi2": None, "df": 0, "p": None, "rank": None}
    if not joint.paired:
        # Each p as the square of a normal deviate
        chi2 = float(sum(stats.norm.isf(n.p / 2) ** 2 for n in taken if n.p is not None))
        p = float(stats.chi2.sf(chi2, len(taken)))
        return result | {"chi2": chi2, "df": len(taken), "p": p, "rank": None}
    runs = pd.concat({n.path: replicates(n.path, evidence) for n in taken}, axis=1).dropna()
    return result | {"n": len(runs)} | calibrated(taken, runs)


def calibrated(numbers: Sequence[Number], runs: pd.DataFrame) -> dict[str, Any]:
    """Give "chi2", "df", "p" and "rank" of printed values; None for too few runs.

    `runs` has a column for each number, by its path.

    The p is that of a chi-square distribution, and rough: with few runs the covariance makes it
    too small for many values, its shrinkage too large for strong correlations. The rank, among the
    chi-squares of our own runs, each judged by the others, does not suppose the distribution.
    """
    if len(runs) < MIN_JOINT:
        return {"chi2": None, "df": len(numbers), "p": None, "rank": None}
    printed, half_units, k = (
        pd.Series({n.path: float(getattr(n, name)) for n in numbers})
        for name in ("published", "half_unit", "printed_runs")
    )
    chi2, df = joint_departure(printed, runs, half_units, k)
    others = [
        joint_departure(runs.loc[seed], runs.drop(index=seed), 0 * half_units)[0]
        for seed in runs.index
    ]
    below = sum(other < chi2 for other in others)
    # A mean of several runs is no run among others
    rank = f"{below + 1} of {len(runs) + 1}" if (k == 1).all() else None
    return {"chi2": chi2, "df": df, "p": float(stats.chi2.sf(chi2, df)), "rank": rank}


def compare(joint: Joint, numbers: Sequence[Number], evidence: Evidence) -> list[dict[str, Any]]:
    """Judge numbers jointly by the runs of each protocol, to see how far they point to one.

    Gives for each "protocol"; "n", runs that have all numbers; "chi2", "df", "p" and "rank" as
    `calibrated` has them. The one that the numbers depart from least comes first; protocols that
    have not been run come last, with None.
    """
    rows = []
    for protocol, replaced in joint.protocols.items():
        known = {n.path: _otherwise(n.path, replaced, evidence) for n in numbers}
        runs = pd.concat(known, axis=1).dropna() if known else pd.DataFrame()
        rows.append({"protocol": protocol, "n": len(runs)} | calibrated(numbers, runs))
    return sorted(rows, key=lambda row: (row["chi2"] is None, row["chi2"]))


def _otherwise(path: str, replaced: Mapping[str, str], evidence: Evidence) -> Series:
    rule = evidence.rules.rule_for(path)
    assert isinstance(rule, Measured)  # it has runs
    name = rule.runs_of(path)
    for part, by in replaced.items():
        if part in name:
            return evidence.of(name.replace(part, by), rule.metric)
    return evidence.of(name, rule.metric)


def contrasts(joint: Joint, numbers: Sequence[Number], evidence: Evidence) -> list[Contrast]:
    """Judge the differences between the numbers of each metric, two by two."""
    found = []
    by_path = {number.path: number for number in numbers}
    for metric in dict.fromkeys(path.rpartition(".")[0] for path in by_path):
        for first, second in combinations(joint.contrasts, 2):
            one, other = (by_path.get(f"{metric}.{name}") for name in (first, second))
            if one is None or other is None:
                continue
            runs = [replicates(number.path, evidence) for number in (one, other)]
            differences = (runs[0] - runs[1]).dropna()
            if len(differences) < evidence.rules.min_replicates:
                continue
            published = float(one.published) - float(other.published)
            spread = spread_of(differences)
            k = min(one.printed_runs, other.printed_runs)
            low, high = further_run(differences, spread, evidence.rules.level, k)
            rounding = one.half_unit + other.half_unit
            interval = Interval(low - rounding, high + rounding)
            z, p = departure(published, differences, spread, k)
            mean = float(np.mean(differences))
            found.append(Contrast(metric, first, second, published, mean, interval, z, p))
    return found
