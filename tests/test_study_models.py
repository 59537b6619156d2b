"""The study's own networks: read without running them, scored as by hand, beside the prints."""

import hashlib
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.special import expit, log_softmax

from mlcore.files import read_json, save_arrays
from mlcore.review.study_models import RESULT, main

ROOT = Path(__file__).parents[1]
SIZES = {"train": 25, "val": 12, "test": 16}
ACTIVATIONS = {
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
}
NAMES = [(activation, init) for activation in ACTIVATIONS for init in ("zero", "normal")]


class NeuralNetwork:
    """As a notebook would have it: the activation and its derivative are bound methods."""

    def __init__(self, activation, init, weights, biases):
        self.activation, self.weight_init = activation, init
        self.weights, self.biases = weights, biases
        self.activation_func = getattr(self, activation)
        self.activation_derivative = getattr(self, f"{activation}_derivative")


for _name in (name + ending for name in ACTIVATIONS for ending in ("", "_derivative")):
    setattr(NeuralNetwork, _name, lambda self, z: 1 / 0)  # nothing may call it
    getattr(NeuralNetwork, _name).__name__ = _name


def dumped(*network):
    """The pickle of a network by an older NumPy, which has another name for one module."""
    content = pickle.dumps(NeuralNetwork(*network), protocol=4)
    assert content[2:3] == b"\x95"  # a frame, and its length
    new, old = b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray"
    if new not in content:
        return content
    length = int.from_bytes(content[3:11], "little") - 1
    return content[:3] + length.to_bytes(8, "little") + content[11:].replace(new, old)


def layers(scale):
    """Weights (units x inputs) and biases (units x 1) of 4-3-10 units."""
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (10, 3)), ((3, 1), (10, 1))
    return [[scale * rng.normal(size=shape) for shape in group] for group in shapes]


def by_hand(activation, weights, biases, X, y):
    """Accuracy, mean of -log(p + 1e-10) and of -log(p)."""
    hidden = ACTIVATIONS[activation](X / 255 @ weights[0].T + biases[0].T)
    scores = hidden @ weights[1].T + biases[1].T
    log_p = log_softmax(scores, axis=1)[np.arange(len(y)), y]
    offset = -np.log(np.exp(log_p) + 1e-10).mean()
    return [float(value) for value in (np.mean(scores.argmax(axis=1) == y), offset, -log_p.mean())]


class Checkout:
    """A checkout with data and printed numbers, and a folder with the networks."""

    def __init__(self, root):
        self.root, self.folder = root, root / "networks"
        rng = np.random.default_rng(1)
        self.arrays = {}
        for part, n in SIZES.items():
            self.arrays[f"X_{part}"] = rng.integers(0, 256, (n, 4), np.uint8)
            self.arrays[f"y_{part}"] = rng.integers(0, 10, n, np.uint8)
        save_arrays(root / "data" / "mnist.npz", **self.arrays)
        shutil.copy(ROOT / "dvc.yaml", root)
        self.folder.mkdir()
        self.expected = {name: self.write(*name) for name in NAMES}
        self.print_numbers()

    def path(self, activation="tanh", init="normal"):
        return self.folder / f"model_{activation}_{init}.pkl"

    def write(self, activation, init):
        """Write a network; give its scores by hand, by part."""
        network = layers(1.0 if init == "zero" else 20.0)
        network[0][1] = np.asfortranarray(network[0][1])  # pickled column by column
        self.path(activation, init).write_bytes(dumped(activation, init, *network))
        return {
            part: by_hand(activation, *network, self.arrays[f"X_{part}"], self.arrays[f"y_{part}"])
            for part in SIZES
        }

    def print_numbers(self, wrong=()):
        """Write published.yaml: rounded; some off by one in the last digit."""

        def table(metric, part, column, digits):
            printed = {}
            for activation, init in NAMES:
                value = self.expected[activation, init][part][column]
                off = 10**-digits if (metric, activation, init) in wrong else 0
                printed.setdefault(activation, {})[init] = round(value + off, digits)
            return {metric: printed}

        losses = table("train_loss", "train", 1, 6) | table("val_loss", "val", 1, 6)
        accuracies = table("test_accuracy", "test", 0, 4)
        published = {"mnist_grid": accuracies, "notebook": {"mnist_grid": losses}}
        path = self.root / "metrics" / "published.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(published, sort_keys=False))

    def scored(self):
        main([str(self.folder)], self.root)
        return read_json(self.root / RESULT)

    def refused(self, *parts):
        """Run, which should end in one line that has the parts; nothing is written."""
        with pytest.raises(SystemExit) as ended:
            main([str(self.folder)], self.root)
        told = ended.value.code
        assert told.startswith("error: ")
        assert "\n" not in told
        assert [part for part in parts if part not in told] == []
        assert not (self.root / RESULT).exists()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    # The class is one of the main module, as in a notebook
    monkeypatch.setattr(NeuralNetwork, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "NeuralNetwork", NeuralNetwork, raising=False)
    return Checkout(tmp_path)


