"""Which claims hold: statements about runs, written as text in a file claims.yaml.

A statement compares two quantities, or one with a number. A quantity is a metric of the runs of one
name, with one value per seed; docs/judging.md has the form.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from mlcore.errors import RetraceError
from mlcore.errors.validation import Section, checked, located, nearest, unknown
from mlcore.files import read_yaml
from mlcore.judging.numbers import NOT_REPRODUCED, NOT_TESTABLE, VERDICTS, Evidence
from mlcore.judging.statistics import Interval, Series, mean_interval

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
GIVEN, OPINION = "given", "not testable"
WORDS_OF_CLAIMS = (SUPPORTED, REFUTED, UNDECIDED, *VERDICTS, GIVEN)

MIN_RUNS = 3
"""With fewer runs nothing is said of a statement."""


class Variant(Section):
    """Another threshold or measure that a claim might have been judged by."""

    threshold: float | None = None
    measure: str | None = None


class Claim(Section):
    """Something that a study says."""

    id: str = Field(min_length=1)
    section: str
    kind: Literal["number", "claim", "setting", "opinion"]
    text: str
    numbers: Sequence[str] = ()
    statements: Sequence[str] = ()
    threshold: float | None = None
    measure: str | None = None
    also: Sequence[Variant] = ()
    ours: str | None = None
    code: str | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _answered(self) -> "Claim":
        if self.kind in ("setting", "opinion"):
            if not self.reason:
                raise ValueError(f"{self.id}: a reason is needed")
        elif not (self.numbers or self.statements):
            raise ValueError(f"{self.id}: numbers or statements are needed")
        return self

    def settings(self) -> list[dict[str, Any]]:
        """Give what $threshold and $measure stand for: first as judged, then in other ways."""
        own = {"threshold": self.threshold, "measure": self.measure}
        others = [variant.model_dump(exclude_none=True) for variant in self.also]
        return [{k: v for k, v in (own | o).items() if v is not None} for o in ({}, *others)]


@dataclass(frozen=True)
class Statement:
    """A comparison of a quantity with another, or with a number."""

    text: str
    left: str
    sign: str  # ">", "<" or "="
    factor: float
    right: str | None  # a quantity, or None
    offset: float
    margin: float  # of an equality
    in_points: bool = False  # the margin is told in points of a per cent


@dataclass(frozen=True)
class Judged:
    """A statement and what runs say of it."""

    text: str
    verdict: str  # supported, refuted or undecided
    n: int  # runs
    left: float | None = None  # means of the quantities
    right: float | None = None
    difference: float | None = None  # mean of left less right, paired by seed
    # Of the mean difference. Of an equality the narrower one, which must lie within the margin; of
    # one of several statements that is refuted the wider one (Bonferroni)
    interval: Interval | None = None
    margin: float = 0.0  # of an equality
    holds: int = 0  # runs of which the statement is true on their own


NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
NAME = r"(?:[^()]|\([^()]*\))+"  # of runs, such as "SVM (RBF)"
QUANTITY = rf"(?P<{{0}}>[\w./-]+\({NAME}\))"
STATEMENT = re.compile(
    rf"{QUANTITY.format('left')} (?P<sign>[><=]) "
    rf"(?:(?:(?P<factor>{NUMBER}) \* )?{QUANTITY.format('right')}"
    rf"(?: (?P<op>[+-]) (?P<by>{NUMBER}))?|(?P<number>{NUMBER}))"
    rf"(?: within (?P<margin>{NUMBER})(?P<points> points?)?)?"
)
HIGHEST = re.compile(
    rf"(?P<metric>[\w./-]+)\((?P<name>{NAME})\) is (?P<which>highest|lowest) of (?P<among>\S.*)"
)


def parse(text: str) -> Statement:
    """Take a statement apart; raises RetraceError if it is not one."""
    found = STATEMENT.fullmatch(text)
    if found is None or (found["sign"] == "=") != (found["margin"] is not None):
        raise RetraceError(
            f"{text!r} is not a statement: it should be like 'METRIC(NAME) > 0.9', "
            "'METRIC(NAME) = METRIC(NAME) within 0.01' or 'METRIC(NAME) is highest of NAMES*'"
        )
    for quantity in filter(None, (found["left"], found["right"])):
        parse_quantity(quantity)
    offset = float(found["number"] or found["by"] or 0) * (-1 if found["op"] == "-" else 1)
    margin = float(found["margin"] or 0) / (100 if found["points"] else 1)
    return Statement(text, found["left"], found["sign"], float(found["factor"] or 1),
                     found["right"], offset, margin, found["points"] is not None)  # fmt: skip


def parse_quantity(text: str) -> tuple[str, str]:
    """Give metric and run's name of a quantity; raises RetraceError if it is not one."""
    metric, _, inside = text.removesuffix(")").partition("(")
    # A comma within a list, or a name, is not followed by a key
    name, *overrides = re.split(r",\s*(?=[^,\s]+=)", inside)
    if not name.strip():
        raise RetraceError(f"{text!r} should be METRIC(NAME) or METRIC(NAME, KEY=VALUE)")
    return metric, named(name, overrides)


