"""The rules that numbers are judged by: what a file rules.yaml may hold."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mlcore.errors import RetraceError
from mlcore.files import read_yaml


class Section(BaseModel):
    """A mapping of a file that people write: rules, claims, sweeps."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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
OF_KIND = dict[str, type[Section]](given=Given, exact=Exact, trained=Trained, choice=Choice)


class Joint(Section):
    """Numbers that are judged together: those whose paths fit the patterns.

    `paired` says whether the runs of all of them are on the same images, so that they vary
    together. Differences between `contrasts`, the last parts of their paths, are judged, too.
    `protocols`, ways in which the numbers might have come about, say for each what to replace in
    the names of the runs.
    """

    match: list[str] = Field(min_length=1)
    paired: bool
    contrasts: list[str] = []
    protocols: dict[str, dict[str, str]] = {}

    def takes(self, path: str) -> bool:
        """Say whether a number is one of them."""
        return any(fnmatchcase(path, pattern) for pattern in self.match)


class Rules(Section):
    """All of a file of rules."""

    level: float = Field(default=0.95, gt=0, lt=1)
    min_replicates: int = Field(default=6, ge=2)
    numbers: list[Annotated[Rule, Field(discriminator="kind")]]
    joint: dict[str, Joint] = {}

    def rule_for(self, path: str) -> Rule:
        """Give the first rule whose pattern fits a number; raises RetraceError if none does."""
        for rule in self.numbers:
            if fnmatchcase(path, rule.match):
                return rule
        near = get_close_matches(path, [rule.match for rule in self.numbers], n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise RetraceError(f"rules.yaml: no rule fits {path}{hint}")


def unknown(kind: str, word: str, known: Collection[str]) -> str:
    """Say that a word is not known, and which known one is nearest to it."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known)[:8])}"
    return f"there is no {kind} {word}{hint}"


def read_rules(path: Path) -> Rules:
    """Read the rules; raises RetraceError for what is missing, unknown or of no use."""
    rules: Rules = checked(Rules, path)
    return rules


def checked(schema: Any, path: Path) -> Any:
    """Read a file that should fit a model, or a type made of models.

    Raises RetraceError if it does not; the line names the file and the key.
    """
    try:
        return TypeAdapter(schema).validate_python(read_yaml(path))
    except ValidationError as error:
        raise RetraceError(f"{path}: {'; '.join(map(_wrong, error.errors()))}") from None


def _wrong(problem: Any) -> str:
    """Say in one clause what is wrong with one key."""
    place = list(map(str, problem["loc"]))
    known: Collection[str] = ()
    if place[:1] == ["numbers"] and len(place) > 2:
        known = OF_KIND[place.pop(2)].model_fields  # pydantic puts the kind behind the number
    key, told = repr(".".join(place))[1:-1], reprlib.repr(problem["input"])
    match problem["type"]:
        case "model_type" | "list_type" if not place:
            return f"it holds {told}"
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            above, _, word = key.rpartition(".")
            return f"{above}: {unknown('key', word, known)}" if known else f"{key} is unknown"
        case "union_tag_not_found":
            return f"{key}.kind is missing"
        case "union_tag_invalid":
            kind, kinds = reprlib.repr(problem["input"]["kind"]), problem["ctx"]["expected_tags"]
            return f"{key}.kind={kind}: it should be one of {kinds}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key or 'the file'}={told}: {message}"
