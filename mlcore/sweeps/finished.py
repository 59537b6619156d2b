"""Jobs of sweeps that are finished: each leaves a note of what it came from and what it wrote.

The same job of a later sweep is skipped, whatever launcher runs it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlcore.config import Config
from mlcore.files import read_yaml, write_json
from mlcore.pipeline.digests import digests_of, refuse_outdated

NOTE = ".hydra/finished.json"
"""In a job's folder, where Hydra keeps the job's parameters."""

FORCE = "RETRACE_FORCE"
"""Environment variable; with 1, what is finished is run again."""


def digest_of(module: str, config: Config, root: Path) -> str:
    """Give the digest of what a stage run by hand comes from; "" if dvc.yaml does not know it.

    Raises
    ------
    RetraceError
        If its data are missing, or this process may have imported code that has changed since.
    """
    stage = module.removeprefix("stages.")
    pipeline = read_yaml(root / "dvc.yaml")["stages"]
    if stage not in pipeline:
        return ""
    refuse_outdated([stage], pipeline, root)
    return digests_of([stage], config, pipeline, root)[0]


def find(digest: str, out: Path) -> Path | None:
    """Give the folder of a finished job of this digest, in the sweeps beside that of `out`.

    Of the same sweep, that is only `out` itself: the others are about to be written.
    """
    if not digest or os.environ.get(FORCE) == "1":
        return None
    for path in sorted(out.parent.parent.glob(f"*/*/{NOTE}"), reverse=True):
        folder = path.parents[1]
        if folder.parent == out.parent and folder != out:
            continue
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
            whole = all((folder / name).is_file() for name in note["files"])
        except (OSError, ValueError, KeyError, TypeError):  # half written, or not ours
            continue
        if whole and note["digest"] == digest:
            return folder
    return None


def begin(out: Path) -> None:
    """Take away the note of what is about to be overwritten."""
    (out / NOTE).unlink(missing_ok=True)


def note(digest: str, out: Path) -> None:
    """Note that the job of this folder is finished."""
    files = [path for path in out.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    names = sorted(path.relative_to(out).as_posix() for path in files if path.suffix != ".log")
    (out / NOTE).parent.mkdir(exist_ok=True)
    write_json(out / NOTE, {"digest": digest, "files": names})
