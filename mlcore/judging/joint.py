"""Several numbers together: each may look fine where all of them cannot be."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import hypot
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mlcore.judging.numbers import Evidence, Number, replicates, spreads_of
from mlcore.judging.rules import Joint, Rule, Rules, Trained
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


def judge_jointly(numbers: Sequence[Number], evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Judge the numbers of each joint rule together, and the differences between them.

    By the rule's name come "numbers", the paths taken in; "left_out", paths of numbers that do not
    vary, or not as a normal distribution does; "chi2", "df" and "p"; for paired numbers "rank",
    where the printed values' chi-square stands among those of our own runs, each judged by the
    others; "n", runs that have all numbers; "contrasts", see there; "protocols", see `compare`.
    """
    found = {}
    for name, joint in evidence.rules.joint.items():
        of_joint = [number for number in numbers if joint.takes(number.path)]
        taken = [number for number in of_joint if number.p is not None]
        runs = {number.path: replicates(number.path, evidence) for number in taken}
        found[name] = {
            "numbers": [number.path for number in taken],
            "left_out": [number.path for number in of_joint if number.p is None],
            "contrasts": contrasts(joint, of_joint, evidence),
            "protocols": compare(joint, of_joint, evidence),
            **together(joint, taken, runs, evidence.rules),
        }
    return found


def together(
    joint: Joint, numbers: Sequence[Number], runs: Mapping[str, Series], rules: Rules
) -> dict[str, Any]:
    """Give "n", runs that have all numbers, and "chi2", "df", "p", "rank" of the printed values.

    `runs` are the replicates of each number, by its path. None where they are too few, or do not
    vary.
    """
    nothing = {"chi2": None, "df": len(numbers), "p": None, "rank": None}
    if not numbers:
        return {"n": 0} | nothing
    if joint.paired:
        table = pd.concat(runs, axis=1).dropna()
        enough = len(table) >= MIN_JOINT and _vary(table)
        return {"n": len(table)} | (calibrated(numbers, table) if enough else nothing)
    fewest = {"n": min(map(len, runs.values()))}
    if fewest["n"] < rules.min_replicates:
        return fewest | nothing
    spreads, chi2 = spreads_of(runs, rules), 0.0
    for number in numbers:
        values = runs[number.path]
        spread = spreads.get(number.path) or spread_of(values)
        _, p = departure(number.published, values, spread, number.half_unit, number.printed_runs)
        if p is None:
            return fewest | nothing
        chi2 += float(stats.norm.isf(p / 2) ** 2)  # each p as the square of a normal deviate
    return fewest | nothing | {"chi2": chi2, "p": float(stats.chi2.sf(chi2, len(numbers)))}


def _vary(runs: pd.DataFrame) -> bool:
    """Say whether each column has two values, also without any one of the runs."""
    return all(runs[name].value_counts().iloc[0] < len(runs) - 1 for name in runs)


def calibrated(numbers: Sequence[Number], runs: pd.DataFrame) -> dict[str, Any]:
    """Give "chi2", "df", "p" and "rank" of printed values by runs that vary together.

    `runs` has a column for each number, by its path.

    The p is that of a chi-square distribution, and rough: with few runs the covariance makes it
    too small for many values, its shrinkage too large for strong correlations. The rank, among the
    chi-squares of our own runs, each judged by the others, does not suppose the distribution.
    """
    printed, half_units, k = (
        pd.Series({n.path: float(getattr(n, name)) for n in numbers})
        for name in ("published", "half_unit", "printed_runs")
    )
    chi2, df = joint_departure(printed, runs, half_units, k), len(numbers)
    others = [
        joint_departure(runs.loc[seed], runs.drop(index=seed), 0 * half_units)
        for seed in runs.index
    ]
    below = sum(other < chi2 for other in others)
    # A mean of several runs is no run among others
    rank = f"{below + 1} of {len(runs) + 1}" if (k == 1).all() else None
    return {"chi2": chi2, "df": df, "p": float(stats.chi2.sf(chi2, df)), "rank": rank}


def compare(joint: Joint, numbers: Sequence[Number], evidence: Evidence) -> list[dict[str, Any]]:
    """Judge numbers jointly by the runs of each protocol, to see how far they point to one.

    Gives for each "protocol", and what `together` gives. The one that the numbers depart from least
    comes first; protocols that have not been run come last, with None.
    """
    taken = [n for n in numbers if not n.of_sd and _normal(evidence.rules.rule_for(n.path))]
    rows = []
    for protocol, replaced in joint.protocols.items():
        runs = {number.path: replicates(number.path, evidence, replaced) for number in taken}
        rows.append({"protocol": protocol} | together(joint, taken, runs, evidence.rules))
    return sorted(rows, key=lambda row: (row["chi2"] is None, row["chi2"]))


def _normal(rule: Rule) -> bool:
    """Say whether runs are taken for normally distributed."""
    return isinstance(rule, Trained) and rule.spread in ("own", "pooled")


def contrasts(joint: Joint, numbers: Sequence[Number], evidence: Evidence) -> list[dict[str, Any]]:
    """Judge the differences between the numbers of each metric, two by two.

    Gives "metric", the beginning of the numbers' paths; "first" and "second", of which the second
    is taken away; "published"; the "mean" of our runs, each the difference of two on the same
    images; the "interval" for one further run, the roundings of both printed numbers included; "z"
    and "p".
    """
    found, level = [], evidence.rules.level
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
            spread, k = spread_of(differences), min(one.printed_runs, other.printed_runs)
            low, high = further_run(differences, spread, level, k)
            rounding, both = one.half_unit + other.half_unit, hypot(one.half_unit, other.half_unit)
            z, p = departure(published, differences, spread, both, k)
            found.append(
                {
                    "metric": metric,
                    "first": first,
                    "second": second,
                    "published": published,
                    "mean": float(np.mean(differences)),
                    "interval": Interval(low - rounding, high + rounding),
                    "z": z,
                    "p": p,
                }
            )
    return found
