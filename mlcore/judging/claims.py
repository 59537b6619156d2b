"""Which of the study's claims hold: statements about runs, written as text in metrics/claims.yaml.

A statement compares two quantities, or one with a number. A quantity is a metric of a training,
with one value per seed; docs/judging.md has the form.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from mlcore.errors import RetraceError
from mlcore.judging.curves import MEASURES
from mlcore.judging.numbers import NOT_REPRODUCED, NOT_TESTABLE, VERDICTS, Evidence, by_seed
from mlcore.judging.parts import PARTS
from mlcore.judging.replicates import METRICS
from mlcore.judging.rules import Section, checked
from mlcore.judging.statistics import Interval, Series, mean_interval

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
GIVEN, OPINION = "given", "not testable"
CLAIM_VERDICTS = (SUPPORTED, REFUTED, UNDECIDED)

MIN_RUNS = 3
"""With fewer runs nothing is said of a statement."""


class Variant(Section):
    """Another threshold or measure that a claim might have been judged by."""

    threshold: float | None = None
    measure: str | None = None


class Claim(Section):
    """Something that the study says; see metrics/claims.yaml."""

    id: str
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


@dataclass(frozen=True)
class Judged:
    """A statement and what runs say of it."""

    text: str
    verdict: str  # one of `CLAIM_VERDICTS`
    n: int  # runs
    left: float | None = None  # means of the quantities
    right: float | None = None
    difference: float | None = None  # mean of left less right, paired by seed
    # Of that mean, at the level of all intervals; wider (Bonferroni) where one of several
    # statements would refute the claim
    interval: Interval | None = None
    holds: int = 0  # runs of which the statement is true on their own


NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
QUANTITY = r"(?P<{0}>\w+\([^()]+\))"
STATEMENT = re.compile(
    rf"{QUANTITY.format('left')} (?P<sign>[><=]) "
    rf"(?:(?:(?P<factor>{NUMBER}) \* )?{QUANTITY.format('right')}"
    rf"(?: (?P<op>[+-]) (?P<by>{NUMBER}))?|(?P<number>{NUMBER}))(?: within (?P<margin>{NUMBER}))?"
)
PARTS_OF_QUANTITY = re.compile(r"(\w+)\((\w+)/([^,\s]+)((?:, *[^,\s]+)*)\)")


def parse(text: str) -> Statement:
    """Take a statement apart; raises RetraceError if it is not one, or a metric is unknown."""
    found = STATEMENT.fullmatch(text)
    if found is None or (found["sign"] == "=") != (found["margin"] is not None):
        raise RetraceError(
            f"{text!r} is not a statement: it should be like 'test_accuracy(network/tanh-normal) > "
            "0.9' or 'METRIC(PART/NAME) = METRIC(PART/NAME) within 0.01'"
        )
    for quantity in filter(None, (found["left"], found["right"])):
        parse_quantity(quantity)
    offset = float(found["number"] or found["by"] or 0) * (-1 if found["op"] == "-" else 1)
    return Statement(text, found["left"], found["sign"], float(found["factor"] or 1),
                     found["right"], offset, float(found["margin"] or 0))  # fmt: skip


def parse_quantity(text: str) -> tuple[str, str, str, frozenset[str]]:
    """Give metric, part, name and overrides of a quantity.

    Raises RetraceError if it is not one, or its metric or part is unknown.
    """
    found = PARTS_OF_QUANTITY.fullmatch(text)
    if found is None:
        raise RetraceError(f"{text!r} should be METRIC(PART/NAME) or METRIC(PART/NAME, KEY=VALUE)")
    metric, part, name, rest = found.groups()
    for kind, word, known in (("metric", metric, (*METRICS, *MEASURES)), ("part", part, PARTS)):
        if word not in known:
            near = get_close_matches(word, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RetraceError(f"{text}: there is no {kind} {word}{hint}")
    # A comma within a list is not followed by a key
    overrides = re.split(r",\s*(?=[^,\s]+=)", rest)
    return metric, part, name, frozenset(word for word in overrides if word)


def expand(text: str) -> Iterator[str]:
    """Give a text for each choice in braces; the same braces twice are one choice."""
    braces = list(dict.fromkeys(re.findall(r"\{[^{}]*\}", text)))
    for chosen in product(*(brace[1:-1].split(",") for brace in braces)):
        filled = text
        for brace, choice in zip(braces, chosen, strict=True):
            filled = filled.replace(brace, choice.strip())
        yield filled


def statements_of(claim: Claim, settings: Mapping[str, Any]) -> list[Statement]:
    """Give the statements of a claim, with the values of $threshold and $measure."""
    filled: list[Statement] = []
    for name in settings:
        if not any(f"${name}" in text for text in claim.statements):
            raise RetraceError(f"the claim {claim.id} has a {name} that no statement uses")
    for text in claim.statements:
        for name, value in settings.items():
            text = text.replace(f"${name}", f"{value:.12g}" if isinstance(value, float) else value)
        if "$" in text:
            raise RetraceError(f"the claim {claim.id} has no value for a $ in {text!r}")
        filled += [parse(one) for one in expand(text)]
    return filled


def values_of(quantity: str, evidence: Evidence) -> Series:
    """Give a quantity's values by seed.

    Raises RetraceError if it is not one, its metric is unknown or of curves that are not kept, or
    one seed has several values.
    """
    metric, part, name, overrides = parse_quantity(quantity)
    runs = evidence.runs
    if not overrides and ((runs["part"] == part) & (runs["name"] == name)).any():
        return by_seed(runs, part, name, metric)
    others = evidence.alternatives
    others = others[(others["part"] == part) & (others["name"] == name)]
    alike = [differing(told) == overrides for told in others["overrides"]]
    others = others[np.array(alike, dtype=bool)]
    if metric not in others:
        if overrides or len(others):
            raise RetraceError(f"{quantity}: trainings with other parameters keep no curves")
        return pd.Series(dtype=float)
    # Two sweeps may have the same training
    values = by_seed(others, part, name, metric)
    if (values.groupby(level=0).nunique() > 1).any():
        raise RetraceError(f"{quantity}: sweeps have several such trainings that differ")
    return values[~values.index.duplicated()]


def differing(overrides: str) -> frozenset[str]:
    """Give the overrides that make an alternative: not what is run over, nor the draw."""
    return frozenset(
        word
        for word in overrides.split()
        if not re.fullmatch(r"\w+\.(activation|init|method)=.*|.*=\$\{seed\}", word)
    )


def judge_statement(statement: Statement, evidence: Evidence, level: float) -> Judged:
    """Compare the two sides, paired by seed."""
    left = values_of(statement.left, evidence)
    if statement.right is None:
        right = pd.Series(0.0, left.index)
    else:
        right = values_of(statement.right, evidence)
    left, right = left.align(right, join="inner")
    difference = (left - statement.factor * right - statement.offset).round(12)
    n = len(difference)
    if n < MIN_RUNS:
        return Judged(statement.text, UNDECIDED, n)
    interval = mean_interval(difference, level)
    if statement.sign == "=":
        # Two one-sided tests: the interval of twice the error must lie within the margin
        inner, margin = mean_interval(difference, 2 * level - 1), statement.margin
        verdict = UNDECIDED
        if -margin <= inner.low and inner.high <= margin:
            verdict = SUPPORTED
        elif interval.low > margin or interval.high < -margin:
            verdict = REFUTED
        holds = int((difference.abs() <= margin).sum())
    else:
        towards = 1 if statement.sign == ">" else -1
        lower, upper = sorted((towards * interval.low, towards * interval.high))
        verdict = SUPPORTED if lower > 0 else REFUTED if upper <= 0 else UNDECIDED
        holds = int((towards * difference > 0).sum())
    means = float(left.mean()), None if statement.right is None else float(right.mean())
    return Judged(statement.text, verdict, n, *means, float(difference.mean()), interval, holds)


def judge_claim(claim: Claim, evidence: Evidence, on_numbers: Mapping[str, str]) -> dict[str, Any]:
    """Judge one claim, given the verdicts on all numbers by their paths.

    Gives what metrics/claims.yaml says of it, and "verdict"; "statements", each as `Judged`;
    "verdicts", on its numbers by path; "variants", the verdict by each other threshold or measure.
    Raises RetraceError if no number fits one of its patterns.
    """
    verdicts: dict[str, str] = {}
    for pattern in claim.numbers:
        found = {p: v for p, v in on_numbers.items() if fnmatchcase(p, pattern)}
        if not found:
            raise RetraceError(f"the claim {claim.id}: no number that is judged fits {pattern}")
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
    statements = statements_of(claim, settings)
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
    claims: list[Claim] = checked(list[Claim], path)
    ids = [claim.id for claim in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise RetraceError(f"{path}: the claim {twice[0]} is there {ids.count(twice[0])} times")
    for claim in claims:
        for settings in claim.settings():
            statements_of(claim, settings)
    return claims


def counts(judged: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts."""
    words = dict.fromkeys([*CLAIM_VERDICTS, *VERDICTS, GIVEN])
    return {w: n for w in words if (n := sum(claim["verdict"] == w for claim in judged))}
