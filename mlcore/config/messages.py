"""The wording of what is wrong with a configuration: one line that says what would be right."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlcore.config.schema import Config
from mlcore.errors import RetraceError, one_line


def describe(problem: Any) -> str:
    """Say in one clause what is wrong with one key, and what would be right."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return unknown(problem["loc"], problem["input"])
        case "secret":
            return f"{key} {problem['msg']}"
        case "value_error" if not key:  # a check across sections, which names its own keys
            return str(problem["ctx"]["error"])
    wanted = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}={problem['input']!r}: {wanted}"


def unknown(location: Sequence[str | int], value: Any) -> str:
    """Name an unknown key, and the nearest known one or all that stand beside it."""
    section: Any = Config
    above: list[str] = []
    for part in map(str, location):
        if part not in section.model_fields:
            break
        above.append(part)
        section = section.model_fields[part].annotation
        if not hasattr(section, "model_fields"):
            return f"{'.'.join(above)} holds a value and has no parameters of its own"
    key = ".".join(map(str, location))
    near = difflib.get_close_matches(part, section.model_fields, n=1)
    if near:
        return f"unknown parameter {key}={value}; did you mean {'.'.join([*above, near[0]])}?"
    return f"unknown parameter {key}={value}; known here are {', '.join(section.model_fields)}"


def masked(text: str) -> str:
    """Give a message in one line, what may be secret in a URI of it (user, query) blotted out."""
    # Without an @ the match is kept: it would be sought again from every :// in it
    text = re.sub(r"://[^\s@'\"]*(@?)", lambda m: "://***@" if m[1] else m[0], text)
    return one_line(re.sub(r"([?&]\w+=)[^&\s'\"]+", r"\1***", text))


@contextmanager
def in_one_line(source: str) -> Iterator[None]:
    """Have whatever Hydra, OmegaConf or YAML raise in the block be a RetraceError of one line."""
    try:
        yield
    except Exception as error:
        raise RetraceError(masked(f"{source}: {one_line(error)}")) from None


def composition_problem(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Say in one line which override could not be applied, if one is to blame."""
    for override in overrides:
        key, _, value = override.partition("=")
        if f"Could not override '{key}'" in str(error):
            return f"command line: {unknown(key.split('.'), value)}"
    source = f"command line: {' '.join(overrides)}" if overrides else f"{conf.name}/"
    return f"{source}: {one_line(error)}"
