"""The rules that numbers and claims are judged by: what metrics/rules.yaml may hold."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.judging.statistics import half_unit


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_values(cls, content: Any) -> Any:
        empty = [k for k, v in content.items() if v is None] if isinstance(content, dict) else []
        if empty:
            raise ValueError(f"{', '.join(map(repr, empty))}: a key without a value; leave it out")
        return content


Tolerance = Annotated[float, Field(ge=0)]
Decimals = Annotated[int, Field(ge=0, le=15)]


class Given(_Section):
    """A number that the study starts from; there is nothing to judge."""

    match: str
    kind: Literal["given"]


class Printed(_Section):
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
    """A number of a training, which varies from run to run."""

    kind: Literal["trained"]
    part: Literal["network", "classifier", "feature_classifier"]
    tolerance: Tolerance | None = None
    relative_tolerance: Tolerance | None = None
    images: Literal["same", "redrawn"]
    split: str | None = None
    better: Literal["higher", "lower"]
    collapse_below: float | None = None

    @model_validator(mode="after")
    def _one_tolerance(self) -> Trained:
        if (self.tolerance is None) == (self.relative_tolerance is None):
            raise ValueError("one of tolerance and relative_tolerance is needed")
        if self.images == "redrawn" and self.part == "network":
            raise ValueError("images are drawn anew from Fashion-MNIST; the network's are not")
        return self

    def tolerance_for(self, published: float) -> float:
        """Give the largest difference from a printed value that would not matter."""
        if self.relative_tolerance is None:
            return self.tolerance or 0.0
        return published * self.relative_tolerance


class Score(Printed):
    """The best cross-validated score of the search."""

    kind: Literal["score"]
    part: Literal["search"]
    tolerance: Tolerance
    images: Literal["same"]
    better: Literal["higher", "lower"]

    split: ClassVar[None] = None
    collapse_below: ClassVar[None] = None

    def tolerance_for(self, published: float) -> float:
        """Give the largest difference from a printed value that would not matter."""
        return self.tolerance


class Choice(_Section):
    """A setting that the search chose."""

    match: str
    kind: Literal["choice"]
    part: Literal["search"]
    tolerance: Tolerance


Rule = Given | Exact | Trained | Score | Choice


def _as_written(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Let a whole number stay one: it is told as it stands in the file."""
    check(value)
    return value


Threshold = Annotated[float, WrapValidator(_as_written)]


class Variant(_Section):
    """Another threshold or measure that a claim might have been judged by."""

    threshold: Threshold | None = None
    measure: str | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Variant:
        if self.threshold is None and self.measure is None:
            raise ValueError("a threshold or a measure is needed")
        return self

    def settings(self) -> dict[str, Any]:
        """Give what it sets, as arguments of the claim's function."""
        return self.model_dump(include={"threshold", "measure"}, exclude_none=True)


class Claim(Variant):
    """What a claim is judged by."""

    threshold: Threshold
    also: list[Variant]


class Rules(_Section):
    """All of metrics/rules.yaml."""

    level: float = Field(gt=0, lt=1)
    min_replicates: int = Field(ge=2)
    numbers: list[Annotated[Rule, Field(discriminator="kind")]]
    supported_at_least: float = Field(gt=0, le=1)
    claims: dict[str, Claim]

    def rule_for(self, path: str) -> Rule:
        """Give the first rule whose pattern fits a number; raises RetraceError if none does."""
        for rule in self.numbers:
            if fnmatchcase(path, rule.match):
                return rule
        raise RetraceError(f"metrics/rules.yaml: no rule fits {path}")


class ClaimText(_Section):
    """A claim of the study, in a sentence."""

    id: str
    text: str


def read_rules(
    path: Path, claims: Mapping[str, Callable[..., Any]], measures: Sequence[str]
) -> Rules:
    """Read and check the rules.

    By `mlcore.judging.claims.CLAIMS`, and the measures of curves that a claim's rule may name.

    Raises
    ------
    RetraceError
        If something in it is missing, unknown or of no use; the line names the file and the key.
    """
    rules: Rules = _checked(Rules, path)
    for unknown in sorted(set(rules.claims) - set(claims)):
        raise RetraceError(f"{path}: {_key(['claims', unknown])} is unknown")
    for name, judge in claims.items():
        if name not in rules.claims:
            raise RetraceError(f"{path}: claims.{name} is missing")
        rule = rules.claims[name]
        known = measures if "measure" in signature(judge).parameters else ()
        if known and rule.measure is None:
            raise RetraceError(f"{path}: claims.{name}.measure is missing; {_one_of(known)}")
        for variant in (rule, *rule.also):
            if variant.measure not in (None, *known):
                given = f"claims.{name} has the measure {variant.measure!r}"
                raise RetraceError(f"{path}: {given}; {_one_of(known)}")
    return rules


def read_claims(path: Path, known: Collection[str]) -> list[ClaimText]:
    """Read the study's claims; raises RetraceError unless each that can be judged is there once."""
    claims: list[ClaimText] = _checked(list[ClaimText], path)
    counts = Counter(claim.id for claim in claims)
    for name in [*known, *counts]:
        if name not in known:
            raise RetraceError(
                f"{path}: mlcore/judging/claims.py has no function for the claim {name!r}"
            )
        if counts[name] != 1:
            raise RetraceError(f"{path}: the claim {name} is there {counts[name]} times, not once")
    return claims


def _one_of(names: Sequence[str]) -> str:
    return f"it should be one of {', '.join(names)}" if names else "this claim has none"


def _checked(schema: Any, path: Path) -> Any:
    """Read a file that should fit a model, or a type made of models."""
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
