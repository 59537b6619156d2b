"""Digests: of what a stage's results come from, as one, and of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcore.errors import RetraceError

if TYPE_CHECKING:
    from mlcore.config import Config


GENERATION = slice(6)
"""Of a digest: what all have in common that come from the same code and data."""

PARAMS = slice(6, 16)
"""Of a digest: what all have in common that have the same parameters."""


def digests_of(
    stages: Sequence[str], config: Config, pipeline: Mapping[str, Any], root: Path
) -> list[str]:
    """Give the digest of every stage's parameters, data and code, and of those before it.

    The digits in `GENERATION` are of code and data alone, those in `PARAMS` of parameters alone.

    Parameters
    ----------
    stages : sequence of str
        In the order in which they run; what one makes, those after it read.
    config : Config
    pipeline : mapping
        The stages of dvc.yaml.
    root : Path
        Top of the checkout.

    Raises
    ------
    RetraceError
        If data that no stage before it makes are missing.
    """
    generations: list[str] = []
    params: list[str] = []
    made: set[str] = set()
    for name in stages:
        stage = pipeline[name]
        values = {
            item: getattr(getattr(config, part), key) for part, key, item in _matrix_items(stage)
        }
        inputs = [path for path in stage["deps"] if path not in made]
        hashes = {path: _hash(root, _filled(path, values)) for path in inputs}
        generations.append(_digest([*generations[-1:], hashes]))
        known = {s: getattr(config, s).model_dump() for s in sections_of(stage)}
        params.append(_digest([*params[-1:], known]))
        made |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}
    return [
        g[GENERATION] + p[PARAMS] + g[PARAMS.stop :]
        for g, p in zip(generations, params, strict=True)
    ]


def _matrix_items(stage: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Give how dvc.yaml hands matrix items on to the configuration: section, key and item."""
    return re.findall(r"(\w+)\.(\w+)=\$\{item\.(\w+)\}", stage["cmd"])


def sections_of(stage: Mapping[str, Any]) -> list[str]:
    """Name the sections of the configuration that a stage of dvc.yaml reads."""
    named = {key.partition(".")[0] for key in stage.get("params", [])}
    return sorted(named | {part for part, _, _ in _matrix_items(stage)})


_code_at_first: dict[Path, dict[str, str]] = {}
_changed_code: dict[Path, set[str]] = {}


def changed_code(root: Path) -> set[str]:
    """Name the modules of a checkout that have changed since this process first asked.

    What a process has imported stays as it was then. A module stays named when its file is as
    before again: it may have been imported in between.
    """
    now = {}
    for package in ("mlcore", "stages"):
        for file in (root / package).rglob("[!.]*.py"):  # an editor's lock files begin with a dot
            name = file.relative_to(root).as_posix()
            with suppress(RetraceError):  # it is just being replaced
                now[name] = _hash(root, name)
    first = _code_at_first.setdefault(root, now)
    changed = _changed_code.setdefault(root, set())
    changed.update(name for name, digest in first.items() if now.get(name) != digest)
    return changed


def refuse_outdated(stages: Sequence[str], pipeline: Mapping[str, Any], root: Path) -> None:
    """Raise RetraceError if stages come from a module that has changed (see `changed_code`)."""
    code = [dep for name in stages for dep in pipeline[name]["deps"]]
    for module in sorted(changed_code(root)):
        if any(module == dep or module.startswith(f"{dep}/") for dep in code):
            raise RetraceError(f"{module} has changed since this process was started")


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _filled(path: str, values: Mapping[str, str]) -> str:
    """Put the matrix items into a path of dvc.yaml."""
    return re.sub(r"\$\{item\.(\w+)\}", lambda item: values[item[1]], path)


_known: dict[tuple[Path, int], str] = {}


def _hash(root: Path, name: str) -> str:
    """Hash a file, or a folder's files and their names."""
    path = root / name
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        if "__pycache__" in file.parts:
            continue
        try:
            key = file, file.stat().st_mtime_ns
            if key not in _known:
                _known[key] = hashlib.sha256(file.read_bytes()).hexdigest()
        except FileNotFoundError:
            raise RetraceError(f"{name} does not exist yet; `make repro` makes it") from None
        whole.update(f"{file.relative_to(path)} {_known[key]}\n".encode())
    return whole.hexdigest()
