"""What a study printed: numbers nested as the paper has them, and each beside ours."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from mlcore.errors import RetraceError, one_line

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
MORE = re.compile(r"\s*(%|±|\+/?-|\(|$)")

SD = ".sd"
"""End of the path of a standard deviation that is printed beside a mean."""


@dataclass(frozen=True)
class Printed:
    """A printed number, or a word."""

    path: str  # the keys that lead to it, such as "test_accuracy.mnist.relu"
    value: Any
    ours: Any = None  # what we computed in its place, where that is known beside runs
    decimals: int = 15  # digits after the point that are printed
    runs: int = 1  # of which it is the mean
    of_sd: bool = False  # it is the standard deviation of those

    @property
    def rule_path(self) -> str:
        """The path that its rule fits: a standard deviation goes by the rule of its mean."""
        return self.path.removesuffix(SD) if self.of_sd else self.path


class Digits(yaml.CSafeLoader):
    """Reads numbers with all the digits that stand there: 0.870 is not 0.87."""


def _decimal(_: Digits, node: yaml.ScalarNode) -> Decimal:
    try:
        return Decimal(node.value)
    except ArithmeticError:  # .nan, 12:30.5
        line = node.start_mark.line + 1
        raise ValueError(f"line {line}: {node.value} should be a number") from None


def _mapping(loader: Digits, node: yaml.MappingNode) -> dict[str, Any]:
    """Give keys as they stand: `no` is a word, and none may be there twice."""
    loader.flatten_mapping(node)
    found: dict[str, Any] = {}
    for key, value in node.value:
        if key.value in found:
            raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is there twice")
        found[key.value] = loader.construct_object(value, deep=True)
    return found


Digits.add_constructor("tag:yaml.org,2002:float", _decimal)
Digits.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_published(path: Path) -> list[Printed]:
    """Read a file of printed numbers; raises RetraceError if it holds something else.

    A number may also be ``{mean: 0.871, runs: 5}``, or ``{mean: 0.871, sd: 0.002, runs: 5}``, and
    a word such as "1e-3", which YAML takes for none.
    """
    try:
        read = yaml.load(path.read_text(encoding="utf-8"), Digits)  # noqa: S506
        printed = list(printed_in({} if read is None else read))
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        raise RetraceError(f"{path}: {one_line(error, 300)}") from None
    if not printed:
        raise RetraceError(f"{path}: it holds no number")
    return printed


def printed_in(tree: Any, path: str = "") -> Iterator[Printed]:
    """Give every number of nested mappings and lists; raises ValueError for what is none.

    A `Decimal` knows the digits that are printed; of a float they are those that Python writes.
    """
    if isinstance(tree, Mapping) and {"mean", "std"} <= set(tree):
        raise ValueError(f"{path}: std should be sd")
    if isinstance(tree, Mapping) and "mean" in tree and set(tree) <= {"mean", "sd", "runs"}:
        yield from _mean(tree, path)
    elif isinstance(tree, Mapping | list):
        for inner, value in _parts(tree, path):
            yield from printed_in(value, inner)
    elif isinstance(tree, str) and NUMBER.fullmatch(tree):
        yield _printed(path, Decimal(tree))
    elif isinstance(tree, str) and (found := NUMBER.match(tree)) and MORE.match(tree, found.end()):
        sd = NUMBER.search(tree, found.end())
        form = f"{{mean: {found[0]}, sd: {sd[0]}, runs: N}}" if sd else found[0]
        raise ValueError(f"{path}={tree!r} should be written as {form}")
    elif isinstance(tree, str | bool):
        yield Printed(path, tree)
    elif isinstance(tree, int | float | Decimal) and Decimal(str(tree)).is_finite():
        yield _printed(path, tree)
    else:
        raise ValueError(f"{path or 'the file'}={tree!r} should be a number or a word")


def _printed(path: str, value: Any, **about: Any) -> Printed:
    exponent = Decimal(str(value)).as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite
    value = float(value) if isinstance(value, Decimal) else value
    return Printed(path, value, decimals=max(0, -exponent), **about)


def _mean(leaf: Mapping[str, Any], path: str) -> Iterator[Printed]:
    runs, sd = leaf.get("runs", 1), leaf.get("sd")
    if sd is not None and "runs" not in leaf:
        raise ValueError(f"{path}.runs is missing: of how many runs is sd={sd}?")
    if type(runs) is not int or runs < (1 if sd is None else 2):
        raise ValueError(
            f"{path}.runs={runs!r} should be a count of runs{', 2 or more' if sd else ''}"
        )
    for ending, value in (("", leaf["mean"]), (SD, sd)):
        if value is None and ending:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise ValueError(f"{path}{ending or '.mean'}={value!r} should be a number")
        yield _printed(path + ending, value, runs=runs, of_sd=bool(ending))


def numbers_of(summary: Any, path: str = "") -> Iterator[Printed]:
    """Give every number of what `compare` made."""
    if isinstance(summary, Mapping) and set(summary) == {"ours", "published"}:
        yield Printed(path, summary["published"], summary["ours"])
    else:
        for inner, value in _parts(summary, path):
            yield from numbers_of(value, inner)


def _parts(tree: Mapping[str, Any] | list[Any], path: str) -> Iterator[tuple[str, Any]]:
    """Give what a mapping or a list holds, by path."""
    if isinstance(tree, Mapping):
        yield from ((f"{path}.{key}".lstrip("."), value) for key, value in tree.items())
    else:
        yield from ((f"{path}[{place}]", value) for place, value in enumerate(tree))


def compare(published: Any, ours: Mapping[str, Any], path: str = "") -> Any:
    """Replace each number of the published layout by ``{"ours": ..., "published": ...}``.

    `ours` are by path, with None where we have no number, for example because the grid was
    narrowed. Raises ValueError for a number that is not among them.
    """
    if isinstance(published, Mapping | list):
        inner = [compare(value, ours, place) for place, value in _parts(published, path)]
        return dict(zip(published, inner, strict=True)) if isinstance(published, Mapping) else inner
    if path not in ours:
        raise ValueError(f"{path} is published, and nothing of ours is entered for it")
    return {"ours": ours[path], "published": published}
