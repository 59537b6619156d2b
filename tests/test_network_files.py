"""The pickle of a network: all that makes it comes back, and nothing else is read."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlcore.errors import RetraceError
from mlcore.nn import NeuralNetwork
from mlcore.training.models import FITTED, load_network, save_network

K = np.arange(40) % 3
X = np.random.default_rng(0).normal(size=(40, 3))
WORDS = np.array(["bag", "coat", "shirt"])


def fitted(X=X, labels=K, **changes):
    options = {"max_epochs": 2, "batch_size": 8, "random_state": 1, "diagnostics": True}
    return NeuralNetwork((5, 4), **options | changes).fit(X, labels, validation=(X, labels))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "network.pkl"


def refuse(path, content, match):
    path.write_bytes(content)
    with pytest.raises(RetraceError, match=f"is not the pickle of a network: {match}") as error:
        load_network(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("X", [X, X.astype(np.float32)])
@pytest.mark.parametrize(
    "labels",
    [K, K.astype(">i4"), K.astype(np.uint8), K * 1.0, K > 0, WORDS[K]],
    ids=lambda labels: labels.dtype.str,
)
def test_a_network_comes_back_as_it_was(path, X, labels):
    network = fitted(X, labels)
    save_network(path, network)
    back = load_network(path)
    assert back.predict_proba(X).tobytes() == network.predict_proba(X).tobytes()
    assert back.predict(X).tolist() == network.predict(X).tolist()
    assert vars(back).keys() == vars(network).keys()
    for name, value in vars(network).items():
        np.testing.assert_equal(getattr(back, name), value, err_msg=name)
    assert back.classes_.dtype == network.classes_.dtype
    save_network(path.with_name("again"), back.fit(X, labels, validation=(X, labels)))
    assert path.with_name("again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "labels", [np.array([1, "two", None], object), np.array(["2020", "2021", "2022"], "M8[Y]")]
)
def test_what_would_not_be_read_is_not_saved(path, labels):
    network = fitted()
    network.classes_ = labels
    with pytest.raises(RetraceError, match=r"network.pkl could not be read again: it "):
        save_network(path, network)
    assert not path.exists()


def test_another_process_writes_the_same_bytes(path):
    save_network(path, fitted())
    other = path.with_name("other.pkl")
    code = f"from test_network_files import *; save_network(Path({str(other)!r}), fitted())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "builtins.eval", "builtins.getattr", "subprocess.Popen"),
        *("numpy.load", "numpy.memmap", "numpy.ndarray", "numpy.dtype.__reduce__"),
        *("numpy._core.multiarray._reconstruct", "mlcore.nn.NeuralNetwork", "unheard_of.f"),
    ],
)
def test_what_a_pickle_names_is_neither_imported_nor_called(path, name, monkeypatch):
    sentinel = path.with_name("sentinel")
    path.with_name("unheard_of.py").write_text(f"open({str(sentinel)!r}, 'w')")
    monkeypatch.syspath_prepend(path.parent)
    module, _, attribute = name.rpartition(".")
    called = f"c{module}\n{attribute}\n(Vtouch {sentinel}\ntR.".encode()
    refuse(path, called, f"it refers to {name}, which")
    assert not sentinel.exists()
    assert "unheard_of" not in sys.modules


@pytest.mark.parametrize("name", [b"cnumpy\ndtype\n", b"cnumpy._core.numeric\n_frombuffer\n"])
def test_a_pickle_cannot_change_what_it_refers_to(path, name):
    refuse(path, name + b"}(V__code__\nVpoison\nub.", "")
    save_network(path, fitted())
    assert load_network(path).n_epochs_ == 2


@pytest.mark.parametrize("code", ["O8", "m8", "V8"])
def test_arrays_of_other_types_are_refused(path, code):
    array = pickle.dumps(np.zeros(2, "u8"), protocol=5).replace(b"\x02u8", b"\x02" + code.encode())
    refuse(path, array, f"it holds an array of '{code}'")


def content(**changes):
    """A file's content, with other parameters or other fitted values."""
    network = fitted()
    params, values = network.get_params(), {name: getattr(network, name) for name in FITTED}
    (params if changes.keys() <= params.keys() else values).update(changes)
    return pickle.dumps({"params": params, "fitted": values}, protocol=5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_layer_sizes", (5, 3)),
        ("hidden_layer_sizes", (5,)),
        ("activation", "swish"),
        ("classes_", np.arange(4)),
        ("classes_", "abc"),
        ("classes_", K[:3, None]),
        ("n_features_in_", 4),
        ("weights_", []),
        ("weights_", [np.ones((3, 5)), np.ones((9, 4)), np.ones((4, 3))]),
        ("weights_", [np.ones((3, 5), "U5"), np.ones((5, 4), "U5"), np.ones((4, 3), "U5")]),
        ("weights_", [np.full((3, 5), np.nan), np.ones((5, 4)), np.ones((4, 3))]),
        ("biases_", None),
        ("surprise_", 1),
    ],
)
def test_values_that_are_no_network_are_refused(path, key, value):
    refuse(path, content(**{key: value}), "")


@pytest.mark.parametrize(
    "value", [[1, 2], X, None, {}, {"params": {}, "fitted": {}}, {"params": {"a": 1}, "fitted": {}}]
)
def test_pickles_of_anything_else_are_refused(path, value):
    refuse(path, pickle.dumps(value, protocol=5), "")


def test_truncated_files_and_other_bytes_are_refused(path):
    whole = content()
    path.write_bytes(whole)
    assert load_network(path).n_epochs_ == 2
    for damaged in (*(whole[:n] for n in range(0, len(whole), 97)), b"a,b\n1,2\n", b"PK\3\4"):
        refuse(path, damaged, ".")
