"""Digests: of what a stage's results come from, as one, and of files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
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
        # How dvc.yaml hands a matrix item on to the configuration
        items = re.findall(r"(\w+)\.(\w+)=\$\{item\.(\w+)\}", stage["cmd"])
        values = {item: getattr(getattr(config, part), key) for part, key, item in items}
        inputs = [path for path in stage["deps"] if path not in made]
        sections = [key.partition(".")[0] for key in stage.get("params", [])]
        sections += [part for part, _, _ in items]
        hashes = {path: _hash(root, _filled(path, values)) for path in inputs}
        generations.append(_digest([*generations[-1:], hashes]))
        known = {s: getattr(config, s).model_dump() for s in sorted(set(sections))}
        params.append(_digest([*params[-1:], known]))
        made |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}
    return [
        g[GENERATION] + p[PARAMS] + g[PARAMS.stop :]
        for g, p in zip(generations, params, strict=True)
    ]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _filled(path: str, values: Mapping[str, str]) -> str:
    """Put the matrix items into a path of dvc.yaml."""
    return re.sub(r"\$\{item\.(\w+)\}", lambda item: values[item[1]], path)


def md5_of(path: Path) -> str:
    """Give the MD5 of a file, as dvc.lock has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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
