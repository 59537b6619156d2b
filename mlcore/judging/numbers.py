"""Which of the study's numbers hold, by the rules in metrics/rules.yaml.

A printed number is one run of somebody else. Runs of ours, with other seeds or on other images,
say where one further run falls; whether it falls there, and how small a departure that could have
shown, is the verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from mlcore.judging.parts import group_of
from mlcore.judging.rules import Choice, Exact, Given, Rule, Rules, Trained
from mlcore.judging.statistics import (
    Interval,
    Series,
    Spread,
    departure,
    further_run,
    pooled,
    rank,
    spread_of,
    wilson_interval,
    within,
)

EXACT = "exact"
REPRODUCED = "reproduced"
CONSISTENT = "consistent"
IMMATERIAL = "differs, immaterially"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable"
VERDICTS = (EXACT, REPRODUCED, CONSISTENT, IMMATERIAL, NOT_REPRODUCED, NOT_TESTABLE)


@dataclass(frozen=True)
class Number:
    """One printed number and what is known about it."""

    path: str  # in published.yaml, such as "mnist_grid.test_accuracy.tanh.normal"
    kind: str  # of its rule
    published: Any
    ours: Any  # of the pipeline's run; None if it did not run
    verdict: str = NOT_TESTABLE
    reason: str = "it was not run"
    by_runs: str | None = None  # the verdict by our runs, where the study's own network decides
    tolerance: float | None = None  # the largest difference that would not matter
    difference: float | None = None  # ours less the printed value
    n: int = 0  # replicates
    mean: float | None = None  # of the replicates, as are the three below
    sd: float | None = None
    lowest: float | None = None
    highest: float | None = None
    interval: Interval | None = None  # for one further run, half a unit of the last digit included
    resolution: float | None = None  # half of it: the smallest departure that one run could show
    z: float | None = None  # by how many standard errors the printed value departs from the mean
    p: float | None = None  # of z, two-sided
    rank: str | None = None  # of the printed value among the replicates, see `statistics.rank`
    spread: str | None = None  # what the interval is taken from: "own", "pooled", "range", "mode"
    choice: dict[str, Any] | None = None  # of the search: by how many draws, and Wilson's interval
    values: list[float] = field(default_factory=list)  # of all replicates, by seed

    def as_row(self) -> dict[str, Any]:
        """Give all of it that fits into one row of a table."""
        whole = asdict(self)
        low, high = whole.pop("interval") or (None, None)
        choice, _ = (whole.pop(name) for name in ("choice", "values"))
        return {**whole, "low": low, "high": high, "chosen": choice and choice["chosen"]}


@dataclass(frozen=True)
class Evidence:
    """What numbers and claims are judged by."""

    rules: Rules
    runs: pd.DataFrame  # a row per replicate: "part", "name", "seed", metrics, measures of curves
    scored: Mapping[str, float] = field(default_factory=dict)  # by path: the study's own networks
    # Final metrics of trainings with other parameters, and their "overrides"
    alternatives: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["part", "name", "seed", "overrides"])
    )


def numbers_of(summary: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give path, printed value and ours of every number in what `study.compare` made.

    Raises ValueError if it holds something else.
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
    """Judge every number of what `study.compare` made but those that the study starts from.

    Raises RetraceError if no rule fits a number, ValueError if one of a pair is a number and the
    other is not.
    """
    found = list(numbers_of(summary))
    spreads = spreads_of([path for path, *_ in found], evidence)
    rules = [evidence.rules.rule_for(path) for path, *_ in found]
    return [
        judge_number(number_of(*of, rule), rule, evidence, spreads.get(of[0]))
        for of, rule in zip(found, rules, strict=True)
        if not isinstance(rule, Given)
    ]


def number_of(path: str, published: Any, ours: Any, rule: Rule) -> Number:
    """Give a number that is not judged yet."""
    numeric = isinstance(published, int | float), isinstance(ours, int | float)
    if ours is not None and numeric[0] != numeric[1]:
        raise ValueError(f"{path}: ours is {ours!r}, published {published!r}")
    difference = ours - published if numeric[1] else None
    return Number(path, rule.kind, published, ours, difference=difference)


def judge_number(
    number: Number, rule: Rule, evidence: Evidence, shared: Spread | None = None
) -> Number:
    """Judge a number by its rule; `shared` is the spread pooled with that of similar numbers."""
    if isinstance(rule, Trained):
        judged = judge_by_runs(number, rule, evidence, shared)
        return judge_by_score(judged, rule, evidence.scored.get(number.path))
    if number.ours is None:
        return number
    if isinstance(rule, Choice):
        return judge_choice(number, rule, evidence)
    assert isinstance(rule, Exact)
    return judge_exact(number, rule)


def judge_exact(number: Number, rule: Exact) -> Number:
    """Judge a number that has one right value: it should be the same to the printed digits."""
    tolerance, distance = rule.half_unit, abs(number.published - number.ours)
    reason = f"the exact value is {number.ours:.6g}"
    if within(distance, tolerance):
        verdict, reason = EXACT, "the same to the digits printed"
    elif within(distance, rule.tolerance):
        tolerance = rule.tolerance
        verdict, reason = IMMATERIAL, f"{reason}: {rule.rounding}"
    else:
        verdict = NOT_REPRODUCED
    return replace(number, verdict=verdict, reason=reason, tolerance=tolerance)


def replicates(path: str, runs: pd.DataFrame) -> Series:
    """Give the replicates of a number, one value per seed; none where no training has it."""
    group = group_of(path)
    if group is None:
        return pd.Series(dtype=float)
    if group.part == "search":
        return search_scores(runs).max(axis=1)
    return by_seed(runs, group.part, group.training(path), path.split(".")[1])


def spreads_of(paths: Sequence[str], evidence: Evidence) -> dict[str, Spread]:
    """Pool the spread of the numbers of each rule that says so, where Bartlett's test allows."""
    together: dict[str, list[str]] = {}
    for path in paths:
        rule = evidence.rules.rule_for(path)
        if isinstance(rule, Trained) and rule.spread == "pooled":
            together.setdefault(rule.match, []).append(path)
    spreads: dict[str, Spread] = {}
    for group in together.values():
        runs = [replicates(path, evidence.runs) for path in group]
        shared = pooled([values for values in runs if len(values)], evidence.rules.level)
        if shared is not None:
            spreads |= dict.fromkeys(group, shared)
    return spreads


