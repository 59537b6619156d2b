"""Where each of the study's numbers comes from in the pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlcore.files import md5_of
from mlcore.study.parts import PARTS, Part, group_of


def source_of(path: str) -> tuple[str, str, Part]:
    """Give the stage, the file and the part of the study behind a number, by its path.

    Raises ValueError if no stage computes it.
    """
    group = group_of(path)
    if group is None:
        raise ValueError(f"no stage computes {path}")
    part = PARTS[group.part]
    name = group.training(path)
    stage = f"{part.stage}@{name}" if part.varied else part.stage
    return stage, f"metrics/{part.file.format(name)}", part


def provenance(
    path: str, find: Callable[[str], Path], params: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Say how the number of a path came about, and how to compute it again.

    With all parameters of the run; `find` leads from a file's path, as in dvc.yaml, to where it
    lies. Gives "stage"; "file" and its "md5", as in dvc.lock; "params"; "command".
    """
    stage, file, part = source_of(path)
    item = stage.partition("@")[2]
    chosen = {section: dict(params[section]) for section in part.sections}
    # Under DVC the matrix sets these
    for key, value in zip(part.varied, item.split("-"), strict=False):
        section, _, name = key.partition(".")
        chosen[section][name] = value
    return {
        "stage": stage,
        "file": file,
        "md5": md5_of(find(file)),
        "params": chosen,
        # The first makes what the stage needs, where that is not there
        "command": f"dvc repro {stage} && dvc repro --force --single-item {stage}",
    }
