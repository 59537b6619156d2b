"""Which of the study's figures hold, by the rules in metrics/rules.yaml.

A printed figure is one run of somebody else. Runs of ours with other seeds say where one further
run falls; whether it falls there, and whether that says anything, is the verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from mlcore.judging.statistics import (
    Interval,
    prediction_interval,
    redraw_variance,
    wilson_interval,
)

REPRODUCED = "reproduced"
TOO_NOISY = "compatible, too noisy to tell"
IMMATERIAL = "differs, immaterially"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable"
VERDICTS = (REPRODUCED, TOO_NOISY, IMMATERIAL, NOT_REPRODUCED, NOT_TESTABLE)

Rule = Mapping[str, Any]


@dataclass
class Figure:
    """One printed figure and what is known about it.

    Attributes
    ----------
    path : str
        In published.yaml, such as "mnist_grid.test_accuracy.tanh.normal".
    kind : str
        Of its rule.
    published, ours : float or str
        `ours` is the pipeline's run; None if it did not run.
    verdict : str
        One of `VERDICTS`.
    reason : str
        For the verdict, in one sentence.
    tolerance : float or None
        Largest difference that would not matter, in the figure's unit.
    difference : float or None
        Ours less the printed value.
    n : int
        Replicates.
    n_used : int
        Those that `mean` to `interval` are of: where runs can collapse, the ones that ended as
        the printed one did.
    mean, sd, lowest, highest : float or None
    interval : Interval or None
        For one further run, the last printed digit's half unit included.
    rank : str or None
        The printed value's among the replicates: "3 of 11" if two of ten are below it.
    ours_inside : bool or None
        Whether our own run lies in the interval that the replicates give for it.
    ours_better : bool
        Whether ours are better than the printed one, which then lies outside the interval.
    collapse : dict or None
        If runs can collapse: how many did, Wilson's interval of their share, and whether the
        printed one did.
    choice : dict or None
        For what the search chose: by how many seeds, and Wilson's interval of their share.
    values : list of float
        Of all replicates, by seed.
    """

    path: str
    kind: str
    published: Any
    ours: Any
    verdict: str
    reason: str
    tolerance: float | None = None
    difference: float | None = None
    n: int = 0
    n_used: int = 0
    mean: float | None = None
    sd: float | None = None
    lowest: float | None = None
    highest: float | None = None
    interval: Interval | None = None
    rank: str | None = None
    ours_inside: bool | None = None
    ours_better: bool = False
    collapse: dict[str, Any] | None = None
    choice: dict[str, Any] | None = None
    values: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return asdict(self) | {"interval": list(self.interval) if self.interval else None}


@dataclass(frozen=True)
class Evidence:
    """What figures are judged by.

    Attributes
    ----------
    rules : mapping
        metrics/rules.yaml.
    runs : pandas.DataFrame
        One row per replicate: "part", "name", "seed" and its final figures.
    splits : pandas.DataFrame
        The same of trainings on other splits of the data, and their "sweep".
    sizes : mapping of str to int
        Images of Fashion-MNIST: "full", and its parts "train" and "val".
    """

    rules: Mapping[str, Any]
    runs: pd.DataFrame
    splits: pd.DataFrame
    sizes: Mapping[str, int]


def figures_of(summary: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give path, printed value and ours of every figure in what `study.compare` made.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    if isinstance(summary, Mapping) and set(summary) == {"ours", "published"}:
        yield path, summary["published"], summary["ours"]
    elif isinstance(summary, Mapping):
        for key, value in summary.items():
            yield from figures_of(value, f"{path}.{key}".lstrip("."))
    elif isinstance(summary, list):
        for number, value in enumerate(summary):
            yield from figures_of(value, f"{path}[{number}]")
    else:
        raise ValueError(f"{path or 'the summary'} holds {summary!r}, not ours and published")


def rule_for(path: str, rules: Sequence[Rule]) -> Rule:
    """Give the first rule whose pattern fits; raises ValueError if none does."""
    for rule in rules:
        if fnmatchcase(path, rule["match"]):
            return rule
    raise ValueError(f"no rule fits {path}")


def judge(summary: Any, evidence: Evidence) -> list[Figure]:
    """Judge every printed figure but those that the study starts from.

    Parameters
    ----------
    summary : nested mappings
        What `study.compare` made.
    evidence : Evidence

    Raises
    ------
    ValueError
        If one of a pair is a number and the other is not, or no rule fits a figure.
    """
    verdicts = []
    for path, published, ours in figures_of(summary):
        rule = rule_for(path, evidence.rules["figures"])
        if rule["kind"] == "given":
            continue
        numbers = isinstance(published, int | float), isinstance(ours, int | float)
        if ours is not None and numbers[0] != numbers[1]:
            raise ValueError(f"{path}: ours is {ours!r}, published {published!r}")
        if ours is None:
            verdict = Figure(path, rule["kind"], published, ours, NOT_TESTABLE, "it was not run")
        elif rule["kind"] == "exact":
            verdict = judge_exact(path, published, ours, rule)
        elif rule["kind"] == "choice":
            verdict = judge_choice(path, published, ours, rule, evidence)
        else:
            verdict = judge_trained(path, published, ours, rule, evidence)
        if isinstance(ours, int | float):
            verdict.difference = ours - published
        verdicts.append(verdict)
    return verdicts


def judge_exact(path: str, published: float, ours: float, rule: Rule) -> Figure:
    """Judge a figure that has one right value: it should be the same to the printed digits."""
    tolerance = half_unit(rule)
    distance = abs(published - ours)
    if within(distance, tolerance):
        verdict, reason = REPRODUCED, "the same to the digits printed"
    elif within(distance, rule.get("tolerance", 0.0)):
        tolerance = rule["tolerance"]
        verdict, reason = IMMATERIAL, f"the exact value is {ours:.6g}: {rule['rounding']}"
    else:
        verdict, reason = NOT_REPRODUCED, f"the exact value is {ours:.6g}"
    return Figure(path, rule["kind"], published, ours, verdict, reason, tolerance)


def judge_trained(
    path: str, published: float, ours: float, rule: Rule, evidence: Evidence
) -> Figure:
    """Judge a figure that varies from run to run, by runs with other seeds."""
    rules, runs = evidence.rules, evidence.runs
    everything = replicates(path, rule, runs)
    values = everything
    tolerance = rule.get("tolerance", published * rule.get("relative_tolerance", 0.0))
    figure = Figure(path, rule["kind"], published, ours, NOT_TESTABLE, "", tolerance)
    figure.n, figure.values = len(everything), everything.tolist()
    if "collapse_below" in rule and len(everything):
        figure.collapse, values = split_modes(published, everything, rule, rules)
    figure.n_used = len(values)
    if len(everything) < rules["min_replicates"]:
        figure.reason = too_few(len(everything), rules)
        return figure
    below, ties = (everything < published).sum(), (everything == published).sum()
    figure.rank = f"{below + ties / 2 + 1:g} of {len(everything) + 1}"
    if len(values) < rules["min_replicates"]:
        figure.verdict = TOO_NOISY if len(values) else NOT_REPRODUCED
        figure.reason = f"{len(values)} of {len(everything)} runs ended as the printed one did"
        return figure
    figure.mean = float(values.mean())
    figure.sd = float(values.std(ddof=1)) if values.nunique() > 1 else 0.0
    figure.lowest, figure.highest = float(values.min()), float(values.max())
    extra, without = variance_beyond_seed(path, figure.mean, rule, evidence)
    seeds = prediction_interval(values.tolist(), rules["level"])
    figure.ours_inside = bool(seeds.low - ROUNDING <= ours <= seeds.high + ROUNDING)
    low, high = prediction_interval(values.tolist(), rules["level"], extra)
    figure.interval = Interval(low - half_unit(rule), high + half_unit(rule))
    figure.verdict, figure.reason = compare_with_interval(figure)
    figure.reason += without
    ahead = (figure.mean - published) * (1 if rule["better"] == "higher" else -1)
    figure.ours_better = not inside(figure) and ahead > 0
    return figure


def compare_with_interval(figure: Figure) -> tuple[str, str]:
    """Give the verdict on a figure whose interval is known, and the reason."""
    assert figure.interval is not None
    assert figure.mean is not None
    assert figure.tolerance is not None
    low, high = figure.interval
    half, distance = (high - low) / 2, abs(figure.published - figure.mean)
    where = f"[{low:.4f}, {high:.4f}]"
    if inside(figure):
        if within(half, figure.tolerance):
            return REPRODUCED, f"inside {where}"
        return TOO_NOISY, (
            f"inside {where}, whose half-width {half:.4f} is above the tolerance of "
            f"{figure.tolerance:.4g}"
        )
    if within(distance, figure.tolerance):
        return IMMATERIAL, f"outside {where}, but within {figure.tolerance:.4g} of the mean"
    return NOT_REPRODUCED, f"outside {where}, and {distance:.4f} from the mean"


def judge_choice(path: str, published: Any, ours: Any, rule: Rule, evidence: Evidence) -> Figure:
    """Judge a setting that the search chose, by how many seeds choose it too."""
    rules, scores = evidence.rules, search_scores(evidence.runs)
    key = path.rpartition(".")[2]
    figure = Figure(path, rule["kind"], published, ours, NOT_TESTABLE, "", rule["tolerance"])
    figure.n = n = len(scores)
    if n < rules["min_replicates"]:
        figure.reason = too_few(n, rules)
        return figure
    has_it = [settings_of(name)[key] == str(published) for name in scores]
    if all(has_it) or not any(has_it):
        which = "all" if all(has_it) else "none"
        figure.reason = f"{which} of the candidates that are replicated have it"
        return figure
    k = sum(settings_of(name)[key] == str(published) for name in scores.idxmax(axis=1))
    low, high = wilson_interval(k, n, rules["level"])
    figure.n_used = n
    figure.choice = {"chosen": k, "n": n, "interval": [low, high]}
    lead = scores.max(axis=1).mean() - scores.loc[:, has_it].max(axis=1).mean()
    how_often = f"chosen by {k} of {n} seeds"
    if low > 0.5:
        figure.verdict, figure.reason = REPRODUCED, how_often
    elif k > 0:
        figure.verdict, figure.reason = TOO_NOISY, how_often
    elif within(lead, rule["tolerance"]):
        figure.verdict = IMMATERIAL
        figure.reason = f"{how_often}; the best with it is {lead:.4f} behind"
    else:
        figure.verdict, figure.reason = NOT_REPRODUCED, how_often
    return figure


def replicates(path: str, rule: Rule, runs: pd.DataFrame) -> "pd.Series[float]":
    """Give the replicates of a figure, one number per seed."""
    if rule["kind"] == "score":
        return search_scores(runs).max(axis=1)
    _, figure, *name = path.split(".")
    return by_seed(runs, rule["part"], "-".join(name), figure)


def by_seed(runs: pd.DataFrame, part: str, name: str, figure: str) -> "pd.Series[float]":
    """Give a figure of all runs of a training, by seed; runs that do not have it are left out."""
    chosen = runs[(runs["part"] == part) & (runs["name"] == name)]
    return chosen.set_index("seed")[figure].dropna()


def search_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Give the cross-validated accuracies, one row per seed and one column per candidate.

    Seeds that lack a candidate are left out.
    """
    search = runs[runs["part"] == "search"]
    return search.pivot_table("val_accuracy", "seed", "name").dropna()