def judge_by_score(number: Number, rule: Trained, scored: float | None) -> Number:
    """Let the study's own network decide, if there is one, on a number judged by our runs."""
    if scored is None:
        return number
    verdict, digits, rest = NOT_REPRODUCED, rule.decimals + 2, ""
    if within(abs(scored - number.published), rule.half_unit):
        verdict, digits = EXACT, rule.decimals
        rest = f"; our runs: {number.verdict}, {number.reason}"
    reason = f"the study's own network gives {scored:.{digits}f} on our images{rest}"
    return replace(number, verdict=verdict, by_runs=number.verdict, reason=reason)


def judge_by_runs(
    number: Number, rule: Trained, evidence: Evidence, shared: Spread | None
) -> Number:
    """Judge a number that varies from run to run."""
    published, rules = number.published, evidence.rules
    values = replicates(number.path, evidence.runs)
    tolerance, n = rule.tolerance_for(published), len(values)
    number = replace(number, tolerance=tolerance, n=n, values=values.tolist())
    if n < rules.min_replicates:
        return replace(number, reason=too_few(n, rules))
    own, mean = spread_of(values), float(values.mean())
    low, high = float(values.min()), float(values.max())
    number = replace(
        number,
        mean=mean,
        sd=own.sd,
        lowest=low,
        highest=high,
        rank=rank(values, published, rule.decimals),
        spread="own" if rule.spread == "pooled" and not shared else rule.spread,
    )
    if rule.spread == "mode":
        return by_mode(number, values, rule, rules.level)
    if rule.spread != "range":
        low, high = further_run(values, shared or own, rules.level)
        z, p = departure(published, values, shared or own)
        number = replace(number, z=z, p=p)
    interval = Interval(low - rule.half_unit, high + rule.half_unit)
    verdict, reason = compare_with_interval(published, mean, interval, tolerance)
    half = (interval.high - interval.low) / 2
    return replace(number, verdict=verdict, reason=reason, interval=interval, resolution=half)


