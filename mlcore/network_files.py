"""The pickle of a trained network (report, section 2.4: "saved as a .pkl file").

It holds a mapping of plain values and arrays, no object of a class: reading one runs nothing. The
unpickler knows two names, both NumPy's, and gives functions of its own for them.
"""

import io
import pickle
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.artifacts import atomic_path
from mlcore.errors import RetraceError
from mlcore.nn import NeuralNetwork

PICKLE_PROTOCOL = 5

FITTED = (
    "classes_",
    "weights_",
    "biases_",
    "history_",
    "n_epochs_",
    "best_epoch_",
    "n_features_in_",
)
"""Attributes that make a fitted network."""

PLAIN_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U\d+")
"""Types of arrays: weights, and labels of any type but objects."""

LABEL_TYPES = (str, int, float, bool)
"""Types of the labels in an array of objects."""


def save_network(path: Path, network: NeuralNetwork) -> None:
    """Write a fitted network.

    Raises
    ------
    RetraceError
        If its labels are not strings or numbers.
    """
    params = {name: _plain(value) for name, value in network.get_params().items()}
    if not isinstance(params["random_state"], int):
        params["random_state"] = None  # a generator has moved on anyway
    state = {name: getattr(network, name) for name in FITTED}
    classes = state["classes_"]
    state["classes_"] = classes.astype(classes.dtype.newbyteorder("="), copy=False)
    if classes.dtype != object and not PLAIN_DTYPE.fullmatch(state["classes_"].dtype.str[1:]):
        raise RetraceError(
            f"{path.name}: labels of type {classes.dtype} cannot be saved; labels should be "
            "strings or numbers"
        )
    if state["classes_"].dtype == object:
        labels = [_plain(label) for label in state["classes_"]]
        for label in labels:
            if not isinstance(label, LABEL_TYPES):
                raise RetraceError(
                    f"{path.name}: the label {label!r} is a {type(label).__name__}, which cannot "
                    "be saved; labels should be strings or numbers"
                )
        state["classes_"] = labels
    names = getattr(network, "feature_names_in_", None)
    if names is not None:
        state["feature_names_in_"] = [str(name) for name in names]
    with atomic_path(path) as temporary:
        temporary.write_bytes(
            pickle.dumps({"params": params, "fitted": state}, protocol=PICKLE_PROTOCOL)
        )


def _plain(value: Any) -> Any:
    """Give a NumPy scalar or a sequence of them as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list | np.ndarray):
        return tuple(_plain(item) for item in value)
    return value


def _plain_dtype(code: Any, *_: Any) -> "_Dtype":
    if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
        raise pickle.UnpicklingError(f"it holds values of type {code}")
    return _Dtype(code)


class _Dtype:
    """Stands in for numpy.dtype while unpickling.

    A real dtype takes its inner state from the file, which can make it an array of pointers.
    """

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|"):
            raise pickle.UnpicklingError("it comes from a machine of another byte order")


def _plain_array(buffer: Any, dtype: Any, shape: Any, order: str) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("it holds an array without a type")
    return np.frombuffer(buffer, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


FACTORIES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _plain_dtype,
    ("numpy._core.numeric", "_frombuffer"): _plain_array,
}
"""All that the pickle refers to. Functions, not classes: a pickle can set attributes of a class."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in FACTORIES:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no network needs")
        # A new function every time: what a hostile file sets on it is gone with it
        factory = FACTORIES[module, name]
        return lambda *arguments: factory(*arguments)


def load_network(path: Path) -> NeuralNetwork:
    """Read what `save_network` wrote.

    Raises
    ------
    RetraceError
        If the file is truncated, refers to any class or function, or does not hold a network.
    """
    content = path.read_bytes()
    try:
        saved = _Unpickler(io.BytesIO(content)).load()
        return _restore(saved)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise RetraceError(f"{path} is not the pickle of a network: {error}") from None


def _restore(saved: Any) -> NeuralNetwork:
    """Make a network of plain values; raises ValueError or KeyError if they are not one."""
    if not isinstance(saved, dict) or set(saved) != {"params", "fitted"}:
        raise ValueError(f"it holds a {type(saved).__name__} that is no network")
    fitted = dict(saved["fitted"])
    names = fitted.pop("feature_names_in_", None)
    if set(fitted) != set(FITTED):
        raise ValueError(f"it has the attributes {sorted(fitted)}")
    network = NeuralNetwork(**saved["params"])
    layers = [
        network._check_parameters(),
        [W.shape[1] for W in fitted["weights_"][:-1]],
        [len(b) for b in fitted["biases_"][:-1]],
    ]
    ends = fitted["weights_"][0].shape[0], len(fitted["biases_"][-1])
    if layers[0] != layers[1] or layers[0] != layers[2]:
        raise ValueError("its weights do not fit its hidden_layer_sizes")
    shapes = [W.shape for W in fitted["weights_"]]
    if any(below[1] != above[0] for below, above in pairwise(shapes)):
        raise ValueError("its weights do not fit each other")
    if ends != (fitted["n_features_in_"], len(fitted["classes_"])):
        raise ValueError("its weights do not fit its features and classes")
    if isinstance(fitted["classes_"], list):
        fitted["classes_"] = np.array(fitted["classes_"], dtype=object)
    if names is not None:
        fitted["feature_names_in_"] = np.array(names, dtype=object)
    for name, value in fitted.items():
        setattr(network, name, value)
    return network
