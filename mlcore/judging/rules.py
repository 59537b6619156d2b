"""The rules that numbers are judged by: what metrics/rules.yaml may hold."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.judging.statistics import half_unit


class Section(BaseModel):
    """A mapping of a file that people write: rules, claims, sweeps."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Tolerance = Annotated[float, Field(ge=0)]
Decimals = Annotated[int, Field(ge=0, le=15)]


class Given(Section):
    """A number that the study starts from; there is nothing to judge."""

    match: str
    kind: Literal["given"]


class Printed(Section):
    """A number that is printed with so many digits after the point."""

    match: str
    decimals: Decimals

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        return half_unit(self.decimals)


class Exact(Printed):
    """A number that has one right value."""

    kind: Literal["exact"]
    tolerance: Tolerance = 0.0
    rounding: str = ""

    @model_validator(mode="after")
    def _with_its_reason(self) -> Exact:
        if ("tolerance" in self.model_fields_set) != bool(self.rounding):
            raise ValueError("tolerance and rounding, the reason for it, go together")
        return self


class Trained(Printed):
    """A number of a training, which varies from run to run.

    `spread` says what the runs' spread is taken from: "own", the runs of this number; "pooled",
    those of all numbers of this rule, unless Bartlett's test tells them apart; "range", from the
    lowest run to the highest, for numbers with two modes or a bound; "mode", for numbers that are
    one value in nearly all runs.
    """

    kind: Literal["trained"]
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
        return published * self.relative_tolerance


class Choice(Section):
    """A setting that the search chose."""

    match: str
    kind: Literal["choice"]
    tolerance: Tolerance


Rule = Given | Exact | Trained | Choice


class Joint(Section):
    """Numbers that are judged together: those whose paths fit the patterns.

    `paired` says whether the runs of all of them are on the same images, so that they vary
    together. Differences between `contrasts`, the last parts of their paths, are judged, too.
    """

    match: list[str] = Field(min_length=1)
    paired: bool
    contrasts: list[str] = []


class Protocol(Section):
    """A way in which the study might have trained its classifiers.

    The method that gave its losses, the one that gave its accuracies, and what else is not as in
    conf/.
    """

    losses: str
    accuracies: str
    overrides: list[str] = []


class Rules(Section):
    """All of metrics/rules.yaml."""

    level: float = Field(gt=0, lt=1)
    min_replicates: int = Field(ge=2)
    numbers: list[Annotated[Rule, Field(discriminator="kind")]]
    joint: dict[str, Joint]
    protocols: dict[str, Protocol] = {}

    def rule_for(self, path: str) -> Rule:
        """Give the first rule whose pattern fits a number; raises RetraceError if none does."""
        for rule in self.numbers:
            if fnmatchcase(path, rule.match):
                return rule
        raise RetraceError(f"metrics/rules.yaml: no rule fits {path}")


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


def _key(location: Sequence[str | int]) -> str:
    """Name a place in the file."""
    parts = list(map(str, location))
    if parts[:1] == ["numbers"]:
        del parts[2:3]  # pydantic puts the kind of a rule behind its number
    return repr(".".join(parts))[1:-1] or "the file"


def _wrong(problem: Any) -> str:
    """Say in one clause what is wrong with one key."""
    key = _key(problem["loc"])
    match problem["type"]:
        case "model_type" | "list_type" if not problem["loc"]:
            return f"it holds {reprlib.repr(problem['input'])}"
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is unknown"
        case "union_tag_not_found":
            return f"{key}.kind is missing"
        case "union_tag_invalid":
            kinds = problem["ctx"]["expected_tags"]
            kind = reprlib.repr(problem["input"]["kind"])
            return f"{key}.kind={kind}: it should be one of {kinds}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}={reprlib.repr(problem['input'])}: {message}"
