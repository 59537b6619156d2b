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
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path
from mlcore.nn import NeuralNetwork
from mlcore.training.weights import check_layers

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

LABEL_TYPES = str | int | float | bool
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
        raise pickle.UnpicklingError("it holds values that are neither text nor numbers")
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


OPCODES = [
    getattr(pickle, name)[0]
    for name in (
        *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8"),
        *("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
]
"""What the pickle of a network consists of."""


class _Opcodes(dict[int, Callable[..., Any]]):
    """What an unpickler does, by opcode."""

    def __missing__(self, code: int) -> Callable[..., Any]:
        raise pickle.UnpicklingError(f"it holds {bytes([code])!r}, which no network needs")


# The one in Python: what it does can be restricted. The one in C makes room for as many objects as
# a file claims to have, and looks through tuples that hold tuples twice for ever.
class _Unpickler(pickle._Unpickler):
    """Reads what `save_network` writes; others cost no more than in proportion to the file."""

    memo: dict[int, Any]
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    dispatch = _Opcodes({code: pickle._Unpickler.dispatch[code] for code in OPCODES})

    def find_class(self, module: str, name: str) -> Any:
        """Give a function of ours, for the two names that there are."""
        if (module, name) not in FACTORIES:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no network needs")
        # A new function every time: what a hostile file sets on it is gone with it
        factory = FACTORIES[module, name]
        return lambda *arguments: factory(*arguments)

    def _binget(self) -> None:
        self._get(self.read(1)[0])

    def _long_binget(self) -> None:
        self._get(int.from_bytes(self.read(4), "little"))

    def _get(self, number: int) -> None:
        value = self.memo[number]
        # Others could be there any number of times, inside each other
        if not isinstance(value, str | FunctionType | _Dtype):
            raise pickle.UnpicklingError("it holds an object twice, which no network needs")
        self.append(value)

    def _bytearray8(self) -> None:
        # Read before there is room for it: the file may claim any length
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise pickle.UnpicklingError("it holds a key that is not text")
            self.stack[-1][key] = value

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple) or not isinstance(function, FunctionType):
            raise pickle.UnpicklingError("it calls what no network needs")
        self.append(function(*arguments))

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Dtype):
            raise pickle.UnpicklingError("it gives attributes to what should have none")
        self.stack[-1].__setstate__(state)

    dispatch |= {
        pickle.BINGET[0]: _binget,
        pickle.LONG_BINGET[0]: _long_binget,
        pickle.BYTEARRAY8[0]: _bytearray8,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
    }


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
    except (pickle.UnpicklingError, ValueError) as error:
        reason = one_line(error, 300)
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = f"it is damaged ({one_line(error, 300)})"
    raise RetraceError(f"{path} is not the pickle of a network: {reason}")


def _restore(saved: Any) -> NeuralNetwork:
    """Make a network of plain values; raises ValueError or KeyError if they are not one."""
    if not isinstance(saved, dict) or set(saved) != {"params", "fitted"}:
        raise ValueError(f"it holds a {type(saved).__name__} that is no network")
    if not all(isinstance(part, dict) for part in saved.values()):
        raise ValueError("its parameters or its attributes have no names")
    for name, value in saved["params"].items():
        sizes = isinstance(value, tuple | list) and all(isinstance(size, int) for size in value)
        if not sizes and not isinstance(value, LABEL_TYPES | None):
            raise ValueError(f"its parameter {name} is neither a value nor a list of integers")
    fitted = dict(saved["fitted"])
    names = fitted.pop("feature_names_in_", None)
    if set(fitted) != set(FITTED):
        raise ValueError(f"it has the attributes {sorted(fitted)}")
    network = NeuralNetwork(**saved["params"])
    if isinstance(fitted["classes_"], list):
        labels = np.empty(len(fitted["classes_"]), dtype=object)
        labels[:] = fitted["classes_"]
        fitted["classes_"] = labels
    _check_fitted(fitted, network._check_parameters())
    if names is not None:
        if (
            not isinstance(names, list)
            or len(names) != fitted["n_features_in_"]
            or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError("it does not have a name for each feature")
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
    for name in ("n_features_in_", "n_epochs_", "best_epoch_"):
        if type(fitted[name]) is not int:
            raise ValueError(f"its {name} is not an integer")
    if (len(weights[0]), len(biases[-1])) != (fitted["n_features_in_"], len(classes)):
        raise ValueError("its weights do not fit its features and classes")
    labels = classes.tolist()
    if not all(isinstance(label, LABEL_TYPES) for label in labels) or not all(
        below < above for below, above in pairwise(labels)
    ):
        raise ValueError("its classes are not strings or numbers in ascending order")
    rows = fitted["history_"]
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(isinstance(v, int | float) for v in row.values())
        for row in rows
    ):
        raise ValueError("its history is not a list of figures by name")
