"""The pickle of a trained network (report, section 2.4: "saved as a .pkl file").

It holds a mapping of plain values and arrays, no object of a class: reading one runs nothing. The
unpickler knows two names, both NumPy's, and gives functions of its own for them.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mlcore.artifacts import atomic_path, check_layers, in_short
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


OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
        *("BYTEARRAY8", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST"),
        *("APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
"""What the pickle of a network consists of. Others could ask for any amount of memory."""

CONTAINERS = ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST", "EMPTY_DICT")


def _check_opcodes(content: bytes) -> None:
    """Look through a pickle, without doing anything that it says.

    Raises
    ------
    pickle.UnpicklingError
        If it holds what no network needs: also a container that is there twice, since of tuples
        that hold tuples twice a few bytes can make more than any machine could look through.
    ValueError, IndexError
        If it is not a pickle.
    """
    remembered, before = list[str](), ""
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name not in OPCODES:
            raise pickle.UnpicklingError(f"it does {name}, which no network needs")
        if name == "MEMOIZE":
            remembered.append(before)
        elif name in ("BINGET", "LONG_BINGET") and (
            remembered[cast("int", argument)] in CONTAINERS
        ):
            raise pickle.UnpicklingError("it refers to a container, which no network needs")
        before = name


def load_network(path: Path) -> NeuralNetwork:
    """Read what `save_network` wrote.

    Raises
    ------
    RetraceError
        If the file is truncated, refers to any class or function, or does not hold a network.
    """
    content = path.read_bytes()
    try:
        _check_opcodes(content)
        saved = _Unpickler(io.BytesIO(content)).load()
        return _restore(saved)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise RetraceError(f"{path} is not the pickle of a network: {in_short(error)}") from None


def _restore(saved: Any) -> NeuralNetwork:
    """Make a network of plain values; raises ValueError or KeyError if they are not one."""
    if not isinstance(saved, dict) or set(saved) != {"params", "fitted"}:
        raise ValueError(f"it holds a {type(saved).__name__} that is no network")
    fitted = dict(saved["fitted"])
    names = fitted.pop("feature_names_in_", None)
    if set(fitted) != set(FITTED):
        raise ValueError(f"it has the attributes {sorted(fitted)}")
    network = NeuralNetwork(**saved["params"])
    if isinstance(fitted["classes_"], list):
        fitted["classes_"] = np.array(fitted["classes_"], dtype=object)
    _check_fitted(fitted, network._check_parameters())
    if names is not None:
        fitted["feature_names_in_"] = np.array(names, dtype=object)
    for name, value in fitted.items():
        setattr(network, name, value)
    return network


def _check_fitted(fitted: dict[str, Any], hidden_sizes: list[int]) -> None:
    """Raise ValueError unless the attributes of a fitted network fit each other."""
    weights, biases, classes = fitted["weights_"], fitted["biases_"], fitted["classes_"]
    check_layers(weights, biases)
    if [len(b) for b in biases[:-1]] != hidden_sizes:
        raise ValueError("its weights do not fit its hidden_layer_sizes")
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise ValueError("its classes are not a list of labels")
    if (len(weights[0]), len(biases[-1])) != (fitted["n_features_in_"], len(classes)):
        raise ValueError("its weights do not fit its features and classes")
    rows = fitted["history_"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("its history is not a list of epochs")