def settings_of(candidate: str) -> dict[str, str]:
    """Take a candidate's name apart: "adam-2e-05-128" by the names in published.yaml."""
    solver, _, rest = candidate.partition("-")
    learning_rate, _, batch_size = rest.rpartition("-")
    return {"solver": solver, "learning_rate_init": learning_rate, "batch_size": batch_size}


def split_modes(
    published: float, values: "pd.Series[float]", rule: Rule, rules: Mapping[str, Any]
) -> tuple[dict[str, Any], "pd.Series[float]"]:
    """Count the runs that collapsed; give those that ended as the printed one did."""
    collapsed = values < rule["collapse_below"]
    as_printed = values[collapsed == (published < rule["collapse_below"])]
    k, n = int(collapsed.sum()), len(values)
    collapse = {
        "collapse_below": rule["collapse_below"],
        "collapsed": k,
        "n": n,
        "interval": list(wilson_interval(k, n, rules["level"])),
        "published_is_in": "collapsed" if published < rule["collapse_below"] else "trained",
    }
    return collapse, as_printed


def variance_beyond_seed(
    path: str, mean: float, rule: Rule, evidence: Evidence
) -> tuple[float, str]:
    """Give the variance of a figure that other images than the study's bring with them.

    Returns
    -------
    float
        Of the difference between a figure of theirs and one of ours.
    str
        What of it is not known, to be said with the verdict.
    """
    redrawn = rule["images"] == "redrawn"
    of_images = variance_of_images(path, mean, rule, evidence) if redrawn else 0.0
    if "split" not in rule:
        return of_images, ""
    _, figure, name = path.split(".")
    splits = evidence.splits[evidence.splits["sweep"] == rule["split"]]
    chosen = by_seed(splits, rule["part"], name, figure)
    if len(chosen) < evidence.rules["min_replicates"]:
        known = "the seed and the images" if redrawn else "the seed"
        return of_images, f"; of {known} alone: what another split changes has not been run"
    # Both of us trained on one of these splits, and where images are redrawn, they are part of it
    return max(of_images, 2 * float(chosen.var(ddof=1))), ""


