"""CONTRIBUTING.md: every recipe, applied to a copy of the project as it stands there, works."""

import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from mlcore.files import load_arrays, save_arrays
from mlcore.nn import NeuralNetwork
from mlcore.training.models import save_network

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]

ROOT = Path(__file__).parents[1]
SECTIONS = dict(
    section.split("\n", 1)
    for section in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]
)


class Contribution:
    """A copy of the project, small, with its tests and under git, to which recipes are applied."""

    def __init__(self, project):
        self.project, self.root = project, project.root
        shutil.copytree(
            ROOT / "tests", self.root / "tests", ignore=shutil.ignore_patterns("__pycache__")
        )
        project.edit("conf/config.yaml", "experiment: report", "experiment: smoke")
        project.edit("conf/config.yaml", "tracking: mlflow", "tracking: 'off'")
        self.shell("python -m mlcore.config")
        project.commit()

    def shell(self, script):
        """Run it at the top of the copy; returns what it printed."""
        done = self.project.execute("bash", "-ec", script)
        return done.stdout + done.stderr

    def write(self, recipe, words=None):
        """Apply a recipe's files and diffs; gives its commands.

        Of `words` each is replaced in the recipe by what the contributor is to write there.
        """
        section = SECTIONS[recipe]
        for old, new in (words or {}).items():
            assert section.count(old) == 1, old
            section = section.replace(old, new)
        blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
        for language, block in blocks:
            if language == "diff":
                subprocess.run(["git", "apply"], cwd=self.root, input=block, text=True, check=True)
            elif language != "sh":
                path = self.root / block.partition("\n")[0].removeprefix("# ")
                assert not path.exists()
                path.write_text(block)
        (commands,) = (block for language, block in blocks if language == "sh")
        return commands


@pytest.fixture
def contribution(project):
    return Contribution(project)


def test_what_they_write_passes_the_checks(contribution):
    for recipe in ("An activation function", "A stage", "A data set"):
        contribution.write(recipe)
    if (known := ROOT / ".mypy_cache").exists():
        shutil.copytree(known, contribution.root / known.name)
    contribution.shell("ruff format --check . && ruff check . && mypy && lint-imports")


def elu(z):
    return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)


def test_the_activation_function_has_the_right_gradient_and_trains(contribution):
    """Of the gradient the recipe's own tests tell, of the trained network a forward pass here."""
    root = contribution.root
    small = "network:\n  max_epochs: 3\n"
    contribution.project.edit("conf/experiment/smoke.yaml", small, f"{small}  batch_size: 32\n")
    contribution.shell(contribution.write("An activation function"))
    (by_hand,) = (root / "outputs").rglob("elu-normal.pkl")
    in_the_grid = root / "models" / "network" / "elu-normal.pkl"
    assert by_hand.read_bytes() == in_the_grid.read_bytes()
    saved = pickle.loads(in_the_grid.read_bytes())  # noqa: S301
    assert saved["params"]["activation"] == "elu"
    weights, biases = saved["fitted"]["weights_"], saved["fitted"]["biases_"]
    arrays = load_arrays(root / "data" / "mnist.npz")
    scores = arrays["X_test"] / 255 @ weights[0] + biases[0]
    for W, b in zip(weights[1:], biases[1:], strict=True):
        scores = elu(scores) @ W + b
    y = arrays["y_test"]
    metrics = json.loads((root / "metrics" / "network" / "elu-normal.json").read_text())
    assert metrics["test_accuracy"] == np.mean(scores.argmax(axis=1) == y)
    loss = -log_softmax(scores, axis=1)[np.arange(len(y)), y].mean()
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["test_accuracy"] > 0.9


def test_the_stage_counts_what_is_counted_by_hand(contribution):
    """A network that takes every image for the brightest of its first ten pixels."""
    X, y = np.zeros((13, 784), np.uint8), np.array([*range(10), 4, 4, 7], np.uint8)
    X[np.arange(13), [*range(10), 2, 2, 1]] = 255  # the last three look like other classes
    parts = ("train", "val", "test")
    arrays = {f"X_{part}": X for part in parts} | {f"y_{part}": y for part in parts}
    save_arrays(contribution.root / "data" / "mnist.npz", **arrays)
    network = NeuralNetwork((10,), activation="tanh", max_epochs=1).fit(X / 255, y)
    network.weights_ = [np.eye(784, 10), np.eye(10)]
    network.biases_ = [np.zeros(10), np.zeros(10)]
    save_network(contribution.root / "models" / "network" / "tanh-normal.pkl", network)
    contribution.shell(contribution.write("A stage"))
    (written,) = (contribution.root / "metrics" / "errors").iterdir()
    assert written.name == "tanh-normal.json"
    assert json.loads(written.read_text()) == {"n": 3, "by_class": [0, 0, 0, 0, 2, 0, 0, 1, 0, 0]}


def test_the_data_set_is_fetched_from_a_folder_and_read(contribution, write_idx):
    """A data set of MNIST's size; the first pixel of every image says which one it is."""
    folder = contribution.root / "folder" / "kmnist"
    write_idx(folder, 60_000, 10_000)
    digests = contribution.shell("sha256sum folder/kmnist/*-ubyte").split()[::2]
    names = ("IMAGES_TEST", "LABELS_TEST", "IMAGES_TRAIN", "LABELS_TRAIN")  # as a shell sorts them
    words = {f'{n}: "..."': f'{n}: "{d}"' for n, d in zip(names, digests, strict=True)}
    assert "from folder" in contribution.shell(contribution.write("A data set", words))
    for path in folder.iterdir():
        fetched = contribution.root / "data" / "raw" / "kmnist" / path.name
        assert fetched.read_bytes() == path.read_bytes()
    arrays = load_arrays(contribution.root / "data" / "kmnist.npz")
    assert [len(arrays[f"y_{part}"]) for part in ("train", "val", "test")] == [1600, 200, 200]
    first_pixels = np.concatenate([arrays[f"X_{p}"][:, 0] for p in ("train", "val", "test")])
    assert sorted(first_pixels) == sorted(np.arange(2000) % 250)
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(arrays[f"y_{part}"], arrays[f"X_{part}"][:, 0] % 10)
