"""Reads and writes the project's files: JSON, CSV, arrays, scikit-learn's models.

Every write goes to a temporary name and is renamed when complete, so a file is whole or absent.
The same values give the same bytes.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from mlcore.errors import RetraceError

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier, MLPRegressor


class MLPWeights(NamedTuple):
    """A fitted scikit-learn MLP as plain data.

    Attributes
    ----------
    weights : list of ndarrays of shape (fan_in, fan_out)
    biases : list of ndarrays of shape (fan_out,)
    activation : str
        scikit-learn's name for the hidden activation.
    """

    weights: list[NDArray[Any]]
    biases: list[NDArray[Any]]
    activation: str


BROKEN_YAML = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises, too, for values that are not of the type they are tagged with."""


def in_short(error: Exception) -> str:
    """Give an error's words in one line of at most 300 characters, all printable."""
    words = "".join(c if c.isprintable() else " " for c in str(error)[:2000])
    return shorten(words, 300, placeholder=" ...") or type(error).__name__


LONGEST_NUMBER = 100
"""The longest number that is read from YAML: one of 500 kB to the base of 60 takes ten seconds."""


class YamlLoader(yaml.SafeLoader):
    """Refuses merge keys (<<), with which a few lines can make gigabytes, and endless numbers."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Give a scalar's text; raise an error if it is a number of too many characters."""
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError(
                f"a number of {len(node.value):,} characters; {LONGEST_NUMBER} are read at most"
            )
        return super().construct_scalar(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Raise an error where there is a merge key."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.YAMLError("merge keys (<<) are not read here")


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
        raise RetraceError(f"{path} is not valid JSON: {in_short(error)}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file; raises RetraceError if it is not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), YamlLoader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, *BROKEN_YAML) as error:
        raise RetraceError(f"{path} is not valid YAML: {in_short(error)}") from None


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as CSV, numbers with the digits that give them back exactly."""
    with atomic_path(path) as temporary:
        pd.DataFrame(list(rows)).to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file; raises RetraceError if it is not one."""
    try:
        return pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise RetraceError(f"{path} is not a valid CSV table: {in_short(error)}") from None


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as an uncompressed .npz without pickled objects."""
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz.

    Raises
    ------
    RetraceError
        If the file is truncated, is not an .npz or holds pickled objects.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged zip can raise nearly anything
        raise RetraceError(f"{path} is not a valid array file (.npz): {in_short(error)}") from None


def save_mlp(path: Path, model: MLPClassifier | MLPRegressor) -> None:
    """Write the weights of a fitted scikit-learn MLP (its skops file differs at every write)."""
    arrays = {f"weights_{i}": W for i, W in enumerate(model.coefs_)}
    arrays |= {f"biases_{i}": b for i, b in enumerate(model.intercepts_)}
    save_arrays(path, activation=np.array(model.activation), **arrays)


MLP_ACTIVATIONS = ("identity", "logistic", "relu", "tanh")
"""scikit-learn's names."""


def load_mlp(path: Path) -> MLPWeights:
    """Read what `save_mlp` wrote; raises RetraceError as `load_arrays` does."""
    arrays = load_arrays(path)
    try:
        activation = str(arrays.pop("activation"))
        layers = range(max(1, len(arrays) // 2))
        weights = [arrays.pop(f"weights_{i}") for i in layers]
        biases = [arrays.pop(f"biases_{i}") for i in layers]
        if arrays:
            raise ValueError(f"it also holds {', '.join(sorted(arrays))}")
        if activation not in MLP_ACTIVATIONS:
            raise ValueError(f"its activation is {activation!r}")
        check_layers(weights, biases)
    except KeyError as error:
        raise RetraceError(f"{path} is not a saved MLP: it lacks {error}") from None
    except ValueError as error:
        raise RetraceError(f"{path} is not a saved MLP: {in_short(error)}") from None
    return MLPWeights(weights, biases, activation)


def check_layers(weights: Any, biases: Any) -> None:
    """Raise ValueError unless these are the weights and biases of layers that follow each other.

    Parameters
    ----------
    weights : list of ndarrays of shape (fan_in, fan_out)
    biases : list of ndarrays of shape (fan_out,)
        All of one floating-point type, and finite.
    """
    for values, n_axes in ((weights, 2), (biases, 1)):
        if not isinstance(values, list) or not all(
            isinstance(v, np.ndarray) and v.ndim == n_axes and v.dtype.kind == "f" and v.size
            for v in values
        ):
            raise ValueError("its weights and biases are not floating-point arrays of 2 and 1 axes")
    if len({v.dtype for v in (*weights, *biases)}) != 1:
        raise ValueError("its weights and biases are not of one type")
    shapes = [W.shape for W in weights]
    if [fan_out for _, fan_out in shapes] != [len(b) for b in biases] or any(
        below[1] != above[0] for below, above in pairwise(shapes)
    ):
        raise ValueError("its weights and biases do not fit each other")
    if not all(np.isfinite(v).all() for v in (*weights, *biases)):
        raise ValueError("its weights and biases are not all finite")
