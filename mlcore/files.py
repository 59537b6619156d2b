"""Reads and writes the project's files: JSON, YAML, CSV, arrays, folders.

Every write goes to a temporary name and is renamed when complete, so a file is whole or absent.
The same values give the same bytes.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from mlcore.errors import RetraceError, one_line


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes it private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, which takes its place if the block ends well.

    Raises OSError if there is no room or no right to write; what was at `path` is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".") as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` with sorted keys; NaN and infinity raise ValueError."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises RetraceError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RetraceError(f"{path} is not valid JSON: {one_line(error, 300)}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file; raises RetraceError if it is not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise RetraceError(f"{path} is not valid YAML: {one_line(error, 300)}") from None


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV, numbers with the digits that give them back exactly."""
    with atomic_path(path) as temporary:
        pd.DataFrame(list(rows)).to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: Path, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file, the columns `text` as they stand; raises RetraceError if it is not one."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise RetraceError(f"{path} is not a valid CSV table: {one_line(error, 300)}") from None
    if not isinstance(table.index, pd.RangeIndex):  # the first values became names of rows
        told = "a row has more values than there are columns: is there a comma too many?"
        raise RetraceError(f"{path}: {told}")
    return table.fillna(dict.fromkeys(text, ""))


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as an uncompressed .npz without pickled objects.

    `numpy.savez` asks for the headers of large files, which other versions of Python write
    otherwise; these are the same bytes from all.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz.

    Raises RetraceError if the file is truncated, is not an .npz or holds pickled objects.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged zip can raise nearly anything
        raise RetraceError(
            f"{path} is not a valid array file (.npz): {one_line(error, 300)}"
        ) from None


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Give the MD5 of a file, as dvc.lock has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
