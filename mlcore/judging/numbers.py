"""Which of the study's numbers hold, by the rules in metrics/rules.yaml.

A printed number is one run of somebody else. Runs of ours with other seeds say where one further
run falls; whether it falls there, and whether that says anything, is the verdict.
"""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from mlcore.errors import RetraceError
from mlcore.judging.rules import Choice, Exact, Given, Rules, Score, Trained
from mlcore.judging.statistics import (
    Interval,
    Series,
    prediction_interval,
    rank,
    redraw_variance,
    wilson_interval,
    within,
)

REPRODUCED = "reproduced"
TOO_NOISY = "compatible, too noisy to tell"
IMMATERIAL = "differs, immaterially"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable"
VERDICTS = (REPRODUCED, TOO_NOISY, IMMATERIAL, NOT_REPRODUCED, NOT_TESTABLE)


@dataclass(frozen=True)
class Number:
    """One printed number and what is known about it."""

    path: str  # in published.yaml, such as "mnist_grid.test_accuracy.tanh.normal"
    kind: str  # of its rule
    published: Any  # float or str
    ours: Any  # of the pipeline's run; None if it did not run
    verdict: str  # one of `VERDICTS`
    reason: str  # for the verdict, in one sentence
    tolerance: float | None = None  # largest difference that would not matter, in its unit
    difference: float | None = None  # ours less the printed value
    n: int = 0  # replicates
    n_used: int = 0  # where runs can collapse, those that ended as the printed one did
    # Of those used
    mean: float | None = None
    sd: float | None = None
    lowest: float | None = None
    highest: float | None = None
    interval: Interval | None = None  # for one further run, the last digit's half unit included
    rank: str | None = None  # of the printed value among the replicates, see `statistics.rank`
    ours_inside: bool | None = None  # whether our run lies in the interval for a run of ours
    ours_better: bool = False  # than the printed one, which then lies outside the interval
    # How many runs collapsed, Wilson's interval of their share, and whether the printed one did
    collapse: dict[str, Any] | None = None
    # For what the search chose: by how many seeds, and Wilson's interval of their share
    choice: dict[str, Any] | None = None
    values: list[float] = field(default_factory=list)  # of all replicates, by seed

    def as_row(self) -> dict[str, Any]:
        """Give all of it that fits into one row of a table."""
        whole = asdict(self)
        low, high = whole.pop("interval") or (None, None)
        collapse, choice, _ = (whole.pop(name) for name in ("collapse", "choice", "values"))
        return {
            **whole,
            "low": low,
            "high": high,
            "collapsed": collapse and collapse["collapsed"],
            "chosen": choice and choice["chosen"],
        }


@dataclass(frozen=True)
class Evidence:
    """What numbers are judged by."""

    rules: Rules
    runs: pd.DataFrame  # one row per replicate: "part", "name", "seed" and its final metrics
    splits: pd.DataFrame  # the same of trainings on other splits of the data, and their "sweep"
    sizes: Mapping[str, int]  # images of Fashion-MNIST: "full", and its parts "train" and "val"


