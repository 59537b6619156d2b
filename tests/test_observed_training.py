"""An observed training: what it writes, what it tells, and that observers cannot harm it."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss

from mlcore.nn import NeuralNetwork
from mlcore.pipeline.workspace import Workspace
from mlcore.training.mlp import ObservedMLPClassifier, ObservedMLPRegressor
from mlcore.training.models import save_network
from mlcore.training.progress import Progress
from mlcore.training.run import Dataset, Observer, Training, run
from mlcore.training.weights import save_mlp


def network():
    return NeuralNetwork((8, 6), max_epochs=3, batch_size=16, random_state=0)


def mlp():
    return ObservedMLPClassifier((8, 6), max_iter=3, random_state=0)


def train(folder, parts, estimator, observers=(), **changes):
    """Train, with the results in a folder; `changes` are fields of the training."""
    save_model = save_network if isinstance(estimator, NeuralNetwork) else save_mlp
    options = {
        "part": "part", "name": "name", "n_steps": 3, "params": {"seed": 0},
        "data": parts, "dataset": Dataset("digits", "digits.npz"),
        "model_suffix": ".pkl" if save_model is save_network else ".npz",
    }  # fmt: skip
    training = Training(estimator=estimator, save_model=save_model, **options | changes)
    return run(training, Workspace(folder, folder).output, observers)


class Noting(Observer):
    def __init__(self):
        self.events = []

    def started(self, training):
        self.events.append(("started", training.name))

    def step(self, row):
        self.events.append(("step", row["epoch"]))

    def finished(self, result):
        self.events.append(("finished", sorted(p.name for p in result.files if p.stat().st_size)))

    def failed(self, error):
        self.events.append(("failed", type(error)))


@pytest.mark.parametrize(("make", "model"), [(network, "name.pkl"), (mlp, "name.npz")])
def test_both_kinds_of_model_have_scikit_learns_metrics_and_tell_the_same(
    tmp_path, digits, make, model
):
    seen = Noting()
    result = train(tmp_path, digits, make(), [seen])
    table = pd.read_csv(tmp_path / "history" / "part" / "name.csv")
    assert list(table) == ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    assert table["epoch"].tolist() == [1, 2, 3]
    assert seen.events == [
        ("started", "name"),
        *(("step", epoch) for epoch in (1, 2, 3)),
        ("finished", ["name.csv", "name.json", model]),
    ]
    metrics = json.loads((tmp_path / "metrics" / "part" / "name.json").read_text())
    assert metrics == dict(result.metrics)
    assert metrics["n_epochs"] == 3
    for part, (X, y) in digits.items():
        probabilities = result.estimator.predict_proba(X).astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = log_loss(y, probabilities, labels=range(10))
        assert metrics[f"{part}_loss"] == pytest.approx(loss, rel=1e-5)
        assert metrics[f"{part}_accuracy"] == accuracy_score(y, result.estimator.predict(X))
    assert len(metrics) == 7


def test_an_autoencoder_has_losses_and_the_error_of_the_test_part(tmp_path, digits):
    images = {name: (X, X) for name, (X, _) in digits.items()}
    model = ObservedMLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    metrics = train(tmp_path, images, model).metrics
    assert set(metrics) == {"n_epochs", "train_loss", "val_loss", "test_loss", "test_mse"}
    X = digits["test"][0]
    assert metrics["test_mse"] == pytest.approx(np.mean((model.predict(X) - X) ** 2), rel=1e-5)
    assert metrics["test_loss"] == metrics["test_mse"] / 2


@pytest.mark.parametrize("event", ["started", "step", "finished"])
def test_an_observer_that_fails_is_reported_and_changes_nothing(tmp_path, digits, caplog, event):
    def fail(self, *_):
        raise OSError("no more room\nand more")

    failing = type("Failing", (Observer,), {event: fail})()
    seen = Noting()
    with caplog.at_level(logging.ERROR):
        train(tmp_path / "a", digits, network(), [failing, seen])
    train(tmp_path / "b", digits, network())
    assert caplog.messages == ["error: Failing stopped watching: no more room and more"]
    assert len(seen.events) == 5
    for path in ("models/part/name.pkl", "metrics/part/name.json", "history/part/name.csv"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
def test_a_training_that_fails_writes_nothing_and_says_so(tmp_path, digits, error):
    class Broken(NeuralNetwork):
        def fit(self, *_, **__):
            raise error("diverged")

    seen = Noting()
    with pytest.raises(error):
        train(tmp_path, digits, Broken(), [seen])
    assert seen.events == [("started", "name"), ("failed", error)]
    assert not list(tmp_path.iterdir())


def test_tables_and_further_metrics_are_written(tmp_path, digits):
    extra, tables = {"val_accuracy": 0.5}, {"metrics/table.csv": [{"a": 1}]}
    result = train(tmp_path, digits, mlp(), extra=lambda _: extra, tables=lambda _: tables)
    assert result.metrics["val_accuracy"] == 0.5
    assert (tmp_path / "metrics" / "table.csv").read_text() == "a\n1\n"


def test_progress_in_a_log_is_a_line_at_every_tenth(tmp_path, digits, caplog):
    model = ObservedMLPClassifier((4,), max_iter=40, random_state=0, n_iter_no_change=50)
    with caplog.at_level(logging.INFO):
        train(tmp_path, digits, model, [Progress(live=False)], n_steps=40)
    first, *steps, last = caplog.messages
    assert first == "part name: started"
    told = [line.split(",")[0] for line in steps]
    assert told == [f"part name: epoch {epoch} of 40" for epoch in range(4, 41, 4)]
    assert "train_loss" in steps[0]
    assert "val_loss" in steps[0]
    assert steps[0].endswith("s left")
    assert last.startswith("part name: 40 epochs in ")
    assert "test_accuracy 0." in last


def test_progress_in_a_terminal_is_one_live_line(tmp_path, digits, capsys):
    train(tmp_path, digits, mlp(), [Progress(live=True)])
    shown = capsys.readouterr().err
    assert "part name" in shown
    assert "\n" not in shown.strip()
