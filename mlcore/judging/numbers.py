"""Which printed numbers hold, by rules.

A printed number is one run of somebody else, or the mean of a few. Runs of ours, with other seeds
or on other data, say where one further run falls; whether it falls there, and how small a
departure that could have shown, is the verdict.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from mlcore.errors import RetraceError
from mlcore.errors.validation import located, unknown
from mlcore.judging.published import SD, Printed
from mlcore.judging.rules import Choice, Exact, Given, Measured, Rules, Trained
from mlcore.judging.statistics import (
    Interval,
    Series,
    Spread,
    departure,
    further_run,
    further_sd,
    half_unit,
    pooled,
    rank,
    spread_of,
    wilson_interval,
    within,
)

KEY = ["name", "seed"]
"""Columns that tell runs apart."""

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
    decimals: int = 15  # digits after the point that are printed
    printed_runs: int = 1  # of which the printed value is the mean
    of_sd: bool = False  # it is the standard deviation of those
    verdict: str = NOT_TESTABLE
    reason: str = "it was not run"
    by_runs: str | None = None  # the verdict by our runs, where the study's own model decides
    tolerance: float | None = None  # the largest difference that would not matter
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
    chosen: int | None = None  # of the search: by how many draws
    values: list[float] = field(default_factory=list)  # of all replicates, by seed

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        return half_unit(self.decimals)


def check_key(runs: pd.DataFrame, source: str) -> None:
    """Raise RetraceError where runs have no name or seed, or one is there twice."""
    for column in KEY:
        if column not in runs:
            raise RetraceError(f"{source}: {unknown('column', column, [*map(str, runs)])}")
    twice = runs[runs.duplicated(KEY)]
    if len(twice):
        name, seed = twice[KEY].iloc[0]
        raise RetraceError(f"{source}: {name} with seed {seed} is there twice")


@dataclass(frozen=True)
class Evidence:
    """What numbers and claims are judged by; raises RetraceError, see `check_key`."""

    rules: Rules
    runs: pd.DataFrame  # a row per run: "name", "seed", metrics, settings of a search's candidates
    scored: Mapping[str, float] = field(default_factory=dict)  # by path: the study's own models
    # Patterns of names that runs may have; if not given, those that they have
    names: Collection[str] = ()

    def __post_init__(self) -> None:
        check_key(self.runs, "the runs")

    def of(self, name: str, metric: str) -> Series:
        """Give a metric of all runs of a name, by seed; empty where runs are still to come.

        Runs that do not have it are left out. Raises RetraceError for an unknown metric or name,
        and a metric that is no number.
        """
        runs = self.runs
        if metric not in runs:
            raise RetraceError(unknown("metric", metric, [*runs.columns.difference(KEY).map(str)]))
        if not self.knows(name):
            raise RetraceError(self.lacks(name))
        here = runs["name"] == name
        values = runs[metric][here].set_axis(runs["seed"][here]).dropna()
        numeric = pd.to_numeric(values, errors="coerce")
        if numeric.isna().any():
            seed, word = next(values[numeric.isna()].items())
            raise RetraceError(f"{metric}={word!r} of {name} with seed {seed} should be a number")
        return numeric

    def knows(self, name: str) -> bool:
        """Say whether runs may have a name."""
        if self.names:
            return any(fnmatchcase(name, known) for known in self.names)
        return bool((self.runs["name"] == name).any())

    def lacks(self, name: str) -> str:
        """Say that no run has a name, and which one is nearest to it."""
        return unknown("run", name, self.names or [*self.runs["name"].unique()])

    @property
    def n_runs(self) -> int:
        """How many runs have a metric: rows of a table that is to be filled in have none."""
        return int(self.runs.drop(columns=KEY).notna().any(axis=1).sum())


def candidates(runs: pd.DataFrame, pattern: str, metric: str) -> pd.DataFrame:
    """Give a metric by seed, with a column for each name that fits a pattern.

    Of the candidates that most seeds have; seeds that lack one of them are left out. Names with a
    comma, of runs that have something otherwise, are left out, too.
    """
    fit = [fnmatchcase(name, pattern) and "," not in name for name in runs["name"]]
    scores = runs[pd.Series(fit, runs.index, dtype=bool)].pivot_table(metric, "seed", "name")
    known = scores.notna().sum()
    return scores.loc[:, known == known.max()].dropna()


def judge(printed: Iterable[Printed], evidence: Evidence) -> list[Number]:
    """Judge every printed number but those that the study starts from.

    Raises RetraceError if no rule fits a number, or its rule fits it badly.
    """
    known = [(one, evidence.rules.rule_for(one.rule_path)) for one in printed]
    runs = {one.path: replicates(one.path, evidence) for one, _ in known if not one.of_sd}
    spreads = spreads_of(runs, evidence.rules)
    return [
        judge_number(one, rule, evidence, spreads.get(one.rule_path))
        for one, rule in known
        if not isinstance(rule, Given)
    ]


def row_of(number: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that fits into one row of a table of a `Number` as a mapping."""
    whole = dict(number)
    del whole["values"]
    low, high = whole.pop("interval") or (None, None)
    return {**whole, "low": low, "high": high}


