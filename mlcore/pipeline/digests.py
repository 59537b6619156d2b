"""Digests: of the code, and of what a stage's results come from."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlcore.errors import RetraceError
from mlcore.files import md5_of
from mlcore.pipeline.dvc_yaml import Stage

CODE = ("mlcore", "stages", "hydra_plugins")


def digest_of(content: Any) -> str:
    """Give the SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def code_digest(root: Path) -> str:
    """Give the digest of all modules of a checkout."""
    return digest_of([_hashes(root, folder, "[!.]*.py") for folder in CODE])


def inputs_digest(stage: Stage, config: Any, root: Path) -> str:
    """Give the digest of the code, data and parameters that a stage's results come from.

    Raises RetraceError if data are missing.
    """
    paths = [stage.filled(dep, config) for dep in stage.deps]
    params = {section: getattr(config, section).model_dump() for section in stage.sections}
    return digest_of([params, [_hashes(root, path) for path in paths]])


def _hashes(root: Path, name: str, pattern: str = "*") -> dict[str, str]:
    """Give the MD5 of a file, or of the files of a folder, by path."""
    path = root / name
    files: Iterable[Path] = sorted(path.rglob(pattern)) if path.is_dir() else [path]
    try:
        return {
            file.relative_to(root).as_posix(): md5_of(file)
            for file in files
            if not file.is_dir() and "__pycache__" not in file.parts
        }
    except FileNotFoundError:
        raise RetraceError(f"{name} does not exist yet; `make repro` makes it") from None
