"""The rules that numbers are judged by: what a file rules.yaml may hold."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlcore.errors import RetraceError
from mlcore.errors.validation import Section, checked, nearest
from mlcore.files import read_yaml

Tolerance = Annotated[float, Field(ge=0)]
Decimals = Annotated[int, Field(ge=0, le=15)]


class Given(Section):
    """A number that the study starts from; there is nothing to judge."""

    match: str
    kind: Literal["given"]


class Exact(Section):
    """A number that has one right value.

    `decimals`, of this rule and of `Trained`, are the digits after the point that it is printed
    with, where published.yaml does not have them all.
    """

    match: str
    kind: Literal["exact"]
    decimals: Decimals | None = None
    tolerance: Tolerance = 0.0
    rounding: str = ""

    @model_validator(mode="after")
    def _with_its_reason(self) -> Exact:
        if ("tolerance" in self.model_fields_set) != bool(self.rounding):
            raise ValueError("tolerance and rounding, the reason for it, go together")
        return self


class Measured(Section):
    """What is computed from runs.

    `runs` is a pattern of their names, its stars filled in with what those of `match` stand for.
    Where a star is left, it is the best of several: by the `metric`, of which `better` says whether
    more or less of it is.
    """

    match: str
    runs: str
    metric: str
    better: Literal["higher", "lower"] = "higher"

    @model_validator(mode="after")
    def _stars_alone(self) -> Measured:
        if set("?[") & set(self.match):  # `runs_of` could not fill them in
            raise ValueError(f"match={self.match}: of patterns only stars are known here")
        return self

    @property
    def of_several(self) -> bool:
        """Whether a star of `runs` is left, so that the best of several runs counts."""
        return self.runs.count("*") > self.match.count("*")

    def runs_of(self, path: str) -> str:
        """Name the runs behind a number, by its path; with a star if it is the best of several."""
        found = re.fullmatch("(.*)".join(map(re.escape, self.match.split("*"))), path)
        name = self.runs
        for filled in found.groups() if found else ():
            name = name.replace("*", filled, 1)
        return name


class Trained(Measured):
    """A number of a training, which varies from run to run; `varies` says with what.

    `spread` says what the runs' spread is taken from: "own", the runs of this number; "pooled",
    those of all numbers of this rule, unless Bartlett's test tells them apart; "range", from the
    lowest run to the highest, for numbers with two modes or a bound; "mode", for numbers that are
    one value in nearly all runs.
    """

    kind: Literal["trained"]
    decimals: Decimals | None = None
    varies: str = ""
    tolerance: Tolerance | None = None
    relative_tolerance: Tolerance | None = None
    spread: Literal["own", "pooled", "range", "mode"] = "own"

    @model_validator(mode="after")
    def _one_tolerance(self) -> Trained:
        if (self.tolerance is None) == (self.relative_tolerance is None):
            raise ValueError("one of tolerance and relative_tolerance is needed")
        return self

    def tolerance_for(self, published: float) -> float:
        """Give the largest difference from a printed value that would not matter."""
        if self.relative_tolerance is None:
            return self.tolerance or 0.0
        return abs(published) * self.relative_tolerance


class Choice(Measured):
    """A setting that a search chose.

    The end of the number's path names it: a column of the runs has it for each candidate.
    """

    kind: Literal["choice"]
    tolerance: Tolerance


Rule = Given | Exact | Trained | Choice


class Joint(Section):
    """Numbers that are judged together: those whose paths fit the patterns.

    `paired` says whether the runs of all of them are on the same images, so that they vary
    together. Differences between `contrasts`, the last parts of their paths, are judged, too.
    `protocols`, ways in which the numbers might have come about, say for each what to replace in
    the names of the runs.
    """

    match: list[str] = Field(min_length=1)
    paired: bool
    contrasts: list[str] = Field(default=[])
    protocols: dict[str, dict[str, str]] = Field(default={})

    def takes(self, path: str) -> bool:
        """Say whether a number is one of them."""
        return any(fnmatchcase(path, pattern) for pattern in self.match)


class Rules(Section):
    """All of a file of rules."""

    level: float = Field(default=0.95, gt=0, lt=1)
    min_replicates: int = Field(default=6, ge=2)
    numbers: list[Annotated[Rule, Field(discriminator="kind")]]
    joint: dict[str, Joint] = Field(default={})

    def rule_for(self, path: str) -> Rule:
        """Give the first rule whose pattern fits a number; raises RetraceError if none does."""
        for rule in self.numbers:
            if fnmatchcase(path, rule.match):
                return rule
        patterns = [rule.match for rule in self.numbers]
        raise RetraceError(f"rules.yaml: no rule fits {path}; {nearest(path, patterns)}")


def read_rules(path: Path) -> Rules:
    """Read the rules; raises RetraceError for what is missing, unknown or of no use."""
    rules: Rules = checked(Rules, read_yaml(path), path)
    return rules
