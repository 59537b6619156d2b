"""The pipeline as dvc.yaml states it: stages, what each is for, and whose results it takes."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """A stage of dvc.yaml, with all items of its matrix.

    Attributes
    ----------
    name : str
    desc : str
    needs : list of str
        Stages whose results it takes.
    """

    name: str
    desc: str
    needs: list[str]


def outline(pipeline: Mapping[str, Any]) -> list[Stage]:
    """Give the stages of a pipeline.

    Parameters
    ----------
    pipeline : mapping
        The content of dvc.yaml.
    """
    made = {name: _outs(stage) for name, stage in pipeline["stages"].items()}
    return [
        Stage(
            name,
            stage["desc"],
            [
                other
                for other, outs in made.items()
                if other != name
                and any(_takes(_pattern(dep), out) for dep in stage["deps"] for out in outs)
            ],
        )
        for name, stage in pipeline["stages"].items()
    ]


def _outs(stage: Mapping[str, Any]) -> list[str]:
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return [_pattern(next(iter(out)) if isinstance(out, dict) else out) for out in listed]


def _pattern(path: str) -> str:
    """Let every item of a matrix match."""
    return re.sub(r"\$\{[^}]*\}", "*", path)


def _takes(dep: str, out: str) -> bool:
    """Say whether a dependency is an output, is inside one, or has one inside."""
    same = fnmatchcase(out, dep) or fnmatchcase(dep, out)
    return same or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")