def named(name: str, overrides: Iterable[str]) -> str:
    """Name runs that have something otherwise than others: "NAME, KEY=VALUE", keys sorted."""
    return ", ".join([name, *sorted(overrides)])


def expand(text: str) -> Iterator[str]:
    """Give a text for each choice in braces; the same braces twice are one choice."""
    braces = list(dict.fromkeys(re.findall(r"\{[^{}]*\}", text)))
    for chosen in product(*(brace[1:-1].split(",") for brace in braces)):
        filled = text
        for brace, choice in zip(braces, chosen, strict=True):
            filled = filled.replace(brace, choice.strip())
        yield filled


def statements_of(
    claim: Claim, settings: Mapping[str, Any], evidence: Evidence | None = None
) -> list[Statement]:
    """Give the statements of a claim, with the values of $threshold and $measure.

    `evidence` has the runs of which one may be the highest or lowest; without it such a statement
    is only checked.
    """
    filled: list[Statement] = []
    for name in settings:
        if not any(f"${name}" in text for text in claim.statements):
            raise RetraceError(f"no statement uses its {name}; write ${name} in one")
    for text in claim.statements:
        for name, value in settings.items():
            text = text.replace(f"${name}", f"{value:.12g}" if isinstance(value, float) else value)
        if "$" in text:
            raise RetraceError(f"it should have a threshold or measure for the $ in {text!r}")
        text = re.sub(r" [+-] 0$|(?<![\d.])1 \* ", "", text)  # what a bound of 0 or 1 leaves
        for one in expand(text):
            found = HIGHEST.fullmatch(one)
            if found is None:
                filled.append(parse(one))
            elif evidence is not None:
                filled += map(parse, _against_others(found, evidence.runs))
    return filled


def _against_others(found: re.Match[str], runs: pd.DataFrame) -> list[str]:
    """Give the statements that make one run the highest or lowest of those that fit a pattern."""
    metric, own, sign = found["metric"], found["name"], ">" if found["which"] == "highest" else "<"
    names = runs["name"] if metric not in runs else runs["name"][runs[metric].notna()]
    others = sorted(set(fnmatch.filter(names, found["among"])) - {own})
    if not others:
        raise RetraceError(f"{found[0]!r}: {unknown('other run', found['among'], set(names))}")
    return [f"{metric}({own}) {sign} {metric}({other})" for other in others]


def values_of(quantity: str, evidence: Evidence) -> Series:
    """Give a quantity's values by seed; raises RetraceError for an unknown metric or run."""
    metric, name = parse_quantity(quantity)
    with located(quantity):
        return evidence.of(name, metric)


