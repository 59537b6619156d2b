"""The pickle of a network: all that makes it comes back, and nothing else is read."""

import os
import pickle
import pickletools
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.neural_network import MLPClassifier

from mlcore.errors import RetraceError
from mlcore.nn import NeuralNetwork
from mlcore.training.models import load_network, save_network
from mlcore.training.run import models


def dataset():
    X = np.random.default_rng(0).normal(size=(40, 3))
    return X, np.arange(40) % 3


def fitted(labels=None, dtype=np.float64, **changes):
    X, y = dataset()
    labels = y if labels is None else labels[y]
    options = {"max_epochs": 2, "batch_size": 8, "random_state": 1, "diagnostics": True}
    network = NeuralNetwork((5, 4), **options | changes)
    return network.fit(X.astype(dtype), labels, validation=(X, labels))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.pkl"


def refuse(path, match):
    with pytest.raises(RetraceError, match=match) as error:
        load_network(path)
    assert str(path) in str(error.value)


LABELS = {
    "int64": np.array([3, 5, 7]),
    "int32": np.array([3, 5, 7], np.int32),
    "big-endian": np.array([3, 5, 7], ">i4"),
    "uint8": np.array([3, 5, 7], np.uint8),
    "float": np.array([3.0, 5.0, 7.0]),
    "strings": np.array(["bag", "coat", "shirt"]),
    "objects": np.array(["bag", "coat", "shirt"], dtype=object),
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_comes_back_as_it_was(path, name, dtype):
    network = fitted(LABELS[name], dtype)
    save_network(path, network)
    back = load_network(path)
    X, _ = dataset()
    assert type(back) is NeuralNetwork
    assert back.predict_proba(X).tobytes() == network.predict_proba(X).tobytes()
    assert back.predict(X).tolist() == network.predict(X).tolist()
    assert back.classes_.dtype == network.classes_.dtype.newbyteorder("=")
    assert back.get_params() == network.get_params()
    assert back.history_ == network.history_
    assert (back.n_epochs_, back.best_epoch_) == (network.n_epochs_, network.best_epoch_)


def test_two_classes_of_truth_values(path):
    X, y = dataset()
    network = NeuralNetwork(4, max_epochs=2, random_state=0).fit(X, y > 0)
    save_network(path, network)
    assert load_network(path).predict(X).tolist() == network.predict(X).tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"learning_rate": np.float32(0.5)}, {"learning_rate": 0.5}),
        ({"batch_size": np.int64(8)}, {"batch_size": 8}),
        ({"random_state": np.random.RandomState(0)}, {"random_state": None}),
        ({"random_state": np.int32(3)}, {"random_state": 3}),
    ],
    ids=["learning rate", "batch size", "generator", "seed"],
)
def test_parameters_of_numpys_types_are_saved_as_plain_ones(path, changes, expected):
    network = fitted(**changes)
    save_network(path, network)
    back = load_network(path)
    assert back.get_params().items() >= expected.items()
    assert back.weights_[0].tobytes() == network.weights_[0].tobytes()


def test_names_of_features_come_back(path):
    X, y = dataset()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    network = NeuralNetwork(4, max_epochs=1, random_state=0).fit(frame, y)
    save_network(path, network)
    assert load_network(path).predict(frame).tolist() == network.predict(frame).tolist()


def test_labels_that_are_no_plain_values_are_refused(path):
    network = fitted()
    network.classes_ = np.array([1, "two", None], dtype=object)
    with pytest.raises(RetraceError, match="None is a NoneType, which cannot be saved"):
        save_network(path, network)
    assert not path.exists()


def test_labels_of_a_type_that_would_not_be_read_are_refused(path):
    network = fitted()
    network.classes_ = np.array(["2020", "2021", "2022"], "datetime64[Y]")
    with pytest.raises(RetraceError, match=r"labels of type datetime64.* cannot be saved"):
        save_network(path, network)


def test_a_network_that_goes_on_training_can_be_saved_and_refitted(path):
    save_network(path, fitted())
    X, y = dataset()
    again = load_network(path).fit(X, y, validation=(X, y))
    assert again.weights_[0].tobytes() == fitted().weights_[0].tobytes()