def variance_of_images(path: str, mean: float, rule: Rule, evidence: Evidence) -> float:
    """Give the variance that comes from evaluating on other images than the study."""
    _, figure, name = path.split(".")
    part = figure.partition("_")[0]
    if part not in evidence.sizes:
        raise ValueError(
            f"{path}: images drawn anew are of {', '.join(evidence.sizes)}, not {part}"
        )
    if figure.endswith("accuracy"):
        variance = mean * (1 - mean)
    else:
        between = by_seed(evidence.runs, rule["part"], name, f"{figure}_sd")
        variance = float((between**2).mean())
    return redraw_variance(variance, evidence.sizes[part], evidence.sizes["full"])


def too_few(n: int, rules: Mapping[str, Any]) -> str:
    """Say why replicates say nothing."""
    return f"too few replicates: {n}, where {rules['min_replicates']} are needed"


def inside(figure: Figure) -> bool:
    """Whether the printed value lies in the interval."""
    assert figure.interval is not None
    low, high = figure.interval
    return bool(low - ROUNDING <= figure.published <= high + ROUNDING)


ROUNDING = 1e-9
"""Far below any printed digit, and above what binary fractions add to decimal ones."""


def within(distance: float, tolerance: float) -> bool:
    """Compare decimals that are not exact in binary."""
    return bool(distance <= tolerance + ROUNDING)


def half_unit(rule: Rule) -> float:
    """Give half a unit of the last printed digit."""
    return float(0.5 * 10.0 ** -rule["decimals"])


def counts(figures: Sequence[Figure]) -> dict[str, dict[str, int]]:
    """Count the verdicts: on "exact" figures, and on those of "trained" models."""
    exact = [figure.verdict for figure in figures if figure.kind == "exact"]
    trained = [figure.verdict for figure in figures if figure.kind != "exact"]
    return {
        kind: {word: verdicts.count(word) for word in VERDICTS}
        for kind, verdicts in (("exact", exact), ("trained", trained))
    }


def coverage(figures: Sequence[Figure], level: float) -> dict[str, float]:
    """Say how many intervals miss the printed value, and how many would if all were true.

    Figures that do not vary at all are left out: their interval cannot miss a true value.
    """
    varying = [f for f in figures if f.interval is not None and f.sd]
    return {
        "n_intervals": len(varying),
        "expected_outside": round((1 - level) * len(varying), 2),
        "outside": sum(not inside(figure) for figure in varying),
    }
