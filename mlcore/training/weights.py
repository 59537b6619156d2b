"""The weights of scikit-learn's MLPs as plain data, and their files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlcore.errors import RetraceError
from mlcore.files import load_arrays, save_arrays

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


def save_mlp(path: Path, model: MLPClassifier | MLPRegressor) -> None:
    """Write the weights of a fitted scikit-learn MLP (its skops file differs at every write)."""
    arrays = {f"weights_{i}": W for i, W in enumerate(model.coefs_)}
    arrays |= {f"biases_{i}": b for i, b in enumerate(model.intercepts_)}
    save_arrays(path, activation=np.array(model.activation), **arrays)


def load_mlp(path: Path) -> MLPWeights:
    """Read what `save_mlp` wrote; raises RetraceError if it lacks one of these arrays."""
    arrays = load_arrays(path)
    layers = range(max(1, len(arrays) // 2))
    try:
        return MLPWeights(
            [arrays[f"weights_{i}"] for i in layers],
            [arrays[f"biases_{i}"] for i in layers],
            str(arrays["activation"]),
        )
    except KeyError as error:
        raise RetraceError(f"{path} is not a saved MLP: it lacks {error}") from None


def check_layers(weights: Any, biases: Any) -> None:
    """Raise ValueError unless these are the weights and biases of layers that follow each other.

    Lists of arrays of shape (fan_in, fan_out) and (fan_out,), of one floating-point type, finite.
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