def test_the_same_network_gives_the_same_bytes(monkeypatch, tmp_path):
    save_network(tmp_path / "a.pkl", fitted())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    save_network(tmp_path / "b.pkl", fitted())
    assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "b.pkl").read_bytes()


class Call:
    """Pickles as a call of a function, and the state its result is given."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def hostile(sentinel):
    """Return objects whose unpickling would make a file."""
    return {
        "system": Call(os.system, f"touch {sentinel}"),
        "eval": Call(eval, f"open({str(sentinel)!r}, 'w')"),
        "popen": Call(subprocess.Popen, ["touch", str(sentinel)]),
        "open": Call(open, str(sentinel), "w"),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "numpy": Call(np.save, str(sentinel), 1),
        "numpy memmap": Call(np.memmap, str(sentinel), "uint8", "w+", 0, (1,)),
        "in a list": [1, {"a": Call(os.system, f"touch {sentinel}")}],
        "the class itself": NeuralNetwork,
        "an estimator": MLPClassifier(),
    }


def content(network=None):
    """What a file holds, as plain values."""
    network = network or fitted()
    names = ("classes_", "weights_", "biases_", "history_", "n_epochs_", "best_epoch_")
    values = {name: getattr(network, name) for name in (*names, "n_features_in_")}
    return {"params": network.get_params(), "fitted": values}


def test_a_long_history_is_read(path):
    """From its 256th object on a pickle refers to objects in another way."""
    X, y = np.eye(4), np.arange(4)
    network = NeuralNetwork((2,), max_epochs=300, random_state=0).fit(X, y, validation=(X, y))
    network.history_[-1]["unheard_of"] = network.history_[-2]["unheard_of"] = 1.0
    save_network(path, network)
    assert "LONG_BINGET" in {code.name for code, *_ in pickletools.genops(path.read_bytes())}
    assert load_network(path).history_ == network.history_


def named(name, rest):
    module = b"numpy" if name == "dtype" else b"numpy._core.numeric"
    return b"\x80\x05\x8c%c%b\x8c%c%b\x93%b" % (len(module), module, len(name), name.encode(), rest)


def whole(params, fitted):
    return b"\x80\x05}(\x8c\x06params%b\x8c\x06fitted%bu." % (params, fitted)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x05]\x940.", "it holds b'0', which"),
        (b"\x80\x05]r\x01\0\0\0.", "it holds b'r', which"),
        (b"\x80\x05]\x94h\x00\x86.", "it holds an object twice"),
        (b"\x80\x05)\x94j\x00\0\0\0\x86.", "it holds an object twice"),
        (b"\x80\x05}\x80\x05)\x80\x05\x94h\x00\x86Ns.", "it holds an object twice"),
        (b"\x80\x05]Na\x94h\x00\x86.", "it holds an object twice"),
        (b"\x80\x05}N" + b"\x85" * 10**6 + b"Ns.", "it holds a key that is not text"),
        (b"\x80\x05}(K\x01Nu.", "it holds a key that is not text"),
        (b"\x80\x05}}b.", "it gives attributes to"),
        (b"\x80\x05h\x07.", r"it is damaged \(7\)"),
        (b"", r"it is damaged \(EOFError\)"),
        (b"\x80\x05K\x01)R.", "it calls what no network needs"),
        (named("_frombuffer", b"]R."), "it calls what no network needs"),
        (named("dtype", b"]\x85R."), "it holds values that are neither text nor numbers"),
        (
            whole(b"}", b"]" + b"N" + b"\x85" * 10**6 + b"N\x86a"),
            "its parameters or its attributes have no names",
        ),
        (whole(b"}\x8c\x01a]Nas", b"}"), "its parameter a is neither a value nor a list"),
        (whole(b"]", b"}"), "its parameters or its attributes have no names"),
    ],
)
def test_what_could_cost_any_amount_of_time_or_memory_is_not_unpickled(path, content, message):
    path.write_bytes(content)
    refuse(path, f"is not the pickle of a network: {message}")


@pytest.fixture(params=["by opcodes", "by names"])
def refusal(request, monkeypatch):
    """How a pickle is refused that does more than a network's: by what it does, by its names."""
    if request.param == "by opcodes":
        return "is not the pickle of a network: it (holds|refers to) "
    monkeypatch.setattr(models._Unpickler, "dispatch", pickle._Unpickler.dispatch)
    return "is not the pickle of a network: it refers to "


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a network"])
@pytest.mark.parametrize("name", hostile(""))
def test_hostile_pickles_are_not_run(path, tmp_path, refusal, name, inside):
    sentinel = tmp_path / "sentinel"
    value = hostile(sentinel)[name]
    if inside:
        whole = content()
        whole["fitted"]["history_"] = value
        value = whole
    path.write_bytes(pickle.dumps(value))
    refuse(path, refusal)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    "function",
    [
        b"cos\nsystem\n",
        b"cmlcore.files\nos.system\n",
        b"\x80\x04\x8c\x10mlcore.files\x8c\x09os.system\x93",
        b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93",
    ],
    ids=["protocol 0", "dotted, protocol 0", "dotted, protocol 4", "of an allowed name"],
)
def test_hand_made_pickles_are_not_run(path, tmp_path, refusal, function):
    sentinel = tmp_path / "sentinel"
    path.write_bytes(function + b"(S'touch " + bytes(sentinel) + b"'\ntR.")
    refuse(path, refusal)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("module", "name"), [("numpy", "dtype"), ("numpy._core.numeric", "_frombuffer")]
)
def test_a_pickle_cannot_change_what_it_refers_to(path, module, name):
    """BUILD sets attributes of what it is given: of a class, for the rest of the process."""
    state = b"}(\x8c\x08poisoned\x88u"  # {"poisoned": True}
    reference = b"\x8c" + bytes([len(module)]) + module.encode()
    reference += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"
    path.write_bytes(b"\x80\x04" + reference + state + b"b.")
    refuse(path, "is not the pickle of a network")
    save_network(path, fitted())
    assert load_network(path).n_epochs_ == 2
    assert not hasattr(np.dtype, "poisoned")
    from mlcore.training.run import models

    for factory in models.FACTORIES.values():
        assert not hasattr(factory, "poisoned")