def judge_number(
    printed: Printed, rule: Exact | Trained | Choice, evidence: Evidence, shared: Spread | None
) -> Number:
    """Judge a number by its rule; `shared` is the spread pooled with that of similar numbers.

    Raises RetraceError for a word in its place.
    """
    path, value, ours = printed.path, printed.value, printed.ours
    if not isinstance(rule, Choice) and not isinstance(value, int | float):
        raise RetraceError(f"published.yaml: {path}={value!r} should be a number")
    told = None if isinstance(rule, Choice) else rule.decimals
    number = Number(
        path,
        rule.kind,
        value,
        ours,
        decimals=printed.decimals if told is None else told,
        printed_runs=printed.runs,
        of_sd=printed.of_sd,
    )
    if isinstance(rule, Trained):
        judged = judge_trained(number, rule, evidence, shared)
        return judge_by_score(judged, evidence.scored.get(path))
    if isinstance(rule, Choice):
        return judge_choice(number, rule, evidence)
    return number if ours is None else judge_exact(number, rule)


def judge_exact(number: Number, rule: Exact) -> Number:
    """Judge a number that has one right value: it should be the same to the printed digits."""
    tolerance, distance = number.half_unit, abs(number.published - number.ours)
    reason = f"the exact value is {number.ours:.6g}"
    if within(distance, tolerance):
        verdict, reason = EXACT, "the same to the digits printed"
    elif within(distance, rule.tolerance):
        tolerance = rule.tolerance
        verdict, reason = IMMATERIAL, f"{reason}: {rule.rounding}"
    else:
        verdict = NOT_REPRODUCED
    return replace(number, verdict=verdict, reason=reason, tolerance=tolerance)


def replicates(path: str, evidence: Evidence, replaced: Mapping[str, str] | None = None) -> Series:
    """Give a metric of the runs behind a number, by seed; empty if its rule is not about runs.

    `replaced` maps parts of the runs' names to others: so one gets the runs of another protocol.
    """
    rule = evidence.rules.rule_for(path)
    if not isinstance(rule, Measured):
        return pd.Series(dtype=float)
    name = renamed(rule.runs_of(path), replaced or {})
    if rule.of_several:
        scores = candidates(evidence.runs, name, rule.metric)
        return scores.max(axis=1) if rule.better == "higher" else scores.min(axis=1)
    if not evidence.names and not evidence.knows(name):
        return pd.Series(dtype=float)  # the runs of a folder come one by one
    with located(path):
        return evidence.of(name, rule.metric)


def renamed(name: str, replaced: Mapping[str, str]) -> str:
    """Name the runs of a protocol in place of others."""
    part = next((part for part in replaced if part in name), "")
    return name.replace(part, replaced[part]) if part else name


def spreads_of(runs: Mapping[str, Series], rules: Rules) -> dict[str, Spread]:
    """Pool the spread of the numbers of each rule that says so, where Bartlett's test allows.

    `runs` are the replicates of each number, by its path.
    """
    together: dict[str, list[str]] = {}
    for path in runs:
        rule = rules.rule_for(path)
        if isinstance(rule, Trained) and rule.spread == "pooled":
            together.setdefault(rule.match, []).append(path)
    spreads: dict[str, Spread] = {}
    for group in together.values():
        shared = pooled([runs[path] for path in group if len(runs[path])], rules.level)
        if shared is not None:
            spreads |= dict.fromkeys(group, shared)
    return spreads