def test_networks_score_as_by_hand(checkout, capsys):
    found = checkout.scored()
    assert set(found["networks"]) == {"-".join(name) for name in NAMES}
    apart = 0
    for (activation, init), parts in checkout.expected.items():
        network = found["networks"][f"{activation}-{init}"]
        content = checkout.path(activation, init).read_bytes()
        assert network["file"] == f"model_{activation}_{init}.pkl"
        assert network["sha256"] == hashlib.sha256(content).hexdigest()
        assert network["test_accuracy"]["scored"] == pytest.approx(parts["test"][0], abs=1e-9)
        for part in ("train", "val"):
            _, offset, exact = parts[part]
            assert network[f"{part}_loss"]["scored"] == pytest.approx(offset, abs=2e-9)
            assert network[f"{part}_exact"] == pytest.approx(exact, abs=2e-9)
            apart += exact - offset > 0.1
    assert apart  # some of these networks are sure, and wrong: the two losses are not the same
    assert (found["accuracies"], found["losses"]) == tuple({"agree": n, "of": n} for n in (8, 16))
    told = capsys.readouterr().out
    assert told.startswith("8 of 8 accuracies agree to the printed digits\n16 of ")


def test_a_last_digit_that_differs_does_not_agree(checkout):
    wrong = {("test_accuracy", "tanh", "zero"), ("val_loss", "relu", "normal"),
             ("train_loss", "relu", "normal")}  # fmt: skip
    checkout.print_numbers(wrong)
    found = checkout.scored()
    assert found["accuracies"] == {"agree": 7, "of": 8}
    assert found["losses"] == {"agree": 14, "of": 16}
    disagree = {
        (metric, *name.split("-"))
        for name, network in found["networks"].items()
        for metric in ("test_accuracy", "train_loss", "val_loss")
        if not network[metric]["agrees"]
    }
    assert disagree == wrong


def test_the_same_files_give_the_same_bytes_wherever_they_are(checkout):
    checkout.scored()
    once = (checkout.root / RESULT).read_bytes()
    checkout.folder = checkout.folder.rename(checkout.root / "elsewhere")
    checkout.scored()
    assert (checkout.root / RESULT).read_bytes() == once


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "builtins.eval", "builtins.__import__", "numpy.load"),
        *("numpy.memmap", "operator.attrgetter", "__main__.Checkout", "unheard_of.f"),
    ],
)
def test_what_a_file_names_is_neither_imported_nor_called(checkout, name, monkeypatch):
    sentinel = checkout.root / "sentinel"
    (checkout.root / "unheard_of.py").write_text(f"open({str(sentinel)!r}, 'w')")
    monkeypatch.syspath_prepend(checkout.root)
    module, _, attribute = name.rpartition(".")
    checkout.path().write_text(f"c{module}\n{attribute}\n(Vtouch {sentinel}\ntR.")
    checkout.refused(checkout.path().name, f"it refers to {name}, which no network needs")
    assert not sentinel.exists()
    assert "unheard_of" not in sys.modules


CLASS = b"c__main__\nNeuralNetwork\n"


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\ngetattr\n(" + CLASS + b"V__subclasses__\ntR)R.",  # a name is not called
        b"cbuiltins\ngetattr\n(" + CLASS + b"V__dict__\ntR.",
        CLASS + b"(N}Vweights\n]stb.",  # attributes of the class
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02NNNtb.",  # no type, no values
        *(CLASS + b")\x81" + rest for rest in (b".", b"}b.", b"}Vweights\nNsb.")),
    ],
)
def test_pickles_of_the_names_but_not_of_a_network_are_refused(checkout, content):
    checkout.path().write_bytes(content)
    checkout.refused(checkout.path().name, "is not the study's tanh-normal: ")
    checkout.write("tanh", "normal")
    assert checkout.scored()["accuracies"] == {"agree": 8, "of": 8}


W, B = layers(1.0)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (("relu", "normal", W, B), "it is of 'relu' and 'normal'"),
        (("tanh", "zero", W, B), "it is of 'tanh' and 'zero'"),
        (("tanh", "normal", W[:1], B[:1]), "it is from 4 to 3 units"),
        (("tanh", "normal", [W[0][:, :3], W[1]], B), "it is from 3 to 10 units"),
        (("tanh", "normal", W, B[::-1]), "do not fit each other"),
        (("tanh", "normal", W, B[:1]), "do not fit each other"),
        (("tanh", "normal", [], []), "not of one type"),
        (("tanh", "normal", [W[0], W[1] * np.nan], B), "not all finite"),
        (("tanh", "normal", [W[0], np.full((10, 3), 1.7e308)], B), "overflow"),
        (("tanh", "normal", [W[0].astype("U9"), W[1]], B), "not floating-point"),
        (("tanh", "normal", [W[0].astype(object), W[1]], B), "it holds an array of 'O8'"),
        (("tanh", "normal", [[1.0]], B), "has no attribute"),
    ],
)
def test_other_networks_than_the_name_tells_are_refused(checkout, network, told):
    checkout.path().write_bytes(dumped(*network))
    checkout.refused(checkout.path().name, "is not the study's tanh-normal: ", told)


def test_truncated_files_and_other_bytes_are_refused(checkout):
    whole = checkout.path("sigmoid", "zero").read_bytes()  # the first to be read
    for damaged in (*(whole[:n] for n in range(0, len(whole), 97)), b"a,b\n1,2\n", b"PK\3\4"):
        checkout.path("sigmoid", "zero").write_bytes(damaged)
        checkout.refused("is not the study's sigmoid-zero: ")


def test_what_is_not_there_is_named(checkout):
    checkout.path("relu", "zero").unlink()
    checkout.refused("model_relu_zero.pkl does not exist", "docs/judging.md")
    shutil.rmtree(checkout.folder)
    checkout.refused("model_sigmoid_zero.pkl does not exist", "docs/judging.md")
    (checkout.root / "data" / "mnist.npz").unlink()
    checkout.refused("data/mnist.npz does not exist yet; `make repro` makes it")
    with pytest.raises(SystemExit, match=r"^usage: python -m mlcore\.review\.study_models FOLDER$"):
        main([], checkout.root)
