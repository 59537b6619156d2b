"""The pickle of a trained network (report, section 2.4: "saved as a .pkl file").

It holds a mapping of plain values and arrays. It is read as Python's documentation says under
"Restricting Globals": two names, both NumPy's, are let through, and get functions of ours.
"""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path
from mlcore.nn import NeuralNetwork
from mlcore.training.weights import check_layers

FITTED = (
    *("classes_", "weights_", "biases_", "history_"),
    *("n_epochs_", "best_epoch_", "n_features_in_"),
)
"""Attributes that make a fitted network."""

PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U\d+")
"""Types of arrays: weights, and labels of any type but objects."""


def save_network(path: Path, network: NeuralNetwork) -> None:
    """Write a fitted network of plain parameters, whose labels are numbers or strings.

    Raises RetraceError if it could not be read again.
    """
    fitted = {name: getattr(network, name) for name in FITTED}
    content = pickle.dumps({"params": network.get_params(), "fitted": fitted}, protocol=5)
    _read(content, f"{path.name} could not be read again")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


class _Dtype:
    """Stands in for numpy.dtype, which a state from a file could make a type of pointers."""

    def __init__(self, code: str) -> None:
        if not PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"it holds an array of {code!r}, not of text or numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class ArrayUnpickler(pickle.Unpickler):
    """Reads plain values and arrays."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Give a function of ours for each of two names; made anew, for a file can change it."""
        if (module, name) == ("numpy", "dtype"):
            return lambda code, *_: _Dtype(code)
        if (module, name) == ("numpy._core.numeric", "_frombuffer"):
            return lambda buffer, dtype, shape, order: np.frombuffer(buffer, dtype.dtype).reshape(
                shape, order=order
            )
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no network needs")


def load_network(path: Path) -> NeuralNetwork:
    """Read what `save_network` wrote.

    Raises RetraceError if the file is truncated, refers to any other class or function, or holds no
    network.
    """
    return _read(path.read_bytes(), f"{path} is not the pickle of a network")


def _read(content: bytes, failure: str) -> NeuralNetwork:
    try:
        return _restore(ArrayUnpickler(io.BytesIO(content)).load())
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise RetraceError(f"{failure}: {one_line(error, 300)}") from None


def _restore(saved: Any) -> NeuralNetwork:
    """Make a network of plain values; any error tells that they are not one."""
    if not isinstance(saved, dict) or saved.keys() != {"params", "fitted"}:
        raise ValueError(f"it holds a {type(saved).__name__} of something else")
    network, fitted = NeuralNetwork(**saved["params"]), saved["fitted"]
    hidden_sizes = network._check_parameters()
    if set(fitted) != set(FITTED):
        raise ValueError(f"it has the attributes {sorted(fitted)}")
    weights, biases, n_features = fitted["weights_"], fitted["biases_"], fitted["n_features_in_"]
    check_layers(weights, biases)
    if [W.shape[0] for W in weights] != [n_features, *hidden_sizes]:
        raise ValueError("its weights do not fit its n_features_in_ and hidden_layer_sizes")
    if fitted["classes_"].shape != biases[-1].shape:
        raise ValueError("its weights do not fit its classes")
    network.__dict__ |= fitted
    return network