def numbers_of(summary: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give path, printed value and ours of every number in what `study.compare` made.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    if isinstance(summary, Mapping) and set(summary) == {"ours", "published"}:
        yield path, summary["published"], summary["ours"]
    elif isinstance(summary, Mapping):
        for key, value in summary.items():
            yield from numbers_of(value, f"{path}.{key}".lstrip("."))
    elif isinstance(summary, list):
        for place, value in enumerate(summary):
            yield from numbers_of(value, f"{path}[{place}]")
    else:
        raise ValueError(f"{path or 'the summary'} holds {summary!r}, not ours and published")


def judge(summary: Any, evidence: Evidence) -> list[Number]:
    """Judge every printed number but those that the study starts from.

    Parameters
    ----------
    summary : nested mappings
        What `study.compare` made.
    evidence : Evidence

    Raises
    ------
    RetraceError
        If no rule fits a number, or its rule asks for what is not known.
    ValueError
        If one of a pair is a number and the other is not.
    """
    verdicts = []
    for path, published, ours in numbers_of(summary):
        rule = evidence.rules.rule_for(path)
        if isinstance(rule, Given):
            continue
        numeric = isinstance(published, int | float), isinstance(ours, int | float)
        if ours is not None and numeric[0] != numeric[1]:
            raise ValueError(f"{path}: ours is {ours!r}, published {published!r}")
        if ours is None:
            number = Number(path, rule.kind, published, ours, NOT_TESTABLE, "it was not run")
        elif isinstance(rule, Exact):
            number = judge_exact(path, published, ours, rule)
        elif isinstance(rule, Choice):
            number = judge_choice(path, published, ours, rule, evidence)
        else:
            number = judge_trained(path, published, ours, rule, evidence)
        verdicts.append(number)
    return verdicts


def judge_exact(path: str, published: float, ours: float, rule: Exact) -> Number:
    """Judge a number that has one right value: it should be the same to the printed digits."""
    tolerance, distance = rule.half_unit, abs(published - ours)
    if within(distance, tolerance):
        verdict, reason = REPRODUCED, "the same to the digits printed"
    elif within(distance, rule.tolerance):
        tolerance = rule.tolerance
        verdict, reason = IMMATERIAL, f"the exact value is {ours:.6g}: {rule.rounding}"
    else:
        verdict, reason = NOT_REPRODUCED, f"the exact value is {ours:.6g}"
    return Number(path, rule.kind, published, ours, verdict, reason, tolerance, ours - published)


def judge_trained(
    path: str, published: float, ours: float, rule: Trained | Score, evidence: Evidence
) -> Number:
    """Judge a number that varies from run to run, by runs with other seeds."""
    rules = evidence.rules
    everything = replicates(path, rule, evidence.runs)
    collapse, values = split_modes(published, everything, rule, rules.level)
    tolerance = rule.tolerance_for(published)
    number = Number(path, rule.kind, published, ours, NOT_TESTABLE, too_few(everything, rules),
                    tolerance, ours - published, len(everything), len(values),
                    collapse=collapse, values=everything.tolist())  # fmt: skip
    if number.n < rules.min_replicates:
        return number
    number = replace(number, rank=rank(everything, published, rule.decimals))
    if number.n_used < rules.min_replicates:
        verdict = TOO_NOISY if number.n_used else NOT_REPRODUCED
        reason = f"{number.n_used} of {number.n} runs ended as the printed one did"
        return replace(number, verdict=verdict, reason=reason)
    mean = float(values.mean())
    variance, unknown = variance_beyond_seed(path, mean, rule, evidence)
    interval = further_run(values, rules.level, variance, rule.half_unit)
    verdict, reason = compare_with_interval(published, mean, interval, tolerance)
    ahead = (mean - published) * (1 if rule.better == "higher" else -1)
    return replace(
        number,
        verdict=verdict,
        reason=reason + unknown,
        mean=mean,
        sd=float(values.std(ddof=1)) if values.nunique() > 1 else 0.0,
        lowest=float(values.min()),
        highest=float(values.max()),
        interval=interval,
        ours_inside=further_run(values, rules.level).holds(ours),
        ours_better=not interval.holds(published) and ahead > 0,
    )


def further_run(
    values: Series, level: float, variance: float = 0.0, half_unit: float = 0.0
) -> Interval:
    """Give the interval for one further run, wider by a variance and, at each end, a half unit."""
    low, high = prediction_interval(values.tolist(), level, variance)
    return Interval(low - half_unit, high + half_unit)


def compare_with_interval(
    published: float, mean: float, interval: Interval, tolerance: float
) -> tuple[str, str]:
    """Give the verdict on a number with replicates enough, and the reason."""
    low, high = interval
    half, distance = (high - low) / 2, abs(published - mean)
    where = f"[{low:.4f}, {high:.4f}]"
    if interval.holds(published):
        if within(half, tolerance):
            return REPRODUCED, f"inside {where}"
        return TOO_NOISY, (
            f"inside {where}, whose half-width {half:.4f} is above the tolerance of {tolerance:.4g}"
        )
    if within(distance, tolerance):
        return IMMATERIAL, f"outside {where}, but within {tolerance:.4g} of the mean"
    return NOT_REPRODUCED, f"outside {where}, and {distance:.4f} from the mean"


def judge_choice(path: str, published: Any, ours: Any, rule: Choice, evidence: Evidence) -> Number:
    """Judge a setting that the search chose, by how many seeds choose it too."""
    rules, scores = evidence.rules, search_scores(evidence.runs)
    difference = ours - published if isinstance(ours, int | float) else None
    number = Number(path, rule.kind, published, ours, NOT_TESTABLE, too_few(scores, rules),
                    rule.tolerance, difference, n=len(scores))  # fmt: skip
    if number.n < rules.min_replicates:
        return number
    has_it = scores.columns.get_level_values(path.rpartition(".")[2]) == published
    if has_it.all() or not has_it.any():
        which = "all" if has_it.all() else "none"
        return replace(number, reason=f"{which} of the candidates that are replicated have it")
    chosen = int(has_it[scores.to_numpy().argmax(axis=1)].sum())
    interval = wilson_interval(chosen, len(scores), rules.level)
    verdict, reason = NOT_REPRODUCED, f"chosen by {chosen} of {len(scores)} seeds"
    lead = scores.max(axis=1).mean() - scores.loc[:, has_it].max(axis=1).mean()
    if interval.low > 0.5:
        verdict = REPRODUCED
    elif chosen:
        verdict = TOO_NOISY
    elif within(lead, rule.tolerance):
        verdict, reason = IMMATERIAL, f"{reason}; the best with it is {lead:.4f} behind"
    choice = {"chosen": chosen, "n": len(scores), "interval": list(interval)}
    return replace(number, verdict=verdict, reason=reason, n_used=len(scores), choice=choice)


def replicates(path: str, rule: Trained | Score, runs: pd.DataFrame) -> Series:
    """Give the replicates of a number, one value per seed."""
    if isinstance(rule, Score):
        return search_scores(runs).max(axis=1)
    metric, name = metric_and_name(path)
    return by_seed(runs, rule.part, name, metric)


def metric_and_name(path: str) -> tuple[str, str]:
    """Take apart a path of a training's number, whatever the parts of its name."""
    _, metric, *name = path.split(".")
    return metric, "-".join(name)


def by_seed(runs: pd.DataFrame, part: str, name: str, metric: str) -> Series:
    """Give a metric of all runs of a training, by seed; runs that do not have it are left out."""
    chosen = runs[(runs["part"] == part) & (runs["name"] == name)]
    return chosen.set_index("seed")[metric].dropna()


class Candidate(NamedTuple):
    """Settings that the search tries, by their names in published.yaml."""

    solver: str
    learning_rate_init: float
    batch_size: int

    def __str__(self) -> str:
        return "-".join(map(str, self))


CANDIDATE = r"(?P<solver>[^-]+)-(?P<learning_rate_init>.+)-(?P<batch_size>\d+)"
"""The name of a candidate in the table of replicates, such as "adam-2e-05-128"."""


def search_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Give the cross-validated accuracies by seed, with the fields of `Candidate` as columns.

    Seeds that lack a candidate are left out.
    """
    search = runs[runs["part"] == "search"]
    settings = search["name"].astype(str).str.extract(CANDIDATE).dropna()
    typed = settings.astype({"learning_rate_init": float, "batch_size": int})
    table = search[["seed", "val_accuracy"]].join(typed, how="inner")
    return table.pivot_table("val_accuracy", "seed", list(Candidate._fields)).dropna()


def split_modes(
    published: float, values: Series, rule: Trained | Score, level: float
) -> tuple[dict[str, Any] | None, Series]:
    """Count the runs that collapsed; give those that ended as the printed one did."""
    if rule.collapse_below is None or not len(values):
        return None, values
    collapsed, as_printed = values < rule.collapse_below, published < rule.collapse_below
    k, n = int(collapsed.sum()), len(values)
    collapse = {
        "collapse_below": rule.collapse_below,
        "collapsed": k,
        "n": n,
        "interval": list(wilson_interval(k, n, level)),
        "published_is_in": "collapsed" if as_printed else "trained",
    }
    return collapse, values[collapsed == as_printed]


def variance_beyond_seed(
    path: str, mean: float, rule: Trained | Score, evidence: Evidence
) -> tuple[float, str]:
    """Give the variance of a number that other images than the study's bring with them.

    Returns
    -------
    float
        Of the difference between a number of theirs and one of ours.
    str
        What of it is not known, to be said with the verdict.
    """
    redrawn = rule.images == "redrawn"
    of_images = variance_of_images(path, mean, rule, evidence) if redrawn else 0.0
    if rule.split is None:
        return of_images, ""
    metric, name = metric_and_name(path)
    splits = evidence.splits[evidence.splits["sweep"] == rule.split]
    chosen = by_seed(splits, rule.part, name, metric)
    if len(chosen) < evidence.rules.min_replicates:
        known = "the seed and the images" if redrawn else "the seed"
        return of_images, f"; of {known} alone: what another split changes has not been run"
    # Both of us trained on one of these splits, and where images are redrawn, they are part of it
    return max(of_images, 2 * float(chosen.var(ddof=1))), ""


def variance_of_images(path: str, mean: float, rule: Trained | Score, evidence: Evidence) -> float:
    """Give the variance that comes from evaluating on other images than the study."""
    metric, name = metric_and_name(path)
    part = metric.partition("_")[0]
    if part not in evidence.sizes:
        sizes = ", ".join(evidence.sizes)
        raise RetraceError(
            f"metrics/rules.yaml: {path}: images drawn anew are of {sizes}, not {part}"
        )
    if metric.endswith("accuracy"):
        variance = mean * (1 - mean)
    else:
        between = by_seed(evidence.runs, rule.part, name, f"{metric}_sd")
        variance = float((between**2).mean())
    return redraw_variance(variance, evidence.sizes[part], evidence.sizes["full"])


def too_few(seeds: Sized, rules: Rules) -> str:
    """Say why replicates say nothing."""
    return f"too few replicates: {len(seeds)}, where {rules.min_replicates} are needed"


def counts(numbers: Sequence[Number]) -> dict[str, dict[str, int]]:
    """Count the verdicts: on "exact" numbers, and on those of "trained" models."""
    exact = [number.verdict for number in numbers if number.kind == "exact"]
    trained = [number.verdict for number in numbers if number.kind != "exact"]
    return {
        kind: {word: verdicts.count(word) for word in VERDICTS}
        for kind, verdicts in (("exact", exact), ("trained", trained))
    }


def coverage(numbers: Sequence[Number], level: float) -> dict[str, float]:
    """Say how many intervals miss the printed value, and how many would if all were true.

    Numbers that do not vary at all are left out: their interval cannot miss a true value.
    """
    inside = [n.interval.holds(n.published) for n in numbers if n.interval and n.sd]
    return {
        "n_intervals": len(inside),
        "expected_outside": round((1 - level) * len(inside), 2),
        "outside": inside.count(False),
    }