def judge_by_score(number: Number, scored: float | None) -> Number:
    """Let the study's own model decide, if there is one, on a number judged by our runs."""
    if scored is None:
        return number
    verdict, digits, rest = NOT_REPRODUCED, number.decimals + 2, ""
    if within(abs(scored - number.published), number.half_unit):
        verdict, digits = EXACT, number.decimals
        rest = f"; our runs: {number.verdict}, {number.reason}"
    reason = f"the study's own network gives {scored:.{digits}f} on our images{rest}"
    return replace(number, verdict=verdict, by_runs=number.verdict, reason=reason)


def judge_trained(
    number: Number, rule: Trained, evidence: Evidence, shared: Spread | None
) -> Number:
    """Judge a number that varies from run to run, or the standard deviation printed beside it."""
    rules = evidence.rules
    path = number.path.removesuffix(SD) if number.of_sd else number.path
    values = replicates(path, evidence)
    number = replace(number, n=len(values))
    if not number.of_sd:
        tolerance = rule.tolerance_for(number.published)
        number = replace(number, tolerance=tolerance, values=values.tolist())
    if number.n < rules.min_replicates:
        name = rule.runs_of(path)
        known = rule.of_several or evidence.knows(name)
        return replace(number, reason=too_few(number.n, rules) if known else evidence.lacks(name))
    if number.of_sd:
        return judge_sd(number, values, shared, rules.level)
    return judge_by_runs(number, rule, values, shared, rules.level)


def judge_by_runs(
    number: Number, rule: Trained, values: Series, shared: Spread | None, level: float
) -> Number:
    """Judge a number of which there are runs enough."""
    published, k, own = number.published, number.printed_runs, spread_of(values)
    mean, low, high = map(float, (values.mean(), values.min(), values.max()))
    number = replace(
        number,
        mean=mean,
        sd=own.sd,
        lowest=low,
        highest=high,
        rank=rank(values, published, number.decimals) if k == 1 else None,
        spread="own" if rule.spread == "pooled" and not shared else rule.spread,
    )
    if rule.spread in ("mode", "range") and k > 1:
        raise RetraceError(f"{number.path}: spread={rule.spread} is not for means of runs; own is")
    if rule.spread == "mode":
        return by_mode(number, values, level)
    if rule.spread != "range":
        low, high = further_run(values, shared or own, level, k)
        z, p = departure(published, values, shared or own, number.half_unit, k)
        number = replace(number, z=z, p=p)
    interval = Interval(low - number.half_unit, high + number.half_unit)
    return by_interval(number, mean, interval)


def judge_sd(number: Number, values: Series, shared: Spread | None, level: float) -> Number:
    """Judge the standard deviation that is printed beside a mean of several runs."""
    own = spread_of(values)
    low, high = further_sd(shared or own, number.printed_runs, level)
    interval = Interval(max(0.0, low - number.half_unit), high + number.half_unit)
    inside = interval.holds(number.published)
    return replace(
        number,
        verdict=CONSISTENT if inside else NOT_REPRODUCED,
        reason=f"{'in' if inside else 'out'}side {_written(interval, max(4, number.decimals))}",
        sd=own.sd,
        interval=interval,
        spread="pooled" if shared else "own",
    )


def by_mode(number: Number, values: Series, level: float) -> Number:
    """Judge a number that is one value in nearly all runs by how many runs give that value."""
    rounded = values.round(number.decimals)
    mode = float(rounded.mode()[0])
    same = int((abs(rounded - number.published) <= number.half_unit).sum())
    share = wilson_interval(same, len(values), level)
    verdict = by_share(same, share, abs(mode - number.published), number.tolerance or 0.0)
    reason = f"{same} of {len(values)} runs give {number.published}"
    if verdict == NOT_REPRODUCED:
        reason += f"; most give {mode}"
    return replace(number, verdict=verdict, reason=reason)