@pytest.mark.parametrize("value", [[1, 2], np.arange(3.0), None, {}, {"params": {}, "fitted": {}}])
def test_pickles_of_anything_else_are_refused(path, value):
    path.write_bytes(pickle.dumps(value, protocol=5))
    refuse(path, "is not the pickle of a network: it h")


def change(key, value):
    whole = content()
    section = "params" if key in whole["params"] else "fitted"
    whole[section][key] = value
    return whole


@pytest.mark.parametrize(
    "whole",
    [
        change("hidden_layer_sizes", (5, 3)),
        change("hidden_layer_sizes", (5,)),
        change("activation", "swish"),
        change("classes_", np.arange(4)),
        change("n_features_in_", 4),
        change("weights_", 3),
        change("weights_", []),
        change("biases_", None),
        change("weights_", [np.ones((3, 5)), np.ones((9, 4)), np.ones((4, 3))]),
        change("surprise_", 1),
        {"params": {"nosuch": 1}, "fitted": content()["fitted"]},
    ],
    ids=range(11),
)
def test_values_that_are_no_network_are_refused(path, whole):
    path.write_bytes(pickle.dumps(whole, protocol=5))
    refuse(path, "is not the pickle of a network")


def test_truncated_anywhere(path):
    save_network(path, fitted())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refuse(path, "is not the pickle of a network")


@pytest.mark.parametrize(
    "junk",
    [np.random.default_rng(0).bytes(500), b"a,b\n1,2\n", b"PK\x03\x04" + bytes(60)],
    ids=["random", "text", "half a zip"],
)
def test_random_bytes(path, junk):
    path.write_bytes(junk)
    refuse(path, "is not the pickle of a network")


@pytest.mark.parametrize(
    ("code", "alignment"), [("O8", 8), ("m8", -1)], ids=["pointers", "crashes numpy"]
)
def test_arrays_of_other_types_are_refused(path, code, alignment):
    state = (3, "|", None, None, None, alignment, alignment, 0)
    dtype = Call(np.dtype, code, False, True, state=state)
    array = Call(np._core.numeric._frombuffer, b"\x01" * 16, dtype, (2,), "C")
    path.write_bytes(pickle.dumps(change("classes_", array)))
    refuse(path, "is not the pickle of a network")