def judge_statement(statement: Statement, evidence: Evidence, level: float) -> Judged:
    """Compare the two sides, paired by seed."""
    left = values_of(statement.left, evidence)
    right = pd.Series(0.0, left.index)
    if statement.right is not None:
        right = values_of(statement.right, evidence)
    left, right = left.align(right, join="inner")
    if statement.in_points and (left.abs() > 1).any():
        raise RetraceError(
            f"{statement.text!r}: points are for fractions, and there is {left.abs().max():g}; "
            "say within how much, without points"
        )
    difference = (left - statement.factor * right - statement.offset).round(12)
    n = len(difference)
    if n < MIN_RUNS:
        return Judged(statement.text, UNDECIDED, n)
    interval, margin = mean_interval(difference, level), statement.margin
    if statement.sign == "=":
        # Two one-sided tests: the interval of twice the error must lie within the margin
        inner, verdict = mean_interval(difference, 2 * level - 1), UNDECIDED
        if -margin <= inner.low and inner.high <= margin:
            verdict = SUPPORTED
        elif interval.low > margin or interval.high < -margin:
            verdict = REFUTED
        interval, holds = inner, int((difference.abs() <= margin).sum())
    else:
        towards = 1 if statement.sign == ">" else -1
        lower, upper = sorted((towards * interval.low, towards * interval.high))
        verdict = SUPPORTED if lower > 0 else REFUTED if upper <= 0 else UNDECIDED
        holds = int((towards * difference > 0).sum())
    means = float(left.mean()), None if statement.right is None else float(right.mean())
    return Judged(statement.text, verdict, n, *means, float(difference.mean()), interval,
                  margin, holds)  # fmt: skip


def judge_claim(claim: Claim, evidence: Evidence, on_numbers: Mapping[str, str]) -> dict[str, Any]:
    """Judge one claim, given the verdicts on all numbers by their paths.

    Gives what its file says of it, and "verdict"; "statements", each as `Judged`;
    "verdicts", on its numbers by path; "variants", the verdict by each other threshold or measure.
    Raises RetraceError if no number fits one of its patterns, or a run or metric is unknown.
    """
    verdicts: dict[str, str] = {}
    with located(f"claims.yaml: the claim {claim.id}"):
        for pattern in claim.numbers:
            found = {p: v for p, v in on_numbers.items() if fnmatch.fnmatchcase(p, pattern)}
            if not found:
                hint = nearest(pattern, on_numbers)
                raise RetraceError(f"no number that is judged fits {pattern}; {hint}")
            verdicts |= found
        judged, *again = (_judge_statements(claim, each, evidence) for each in claim.settings())
    variants = [
        {**variant.model_dump(exclude_none=True), "verdict": combine(claim, other, verdicts)}
        for variant, other in zip(claim.also, again, strict=True)
    ]
    return {
        **claim.model_dump(exclude={"also", "statements", "numbers"}),
        "verdict": combine(claim, judged, verdicts),
        "statements": [asdict(statement) for statement in judged],
        "verdicts": verdicts,
        "variants": variants,
    }


def _judge_statements(
    claim: Claim, settings: Mapping[str, Any], evidence: Evidence
) -> list[Judged]:
    level, judged = evidence.rules.level, []
    statements = statements_of(claim, settings, evidence)
    # One of several refutes the claim if it would be refuted even so (Bonferroni)
    strict = 1 - (1 - level) / len(statements) if statements else level
    for statement in statements:
        first = judge_statement(statement, evidence, level)
        doubted = first.verdict == REFUTED and len(statements) > 1
        judged.append(judge_statement(statement, evidence, strict) if doubted else first)
    return judged


def combine(claim: Claim, judged: Sequence[Judged], verdicts: Mapping[str, str]) -> str:
    """Give the verdict on a claim: that all of its statements hold, and its numbers.

    The worst verdict of its numbers where it has no statements.
    """
    if not judged and not verdicts:
        return GIVEN if claim.kind == "setting" else OPINION
    if not judged:
        return max(verdicts.values(), key=VERDICTS.index)
    found = {statement.verdict for statement in judged}
    if REFUTED in found or NOT_REPRODUCED in verdicts.values():
        return REFUTED
    certain = found == {SUPPORTED} and NOT_TESTABLE not in verdicts.values()
    return SUPPORTED if certain else UNDECIDED


def read_claims(path: Path) -> list[Claim]:
    """Read the study's claims; raises RetraceError for what is wrong, or there twice."""
    claims: list[Claim] = checked(list[Claim], read_yaml(path), path)
    ids = [claim.id for claim in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise RetraceError(f"{path}: the claim {twice[0]} is there {ids.count(twice[0])} times")
    for claim in claims:
        with located(f"{path}: the claim {claim.id}"):
            for settings in claim.settings():
                statements_of(claim, settings)
    return claims


def counts(judged: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts."""
    found = [claim["verdict"] for claim in judged]
    return {word: found.count(word) for word in WORDS_OF_CLAIMS if word in found}