def by_share(same: int, share: Interval, distance: float, tolerance: float) -> str:
    """Give the verdict by how many runs are as printed, their share, and how far off the others."""
    if share.low > 0.5:
        return REPRODUCED
    if same:
        return CONSISTENT
    return IMMATERIAL if within(distance, tolerance) else NOT_REPRODUCED


def by_interval(number: Number, mean: float, interval: Interval) -> Number:
    """Judge a number by the interval of a further run, or mean of runs, and our runs' mean."""
    published, k, tolerance = number.published, number.printed_runs, number.tolerance or 0.0
    half, distance = (interval.high - interval.low) / 2, abs(published - mean)
    digits = min(max(4, number.decimals), 8)
    where = _written(interval, digits)
    if interval.holds(published):
        verdict, reason = REPRODUCED, f"inside {where}"
        if not within(half, tolerance):
            those = "one printed run" if k == 1 else f"the mean of {k} printed runs"
            verdict = CONSISTENT
            reason += f"; {those} could have shown a departure of {half:.{digits}f}"
    elif within(distance, tolerance):
        verdict = IMMATERIAL
        reason = f"outside {where}, but within {tolerance:.4g} of the mean"
    else:
        verdict = NOT_REPRODUCED
        reason = f"outside {where}, and {distance:.{digits}f} from the mean"
        small, large = sorted((abs(published), abs(mean)))
        if small <= 1 < large and 50 < large / (small or 1) < 200:
            reason += f", {mean:g}: is one of them in per cent?"
    return replace(number, verdict=verdict, reason=reason, interval=interval, resolution=half)


def _written(interval: Interval, digits: int) -> str:
    return f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def judge_choice(number: Number, rule: Choice, evidence: Evidence) -> Number:
    """Judge a setting that the search chose, by how many draws of the images choose it too."""
    rules, scores = evidence.rules, candidates(evidence.runs, rule.runs, rule.metric)
    scores = scores if rule.better == "higher" else -scores
    number = replace(number, tolerance=rule.tolerance, n=len(scores))
    if number.n < rules.min_replicates:
        return replace(number, reason=too_few(number.n, rules))
    setting = number.path.rpartition(".")[2]
    if setting not in evidence.runs:
        raise RetraceError(unknown("setting", setting, [*map(str, evidence.runs)]))
    settings = evidence.runs.drop_duplicates("name").set_index("name")[setting]
    has_it = (settings[scores.columns] == number.published).to_numpy()
    if has_it.all() or not has_it.any():
        which = "all" if has_it.all() else "none"
        return replace(number, reason=f"{which} of the candidates that are replicated have it")
    chosen = int(has_it[scores.to_numpy().argmax(axis=1)].sum())
    interval = wilson_interval(chosen, len(scores), rules.level)
    lead = scores.max(axis=1).mean() - scores.loc[:, has_it].max(axis=1).mean()
    verdict = by_share(chosen, interval, lead, rule.tolerance)
    reason = f"chosen by {chosen} of {len(scores)} draws"
    if verdict == IMMATERIAL:
        reason += f"; the best with it is {lead:.4f} behind"
    return replace(number, verdict=verdict, reason=reason, chosen=chosen)


def too_few(n: int, rules: Rules) -> str:
    """Say why replicates say nothing."""
    return f"too few replicates: {n}, where {rules.min_replicates} are needed"


def counts(numbers: Sequence[Number]) -> dict[str, dict[str, int]]:
    """Count the verdicts on "arithmetic" and on "trained" models."""
    found = {
        "arithmetic": [number.verdict for number in numbers if number.kind == "exact"],
        "trained": [number.verdict for number in numbers if number.kind != "exact"],
    }
    return {of: {word: words.count(word) for word in VERDICTS} for of, words in found.items()}


def coverage(numbers: Sequence[Number], level: float) -> dict[str, float]:
    """Say how many intervals miss the printed value, and how many would if all were true.

    Of the intervals by a standard deviation; numbers that do not vary at all are left out.
    """
    judged = [n for n in numbers if n.interval and (n.p is not None or n.of_sd)]
    inside = [n.interval.holds(n.published) for n in judged if n.interval]
    return {
        "n_intervals": len(inside),
        "expected_outside": round((1 - level) * len(inside), 2),
        "outside": inside.count(False),
    }
