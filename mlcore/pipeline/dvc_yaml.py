"""dvc.yaml and dvc.lock as data: what each stage is for, reads and makes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

from mlcore.errors import RetraceError
from mlcore.files import read_yaml


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, with all items of its matrix.

    Paths are as dvc.yaml has them, with ``${item.name}`` in them.
    """

    name: str
    desc: str
    needs: list[str]
    """Stages whose results it takes."""
    deps: list[str] = field(default_factory=list)
    outs: list[str] = field(default_factory=list)
    """All that it makes: outs, metrics and plots."""
    items: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Section and key of the configuration by the matrix item that DVC hands on to them."""
    sections: list[str] = field(default_factory=list)
    """Of the configuration, that it reads."""
    matrix: list[str | list[str]] = field(default_factory=list)
    """Values of each matrix item, or where in params.yaml they stand, as in ``${grid.init}``."""

    def filled(self, path: str, config: Any) -> str:
        """Put the matrix items of a configuration into a path."""
        for item, (section, key) in self.items.items():
            path = path.replace(f"${{item.{item}}}", getattr(getattr(config, section), key))
        return path

    def names(self, params: Any) -> list[str]:
        """Name it as DVC does, once for each combination of its matrix, sorted."""
        lists = [
            reduce(getitem, values[2:-1].split("."), params) if isinstance(values, str) else values
            for values in self.matrix
        ]
        items = sorted("-".join(chosen) for chosen in product(*lists))
        return [f"{self.name}@{item}" if item else self.name for item in items]


def outline(pipeline: Mapping[str, Any]) -> list[Stage]:
    """Give the stages of a pipeline, as dvc.yaml holds it."""
    made = {name: _outs(stage) for name, stage in pipeline["stages"].items()}
    return [_stage(name, stage, made) for name, stage in pipeline["stages"].items()]


def read_stages(root: Path) -> dict[str, Stage]:
    """Read the stages of a checkout's dvc.yaml by their names."""
    return {stage.name: stage for stage in outline(read_yaml(root / "dvc.yaml"))}


def _stage(name: str, stage: Mapping[str, Any], made: Mapping[str, list[str]]) -> Stage:
    deps = list(stage.get("deps", []))
    handed = re.findall(r"(\w+)\.(\w+)=\$\{item\.(\w+)\}", stage.get("cmd", ""))
    needs = [
        other
        for other, outs in made.items()
        if other != name and any(_takes(pattern(d), pattern(out)) for d in deps for out in outs)
    ]
    named = {key.partition(".")[0] for key in stage.get("params", [])}
    return Stage(
        name,
        stage.get("desc", ""),
        needs,
        deps,
        made[name],
        {item: (section, key) for section, key, item in handed},
        sorted(named | {section for section, _, _ in handed}),
        list(stage.get("matrix", {}).values()),
    )


def _outs(stage: Mapping[str, Any]) -> list[str]:
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


def pattern(path: str) -> str:
    """Let every item of a matrix match."""
    return re.sub(r"\$\{[^}]*\}", "*", path)


def _takes(dep: str, out: str) -> bool:
    """Say whether a dependency is an output, is inside one, or has one inside."""
    same = fnmatchcase(out, dep) or fnmatchcase(dep, out)
    return same or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")


def made_by(stages: Mapping[str, Stage], path: str) -> str | None:
    """Name the stage that makes a file; None if none does."""
    makers = (
        name
        for name, stage in stages.items()
        if any(fnmatchcase(path, pattern(out)) for out in stage.outs)
    )
    return next(makers, None)


def read_lock(root: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Read dvc.lock: of every stage as DVC addresses it, the MD5 of its "deps" and "outs" by path.

    Raises RetraceError if there is none.
    """
    if not (root / "dvc.lock").is_file():
        raise RetraceError("dvc.lock does not exist yet; `make repro` makes it")
    return {
        name: {
            kind: {entry["path"]: entry["md5"] for entry in stage.get(kind, [])}
            for kind in ("deps", "outs")
        }
        for name, stage in read_yaml(root / "dvc.lock")["stages"].items()
    }
