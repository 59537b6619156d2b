"""What people write, checked against a pydantic model; what is wrong is told in one line."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mlcore.errors import RetraceError, one_line


class Section(BaseModel):
    """A mapping that people write: it has no other keys, and its values no other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def checked(schema: Any, content: Any, path: Path) -> Any:
    """Check what a file holds against a model, or a type made of models, and give it as that.

    Raises RetraceError if it does not fit; the line names the key, and the file by its `path`.
    """
    try:
        return TypeAdapter(schema).validate_python(content)
    except ValidationError as error:
        raise RetraceError(f"{path}: {one_line(mistakes(error, schema))}") from None


def mistakes(error: ValidationError, schema: Any) -> str:
    """Say in a clause for each wrong key, of the first few, what would be right."""
    # A key that is missing may be there, misspelt
    problems = sorted(error.errors(), key=lambda problem: problem["type"] == "missing")
    clauses = [_clause(problem, schema) for problem in problems]
    return "; ".join(clauses[:FEW] + [f"and {len(clauses) - FEW} more"] * (len(clauses) > FEW))


def _clause(problem: Any, schema: Any) -> str:
    place, _ = _place(problem["loc"], schema)
    key, value = ".".join(place), _shown(problem["input"])
    match problem["type"]:
        case "model_type" | "list_type" if not key:
            return f"it holds {value}"
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return unknown_key(problem["loc"], value, schema)
        case "secret":
            return f"{key} {problem['msg']}"
        case "value_error" if not key:  # a check across sections, which names its own keys
            return str(problem["ctx"]["error"])
        case "union_tag_not_found":
            return f"{key}.kind is missing"
        case "union_tag_invalid":
            kinds = problem["ctx"]["expected_tags"]
            return f"{key}.kind={_shown(problem['input']['kind'])}: it should be one of {kinds}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key or 'the file'}={value}: {message}"


def _shown(value: Any) -> str:
    """Write a value, without what may be secret in it, and not all of a long one."""
    text = masked(repr(value))
    return text if len(text) <= LONG else f"{text[:LONG]} ..."


def masked(text: str) -> str:
    """Give a message in one line, what may be secret in a URI of it (user, query) blotted out."""
    text = " ".join(map(_without_login, text.split(" ")))
    return one_line(re.sub(r"([?&]\w+=)[^&\s'\"]+", r"\1***", text))


def _without_login(word: str) -> str:
    before, _, rest = word.partition("://")
    return f"{before}://***@{rest.rpartition('@')[2]}" if "@" in rest else word


def unknown_key(location: Sequence[str | int], value: str, schema: Any) -> str:
    """Say that a key is not known, and the nearest known one or all that may stand there."""
    place, hint = _place(location, schema)
    return f"{'.'.join(place)}={value} is unknown; {hint}"


def _place(location: Sequence[str | int], schema: Any) -> tuple[list[str], str]:
    """Give a location of pydantic's as people write it, and a hint at its first unknown key."""
    models, place, hint = _models(schema), list[str](), ""
    named = models == [schema]  # else what comes next is a place in a list, or a name of theirs
    for part in map(str, location):
        # Of several models pydantic names the one by its kind, which nobody wrote there
        if len(models) > 1 and (one := [m for m in models if part in _kinds(m)]):
            models = one
            continue
        if named and not hint:
            known = {name: field for model in models for name, field in model.model_fields.items()}
            if part in known:
                models = _models(known[part].annotation)
                named = not models or models == [known[part].annotation]
            elif known:
                hint = _hint(part, known, place)
            else:
                hint = f"{'.'.join(place)} holds a value"
        else:
            named = True
        place.append(part)
    return place, hint


def _hint(key: str, known: Mapping[str, Any], above: Sequence[str]) -> str:
    """Say what may be meant by an unknown key: one of a section below, or the nearest known one."""
    below = [n for n, f in known.items() if key in getattr(f.annotation, "model_fields", ())]
    meant = " or ".join(f"{section}.{key}" for section in below)
    return f"did you mean {meant}?" if meant else nearest(key, known, *above)


def _models(annotation: Any) -> list[Any]:
    """Give the models that a type is made of."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _kinds(model: Any) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


@contextmanager
def located(where: str) -> Iterator[None]:
    """Have what is wrong in the block say where it is wrong."""
    try:
        yield
    except RetraceError as error:
        raise RetraceError(f"{where}: {error}") from None


def unknown(what: str, word: str, known: Collection[str]) -> str:
    """Say that a word is not known, and which known one is nearest to it."""
    return f"there is no {what} {word}; {nearest(word, known)}"


def nearest(word: str, known: Collection[str], *above: str) -> str:
    """Hint at the known word that is nearest to another, or name some; `above` leads to it."""
    if not known:
        return "there are none"
    if near := get_close_matches(word, known, n=1):
        return f"did you mean {'.'.join([*above, *near])}?"
    first, more = ", ".join(sorted(known)[:SOME]), len(known) - SOME
    return f"there are {first}" + (f" and {more} more" if more > 0 else "")


FEW, SOME, LONG = 3, 14, 60
"""Mistakes, and known words, that are named; characters of a value that are shown."""