def by_mode(number: Number, values: Series, rule: Trained, level: float) -> Number:
    """Judge a number that is one value in nearly all runs by how many runs give that value."""
    rounded = values.round(rule.decimals)
    mode = float(rounded.mode()[0])
    same = int((abs(rounded - number.published) <= rule.half_unit).sum())
    share = wilson_interval(same, len(values), level)
    reason = f"{same} of {len(values)} runs give {number.published}"
    if share.low > 0.5:
        verdict = REPRODUCED
    elif same:
        verdict = CONSISTENT
    elif within(abs(mode - number.published), number.tolerance or 0.0):
        verdict = IMMATERIAL
    else:
        verdict, reason = NOT_REPRODUCED, f"{reason}; most give {mode}"
    return replace(number, verdict=verdict, reason=reason)


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
        return CONSISTENT, (
            f"inside {where}; one printed run could have shown a departure of {half:.4f}"
        )
    if within(distance, tolerance):
        return IMMATERIAL, f"outside {where}, but within {tolerance:.4g} of the mean"
    return NOT_REPRODUCED, f"outside {where}, and {distance:.4f} from the mean"


def judge_choice(number: Number, rule: Choice, evidence: Evidence) -> Number:
    """Judge a setting that the search chose, by how many draws of the images choose it too."""
    rules, scores = evidence.rules, search_scores(evidence.runs)
    number = replace(number, tolerance=rule.tolerance, n=len(scores))
    if number.n < rules.min_replicates:
        return replace(number, reason=too_few(number.n, rules))
    has_it = scores.columns.get_level_values(number.path.rpartition(".")[2]) == number.published
    if has_it.all() or not has_it.any():
        which = "all" if has_it.all() else "none"
        return replace(number, reason=f"{which} of the candidates that are replicated have it")
    chosen = int(has_it[scores.to_numpy().argmax(axis=1)].sum())
    interval = wilson_interval(chosen, len(scores), rules.level)
    verdict, reason = NOT_REPRODUCED, f"chosen by {chosen} of {len(scores)} draws"
    lead = scores.max(axis=1).mean() - scores.loc[:, has_it].max(axis=1).mean()
    if interval.low > 0.5:
        verdict = REPRODUCED
    elif chosen:
        verdict = CONSISTENT
    elif within(lead, rule.tolerance):
        verdict, reason = IMMATERIAL, f"{reason}; the best with it is {lead:.4f} behind"
    choice = {"chosen": chosen, "n": len(scores), "interval": list(interval)}
    return replace(number, verdict=verdict, reason=reason, choice=choice)


def by_seed(runs: pd.DataFrame, part: str, name: str, metric: str) -> Series:
    """Give a metric of all runs of a training, by seed; runs that do not have it are left out."""
    chosen = runs[(runs["part"] == part) & (runs["name"] == name)]
    return chosen.set_index("seed")[metric].dropna()


CANDIDATE = r"(?P<solver>[^-]+)-(?P<learning_rate_init>.+)-(?P<batch_size>\d+)"
"""The name of a candidate in the table of replicates, such as "adam-2e-05-128"; its settings go by
their names in published.yaml."""


def search_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Give the cross-validated accuracies by draw, with the settings of `CANDIDATE` as columns.

    Of the candidates that most draws have; draws that lack one of them are left out.
    """
    search = runs[runs["part"] == "search"]
    settings = search["name"].astype(str).str.extract(CANDIDATE).dropna()
    typed = settings.astype({"learning_rate_init": float, "batch_size": int})
    table = search[["seed", "val_accuracy"]].join(typed, how="inner")
    scores = table.pivot_table("val_accuracy", "seed", list(typed))
    known = scores.notna().sum()
    return scores.loc[:, known == known.max()].dropna()


def too_few(n: int, rules: Rules) -> str:
    """Say why replicates say nothing."""
    return f"too few replicates: {n}, where {rules.min_replicates} are needed"


def counts(numbers: Sequence[Number]) -> dict[str, dict[str, int]]:
    """Count the verdicts on "arithmetic", on "trained" models, and on these "by_runs" alone."""
    trained = [number for number in numbers if number.kind != "exact"]
    found = {
        "arithmetic": [number.verdict for number in numbers if number.kind == "exact"],
        "trained": [number.verdict for number in trained],
        "by_runs": [number.by_runs or number.verdict for number in trained],
    }
    return {of: {word: words.count(word) for word in VERDICTS} for of, words in found.items()}


def coverage(numbers: Sequence[Number], level: float) -> dict[str, float]:
    """Say how many intervals miss the printed value, and how many would if all were true.

    Of the intervals by a standard deviation; numbers that do not vary at all are left out.
    """
    inside = [n.interval.holds(n.published) for n in numbers if n.interval and n.p is not None]
    return {
        "n_intervals": len(inside),
        "expected_outside": round((1 - level) * len(inside), 2),
        "outside": inside.count(False),
    }
