"""What becomes of a training's notes: true runs, each once, and never in the way of a result."""

import fcntl
import hashlib
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import yaml
from servers import wait_for

from mlcore.config import compose
from mlcore.errors import RetraceError
from mlcore.files import load_arrays
from mlcore.pipeline.dvc_yaml import read_stages
from mlcore.pipeline.workspace import Origin
from mlcore.tracking import notes, observer, recorder
from mlcore.tracking.store import Store, default_uri, displayed, without_secrets
from mlcore.training.models import load_network
from mlcore.training.weights import load_mlp

pytestmark = pytest.mark.mlflow

ROOT = Path(__file__).parents[1]

NETWORK = ["stages.train_network", "network.max_epochs=3", "network.hidden_layer_sizes=[8,6]"]
ENDLESS = ["network.max_epochs=1000000", "network.patience=1000000", "network.batch_size=1"]
QUICK = ["classifier.max_epochs=2", "classifier.learning_rate=0.01"]
CLASSIFIER = ["stages.fit_classifier", "classifier.method=partial_fit", *QUICK]
SEARCH = ["stages.search_classifier", "search.solver=[adam,sgd]", "search.max_epochs=1",
          "search.learning_rate=[0.01,0.1]"]  # fmt: skip
AS_DVC = {"dvc": "fit_classifier@tanh-partial_fit"}
NAMES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
NOWHERE = "sqlite:////dev/null/no.db"


@pytest.fixture(scope="module")
def stored(project_at, empty_store, tmp_path_factory):
    """One recorded training of each kind."""
    project = project_at(tmp_path_factory.mktemp("ü x") / "project")
    shutil.copy(empty_store, project.root)
    project.train(*NETWORK, "network.activation=relu")
    project.train(*CLASSIFIER, "classifier.activation=tanh")
    project.train(*SEARCH, "search.batch_size=[32,64]")
    project.told = project.sync()
    return project


def pending(project):
    """The notes that are not sent."""
    return list((project.root / "mlruns" / "pending").glob("*/*/events.jsonl"))


def output(project, pattern):
    (path,) = (project.root / "outputs").rglob(pattern)
    return path


def test_a_network_run_holds_all_that_is_needed_to_compare_and_reuse_it(stored):
    import mlflow

    store = stored.client()
    (run,) = stored.runs("network")
    kind = store.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert run.info.run_name == "relu-normal max_epochs=3 hidden_layer_sizes=[8,6]"
    assert run.info.status == "FINISHED"
    expected = {
        "activation": "relu", "init": "normal", "hidden_layer_sizes": "[8, 6]", "solver": "sgd",
        "learning_rate": "0.02", "batch_size": "128", "max_epochs": "3", "seed": "42",
        "n_train": "300", "n_val": "60", "n_test": "60", "split_seed": "42",
    }  # fmt: skip
    assert run.data.params.items() >= expected.items()
    final = {f"final/{name}" for name in (*NAMES, "n_epochs", "test_loss", "test_accuracy")}
    epochs = {f"epoch/{name}" for name in NAMES}
    layers = {"per_layer/gradient_norm_1", "per_layer/unit_spread_2"}
    assert final | epochs | layers <= set(run.data.metrics)
    for name in epochs | layers:
        points = store.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3]
        times = [run.info.start_time, *(point.timestamp for point in points), run.info.end_time]
        assert times == sorted(times)
    # Three epochs of 300 images: the training alone, not what was around it
    assert run.info.end_time - run.info.start_time < 3000
    tags = run.data.tags
    assert tags["origin"] == "hydra"
    assert "network.activation=relu" in tags["overrides"]
    assert tags["mlflow.source.name"] == "stages.train_network"
    purpose, about = tags["mlflow.note.content"].split("\n\n")
    assert purpose == "Train the network from scratch on MNIST, one cell of the grid"
    command, folder = re.fullmatch("`python -m (.*)`; its results are in `(.*)`", about).groups()
    assert command == " ".join(NETWORK) + " network.activation=relu"
    hashes = json.loads(tags["md5"])
    for path in ("models/network/relu-normal.pkl", "metrics/network/relu-normal.json"):
        file = stored.root / folder / path
        assert hashes[path] == hashlib.md5(file.read_bytes()).hexdigest()
    assert sum(not name.startswith("mlflow.") for name in tags) <= 6

    (entry,) = run.inputs.dataset_inputs
    data = stored.root / "data" / "mnist.npz"
    assert entry.dataset.name == "mnist"
    assert entry.dataset.digest == hashlib.md5(data.read_bytes()).hexdigest()
    assert hashes["data/mnist.npz"] == entry.dataset.digest
    config = Path(store.download_artifacts(run.info.run_id, "config.yaml")).read_text()
    assert yaml.safe_load(config)["network"]["hidden_layer_sizes"] == [8, 6]
    folders = [store.list_artifacts(run.info.run_id, name) for name in ("figures", "results")]
    assert [artifact.path for folder in folders for artifact in folder] == [
        "figures/loss.png", *(f"results/relu-normal.{kind}" for kind in ("csv", "json", "pkl"))
    ]  # fmt: skip

    (logged,) = run.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert len(model.metadata.signature.inputs) == 784
    assert model.input_example.shape == (5, 784)
    made = store.get_logged_model(logged.model_id)
    assert made.name == "network-relu-normal"
    assert made.tags["mlflow.source.name"] == "stages.train_network"
    assert "warning" not in stored.told
    assert pending(stored) == []


TAKEN = {
    "float32": np.float32,
    "float64": np.float64,
    "lists": lambda X: X.tolist(),
    "table": pd.DataFrame,
    "named columns": lambda X: pd.DataFrame(X).add_prefix("pixel"),
}


@pytest.mark.parametrize("part", ["network", "classifier"])
@pytest.mark.parametrize("kind", TAKEN)
def test_a_logged_model_predicts_from_what_its_users_have(stored, part, kind):
    import mlflow

    data = {"network": "mnist", "classifier": "fashion_mnist"}[part]
    (run,) = stored.runs(part)
    (logged,) = run.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    X = load_arrays(stored.root / "data" / f"{data}.npz")["X_test"] / 255
    if part == "network":
        expected = load_network(output(stored, "relu-normal.pkl")).predict(X.astype(np.float32))
    else:
        weights, biases, _ = load_mlp(output(stored, "tanh-partial_fit.npz"))
        values = X @ weights[0] + biases[0]
        for W, b in zip(weights[1:], biases[1:], strict=True):
            values = np.tanh(values) @ W + b
        expected = values.argmax(axis=1)
    np.testing.assert_array_equal(model.predict(TAKEN[kind](X)), expected)
    with pytest.raises(mlflow.MlflowException, match="784 inputs"):
        model.predict(X[:, :100])


def test_a_scikit_learn_run_holds_its_losses_and_the_full_estimator(stored):
    import mlflow

    store = stored.client()
    (run,) = stored.runs("classifier")
    for name in NAMES:
        points = store.get_metric_history(run.info.run_id, f"epoch/{name}")
        assert [point.step for point in points] == [1, 2]
    evaluated = json.loads(output(stored, "classifier/tanh-partial_fit.json").read_text())
    metrics = run.data.metrics
    assert metrics["final/train_loss"] == evaluated["train_loss"] != metrics["epoch/train_loss"]
    assert run.data.params["solver"] == "adam"
    (logged,) = run.outputs.model_outputs
    model = mlflow.sklearn.load_model(f"models:/{logged.model_id}")
    arrays = load_arrays(stored.root / "data" / "fashion_mnist.npz")
    accuracy = model.score((arrays["X_test"] / 255).astype(np.float32), arrays["y_test"])
    assert accuracy == pytest.approx(metrics["final/test_accuracy"], abs=1e-9)


def test_the_candidates_of_a_search_are_children_with_their_own_times(stored):
    store = stored.client()
    runs = stored.runs("search")
    (parent,) = (run for run in runs if run.info.run_name.startswith("best"))
    children = [run for run in runs if run is not parent]
    assert len(children) == 2 * 2 * 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {parent.info.run_id}
    best = max(children, key=lambda c: c.data.metrics["final/mean_accuracy"])
    accuracy = best.data.metrics["final/mean_accuracy"]
    assert accuracy == parent.data.metrics["final/val_accuracy"]
    folds = [best.data.metrics[f"final/fold_{k}"] for k in (1, 2, 3)]
    assert np.mean(folds) == pytest.approx(accuracy)
    assert set(best.data.params) == {"solver", "learning_rate", "batch_size"}
    for child in children:
        assert parent.info.start_time <= child.info.start_time <= child.info.end_time
        assert child.info.end_time <= parent.info.end_time
    assert len({child.info.start_time for child in children}) > 1
    assert len(store.get_metric_history(parent.info.run_id, "epoch/train_loss")) == 1
    assert len(parent.outputs.model_outputs) == 1


def test_a_diverging_training_is_a_failed_run_that_says_why(tracked):
    tracked.record(*NETWORK, "network.learning_rate=1e30", check=False)
    (run,) = tracked.runs("network")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("training diverged: ")
    assert "learning_rate" in run.data.tags["error"]


def test_tracking_leaves_the_results_as_they_are(project):
    project.train(*NETWORK, "hydra.run.dir=outputs/on/x")
    project.call(*NETWORK, "hydra.run.dir=outputs/off/x", "tracking=off")
    for pattern in ("*.pkl", "*.json", "*.csv"):
        on, off = (next((project.root / "outputs" / s).rglob(pattern)) for s in ("on", "off"))
        assert on.read_bytes() == off.read_bytes()


# What a store misses


def test_what_a_store_misses_is_recorded_later_once(project, empty_store):
    (project.root / "mlflow.db").write_text("this is no database")
    project.train(*NETWORK)
    told = project.sync(code=1)
    assert "warning: runs are not recorded in sqlite:///" in told
    assert "`make sync`" in told
    shutil.copy(empty_store, project.root)
    assert "recorded network-tanh-normal" in project.sync()
    (run,) = project.runs("network")
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time < 3000
    assert len(project.client().get_metric_history(run.info.run_id, "epoch/val_loss")) == 3
    assert project.sync() == "nothing to record\n"
    assert len(project.runs("network")) == 1


def test_what_one_store_misses_is_not_sent_to_another(tracked):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for store in (uri, NOWHERE, "server"):
            tracked.train(*NETWORK, store=store)
        told = tracked.sync(code=1)
    assert f"not recorded in {uri}: no answer within 5 s" in told
    assert f"not recorded in {NOWHERE}: " in told
    assert "not recorded in server: it was never started; `make server` does that; kept in" in told
    assert len(pending(tracked)) == 3
    assert not tracked.runs("network")


class Failing:
    """A client whose call of that number fails."""

    def __init__(self, client, number):
        self.client, self.calls = client, count(-number)

    def __getattr__(self, name):
        def call(*arguments, **options):
            if name != "search_experiments" and next(self.calls) == 0:
                raise ConnectionError("the store is gone")
            return getattr(self.client, name)(*arguments, **options)

        return call


def test_a_recorder_that_is_broken_off_makes_each_run_once(tracked, monkeypatch):
    """The store fails at every call in turn; what comes of it is one run, whole."""
    tracked.train(*SEARCH, "search.batch_size=[32]", "search.cv=2")
    (events,) = pending(tracked)
    store = Store(default_uri(tracked.root), tracked.root)
    monkeypatch.setattr(recorder, "log_model", lambda *_: "models:/m")
    client = store.client
    for number in range(100):
        store.client = Failing(client, number)
        run = recorder.Run(events.parent, store)
        with suppress(ConnectionError):
            run.advance()
        if run.done:
            break
    assert run.done
    assert number > 10
    runs = tracked.runs("search")
    assert len(runs) == 1 + 2 * 2
    assert {r.info.status for r in runs} == {"FINISHED"}
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    assert len(parent.inputs.dataset_inputs) == 1
    assert len(client.get_metric_history(parent.info.run_id, "epoch/train_loss")) == 1
    assert {len(r.data.metrics) for r in runs if r is not parent} == {5}


def test_a_run_that_ended_early_and_finished_later_bears_no_error(tracked):
    tracked.train(*NETWORK)
    (events,) = pending(tracked)
    whole = events.read_text()
    events.write_text(whole.splitlines(keepends=True)[0])
    recorder.Run(events.parent, Store(default_uri(tracked.root), tracked.root)).advance()
    (run,) = tracked.runs("network")
    why = "its end was not noted: it was killed, or notes had no room"
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", why)
    events.write_text(whole)
    tracked.sync()
    (run,) = tracked.runs("network")
    assert (run.info.status, run.data.tags.get("error")) == ("FINISHED", None)


@contextmanager
def held(path):
    """Hold a file as a process at work does."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_sync_leaves_alone_what_is_at_work(tracked):
    session = tracked.train(*NETWORK)
    with held(session / notes.ADDRESS):
        assert tracked.sync() == "nothing to record\n"
    (events,) = pending(tracked)
    with held(events):  # its command was killed, it was not
        assert tracked.sync(code=1) == "network-tanh-normal is still at work\n"
    assert pending(tracked) == [events]
    assert "recorded network-tanh-normal" in tracked.sync()


# What people do to a store


@pytest.mark.parametrize("tags", [{}, {"val_accuracy": "n/a", "data": "same"}])
def test_a_champion_that_was_set_by_hand_does_not_hold_up_runs(tracked, tags):
    client, name = tracked.client(), "retrace-classifier"
    tracked.record(*CLASSIFIER)
    (first,) = client.search_model_versions(f"name = '{name}'")
    if tags:
        tags["data"] = first.tags["data"]
    client.delete_registered_model_alias(name, "champion")
    by_hand = client.create_model_version(name, first.source, first.run_id, tags=tags)
    client.set_registered_model_alias(name, "champion", by_hand.version)
    assert "warning" not in tracked.record(*CLASSIFIER, "seed=5")
    assert {run.info.status for run in tracked.runs("classifier")} == {"FINISHED"}
    assert client.get_model_version_by_alias(name, "champion").version == by_hand.version
    tracked.call("mlcore.config", *QUICK)
    tracked.record(*CLASSIFIER[:2], "classifier.activation=tanh", **AS_DVC)
    assert client.get_model_version_by_alias(name, "champion").version != by_hand.version


ACTS = {
    "rename_experiment": lambda run: (run.info.experiment_id, "mine"),
    "delete_run": lambda run: (run.info.run_id,),
    "update_run": lambda run: (run.info.run_id, None, "x"),  # renames it
    "delete_tag": lambda run: (run.info.run_id, "current"),
    "set_tag": lambda run: (run.info.run_id, "md5", "[no"),
    "delete_model_version": lambda _: ("retrace-classifier", "1"),
    "delete_registered_model": lambda _: ("retrace-classifier",),
    "rename_registered_model": lambda _: ("retrace-classifier", "mine"),
    "delete_registered_model_alias": lambda _: ("retrace-classifier", "champion"),
}
"""Methods of MLflow's client, and what they are called with."""


@pytest.mark.parametrize("act", ACTS)
def test_recording_goes_on_whatever_people_do_to_a_store(tracked, act):
    client = tracked.client()
    tracked.call("mlcore.config", *QUICK)
    stage = [*CLASSIFIER[:2], "classifier.activation=tanh"]
    tracked.record(*stage, **AS_DVC)
    (first,) = tracked.runs("classifier")
    getattr(client, act)(*ACTS[act](first))
    assert "warning" not in tracked.record(*stage, **AS_DVC)
    second, *_ = client.search_runs([first.info.experiment_id], "tags.current = 'true'")
    assert (second.info.run_id != first.info.run_id, second.info.status) == (True, "FINISHED")
    champion = client.get_model_version_by_alias("retrace-classifier", "champion")
    assert champion.run_id in (first.info.run_id, second.info.run_id)
    tracked.call("mlcore.tracking.runs")


DISPENSABLE = {
    "promote": "its model is not registered",
    "log_model": "its model is not recorded",
    "loss_curves": "its losses are not drawn",
    "supersede": "it is not known for the newest",
}


@pytest.mark.parametrize("step", DISPENSABLE)
def test_a_step_that_a_run_can_be_without_does_not_hold_it_up(tracked, monkeypatch, step):
    monkeypatch.setattr(recorder, step, Mock(side_effect=RuntimeError("not here")))
    tracked.call("mlcore.config", *QUICK)
    told = tracked.record(*CLASSIFIER[:2], "classifier.activation=tanh", **AS_DVC)
    assert f"warning: classifier-tanh-partial_fit: {DISPENSABLE[step]}: not here\n" in told
    (run,) = tracked.runs("classifier")
    assert run.info.status == "FINISHED"
    assert not pending(tracked)


def test_a_store_that_goes_before_a_model_is_registered_gets_it_later(tracked, monkeypatch):
    promoted = []

    def promote(store, part, uri, *_):
        promoted.append(uri)
        if len(promoted) == 1:
            monkeypatch.setattr(Store, "check", lambda self: 1 / 0)
            raise ConnectionError("no answer")

    tracked.train(*CLASSIFIER)
    monkeypatch.setattr(recorder, "promote", promote)
    with monkeypatch.context() as gone:
        gone.setattr(Store, "check", Store.check)  # restored at the end
        tracked.sync(code=1)
    assert len(pending(tracked)) == 1
    monkeypatch.setattr(Store, "check", lambda self: None)
    tracked.sync()
    (run,) = tracked.runs("classifier")
    (logged,) = run.outputs.model_outputs  # once
    assert promoted == [f"models:/{logged.model_id}"] * 2


def test_a_deleted_experiment_is_named_with_its_remedy(tracked):
    tracked.record(*NETWORK)
    client = tracked.client()
    number = client.get_experiment_by_name("retrace/network").experiment_id
    client.delete_experiment(number)
    for stage in (NETWORK, [*NETWORK, "seed=2"], CLASSIFIER):
        tracked.train(*stage)
    *others, first = tracked.sync(code=1).splitlines()
    assert (
        "the experiment retrace/network was deleted; `MLFLOW_TRACKING_URI="
        f"{default_uri(tracked.root)} mlflow experiments restore --experiment-id {number}`"
    ) in first
    (other,) = others
    assert other.startswith("recorded classifier-tanh-partial_fit in ")
    client.restore_experiment(number)
    tracked.sync()
    assert len(tracked.runs("network")) == 3


def test_a_copy_of_a_checkout_never_writes_into_the_original(tracked, project_at, tmp_path):
    tracked.record(*NETWORK)
    session = tracked.train(*NETWORK, "seed=2")  # not sent yet
    before = {p: p.stat().st_mtime_ns for p in tracked.root.rglob("*")}
    copy = project_at(tmp_path / "copy")
    shutil.copy(tracked.root / "mlflow.db", copy.root)
    shutil.copytree(tracked.root / "mlruns", copy.root / "mlruns", dirs_exist_ok=True)
    told = copy.sync(code=1)
    assert f"of the checkout {tracked.root.resolve()}: `make sync` there records them" in told
    assert (copy.root / "mlruns" / "pending" / session.name).is_dir()

    shutil.rmtree(copy.root / "mlruns" / "pending")
    copy.train(*NETWORK, "seed=3")
    (line,) = copy.sync(code=1).splitlines()
    assert f"this mlflow.db is a copy of the one of {tracked.root}, where its files lie;" in line
    assert before == {p: p.stat().st_mtime_ns for p in tracked.root.rglob("*")}


# What a command says


def session_of(project, monkeypatch, recorder=lambda folder: "pass"):
    """Open a session with this code, of its folder, in place of the recorder's."""

    def start(folder, *_):
        command = [sys.executable, "-c", recorder(folder)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=project.root)

    monkeypatch.setattr(observer, "_start_recorder", start)
    return observer.session(compose(project.root / "conf", []), project.root)


def test_what_earlier_commands_could_not_record_is_mentioned_until_it_is(
    tracked, monkeypatch, caplog
):
    for done, left in (lambda: None, 0), (lambda: tracked.train(*NETWORK), 1), (tracked.sync, 0):
        done()
        caplog.clear()
        with session_of(tracked, monkeypatch) as session:
            assert session.is_dir()
        assert not session.exists()  # nothing was trained
        told = f"warning: not recorded of earlier commands: {left}; `make sync` does it"
        assert caplog.messages == [told] * left


def test_where_notes_have_no_place_training_goes_on(project, monkeypatch, caplog):
    (project.root / "mlruns").write_text("a file in the way")
    with session_of(project, monkeypatch) as session:
        assert session is None
    (line,) = caplog.messages
    assert "nothing is tracked" in line


HANGS = """
import time
from mlcore.tracking import recorder
recorder.PATIENCE, recorder.Run.advance = 1, lambda run: time.sleep(300)
recorder.main(["--follow", "{}"], recorder.checkout())
"""


def test_a_recorder_that_hangs_is_given_up(tracked, monkeypatch, caplog):
    with session_of(tracked, monkeypatch, HANGS.format) as folder:
        tracked.call(*NETWORK, RETRACE_TRACKING=str(folder))
    assert caplog.messages == ["warning: runs are kept in mlruns/pending for `make sync`"]
    assert len(pending(tracked)) == 1


@pytest.mark.parametrize(("at", "calls"), [("Progress.finished", 0), ("Tracker._note", 4)])
def test_ctrl_c_at_the_end_of_a_training_ends_the_recorder(tracked, monkeypatch, at, calls):
    held, interrupted = [], Mock(side_effect=[None] * calls + [KeyboardInterrupt])
    monkeypatch.setattr(f"mlcore.app.{at}", interrupted)
    monkeypatch.setattr(observer, "_start_recorder", lambda *_: None)
    monkeypatch.setattr(
        observer, "_wait_for", lambda _: held.extend(map(notes.is_held, pending(tracked)))
    )
    assert tracked.call(*NETWORK, check=False).returncode == 130
    assert held == [False]


SECRET = "hunter-two"
URIS = (f"http://me:{SECRET}@host/store", f"http://host/store?token={SECRET}",
        f"https://{SECRET}@host", f"postgresql://host/db?user=me&password={SECRET}",
        f"http://me:{SECRET}@[host", f"http://me:{SECRET}'s@h",
        f"ws://m:{SECRET}@a.long-name.example/x")  # fmt: skip


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize(
    "key", ["tracking.uri", "tracking.url", "+tracking.url", "tracking.backend", "tracking"]
)
def test_a_secret_in_the_parameters_is_refused_unseen(key, uri):
    for more in ([], ["experiment=nope"], ["network.seed=["]):
        with pytest.raises(RetraceError) as error:
            compose(ROOT / "conf", [f"{key}='{uri}'", *more])
        assert SECRET not in str(error.value)
        if key == "tracking.uri" and not more and "'" not in uri:
            assert "should be a URI without password and query" in str(error.value)


@pytest.mark.parametrize(
    ("uri", "shown", "text", "masked"),
    [
        ("postgresql://me:s3cret@host:5/db?x=1", "postgresql://host:5/db", "s3cret", "***"),
        ("http://me:a/b@[::1]:9/x", "http://[::1]:9/x", "a/b", "***"),
        ("https://host", "https://host", "host", "host"),
        ("sqlite:////a.db?mode=ro", "sqlite:////a.db?mode=ro", "an error", "an error"),
        ("mlruns", "mlruns", "mlruns", "mlruns"),
        ("http://host?a&b=t0ken", "http://host", "a&t0ken", "a&***"),
        ("http://t0ken@host", "http://host", "t0ken!", "***!"),
        ("http://me:p%40ss@host/db?token=t0ken&x=1", "http://host/db",
         "no http://me:p%40ss@host/db?token=t0ken&x=1 here: p@ss, p%40ss, /db?token=t0ken\nmore",
         "no http://host/db here: ***, ***, /db?token=***"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_uri_and_of_the_messages_of_others_has_no_secret(
    uri, shown, text, masked
):
    assert displayed(uri) == shown
    assert without_secrets(text, uri) == masked


# What a run is told of the code


def git(root, *arguments):
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


CHANGED = {
    "mlcore/errors/__init__.py": b"changed\n",
    "mlcore/crlf.py": b"a\r\nc\r\n",
    "mlcore/unended.py": b"a\nc",
    "mlcore/latin.py": b"# \xe9\xff\n",
    "conf/binary.bin": bytes(range(256)) * 20,
    "stages/new one.py": b"new\n",
    "conf/new/deep.yaml": b"new: \r\nunended",
}
OLD = {"mlcore/crlf.py": b"a\r\nb\r\n", "mlcore/unended.py": b"a\nb", "conf/binary.bin": b"\0\1"}


def test_what_the_code_differs_by_can_be_applied_to_its_commit(tracked, tmp_path):
    root = tracked.root
    for name, content in OLD.items():
        (root / name).write_bytes(content)
    (root / ".gitattributes").write_text("* -text\n")  # a commit keeps the ends of lines
    tracked.commit()
    tags, changes = observer._code(root)
    assert (tags["git.dirty"], changes) == ("false", b"")
    clone = tmp_path / "clone"
    git(root, "clone", "-q", ".", str(clone))

    for setting in ("diff.noprefix true", "color.ui always", "diff.mnemonicPrefix true"):
        git(root, "config", *setting.split())
    for name, content in CHANGED.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "README.md").unlink()
    (root / "metrics" / "summary.json").write_text("{}")  # a result, not code
    (root / "notes.txt").write_text("no code either")
    index = (root / ".git" / "index").read_bytes()
    tracked.train(*CLASSIFIER)
    assert (root / ".git" / "index").read_bytes() == index
    tracked.sync()
    (run,) = tracked.runs("classifier")
    assert run.data.tags["git.dirty"] == "true"
    diff = tracked.client().download_artifacts(run.info.run_id, "code/changes.diff")
    changes = Path(diff).read_bytes()
    assert b"a/metrics/summary.json" not in changes
    assert b"notes.txt" not in changes
    git(clone, "apply", diff)
    for name, content in CHANGED.items():
        assert (clone / name).read_bytes() == content
    assert not (clone / "README.md").exists()


UNFIT = {
    "dubious ownership": {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": "/dev/null"},
    "No such file or directory": {"PATH": "/nowhere"},
}


@pytest.mark.parametrize("reason", UNFIT)
def test_git_that_fails_is_named_once_where_there_is_a_checkout(
    project, monkeypatch, caplog, reason
):
    def open_session():
        with session_of(project, monkeypatch):
            assert observer._code(project.root) == ({}, b"")

    open_session()
    assert not caplog.messages
    git(project.root, "init", "-q")
    for name, value in UNFIT[reason].items():
        monkeypatch.setenv(name, value)
    open_session()
    (line,) = caplog.messages
    assert line.startswith("warning: runs are recorded without the code's commit: git")
    assert reason in line


NAMED = {
    "train_network seed=1 network.max_epochs=1 classifier.max_epochs=2": "relu seed=1 max_epochs=1",
    "classify_features feature_classifier.seed=1 network.seed=2 tracking=off": "relu seed=1",
    "extract_features autoencoder.activation=relu experiment=smoke": "relu experiment=smoke",
    "of_a_user a.seed=1 b.seed=2 b.size=3": "relu a.seed=1 b.seed=2 size=3",
}


@pytest.mark.parametrize("command", NAMED)
def test_a_run_is_named_by_what_was_set_of_its_own_stage(command):
    stage, *overrides = command.split()
    named = observer.run_name("relu", read_stages(ROOT).get(stage), Origin.SWEEP, overrides)
    assert named == NAMED[command]


def test_experiments_in_a_temporary_copy_share_the_checkouts_store():
    copy = Path("/home/a/study/.dvc/tmp/exps/standalone/abc")
    assert notes.checkout_root(copy) == Path("/home/a/study")
    assert default_uri(copy) == "sqlite:////home/a/study/mlflow.db"
    assert notes.checkout_root(Path("/home/a/study")) == Path("/home/a/study")


# With processes and signals


def has_a_run(database):
    """Look without MLflow, whose client would make the schema that is just being made."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute("select count(*) from runs").fetchone()[0]


@pytest.mark.slow
def test_a_training_is_seen_while_it_runs_and_ends_killed_by_ctrl_c(project, start):
    endless = start(sys.executable, "-m", *NETWORK[:1], *ENDLESS, of=project)
    wait_for(lambda: has_a_run(project.root / "mlflow.db"))
    store = project.client()
    (run,) = project.runs("network")
    assert run.info.status == "RUNNING"

    def seen():
        return store.get_metric_history(run.info.run_id, "epoch/val_loss")

    first = len(wait_for(seen))
    wait_for(lambda: len(seen()) > first)
    endless.send_signal(signal.SIGINT)
    assert endless.wait(150) == 130
    (run,) = project.runs("network")
    assert run.info.status == "KILLED"
    stamps = [point.timestamp for point in seen()]
    assert run.info.start_time <= min(stamps) < max(stamps) <= run.info.end_time
    assert pending(project) == []


@pytest.mark.slow
def test_processes_that_start_together_on_a_fresh_store_are_all_recorded(project, unmeasured):
    inits = ("zero", "random", "normal")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda init: project.run(*NETWORK, f"network.init={init}"), inits))
    runs = project.runs("network")
    assert {run.info.run_name.split()[0] for run in runs} == {f"tanh-{i}" for i in inits}
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_a_command_that_trains_nothing_does_not_touch_the_store(project):
    project.run("stages.worked_examples", "hydra.run.dir=outputs/x/y")
    assert not (project.root / "mlflow.db").exists()
    assert list((project.root / "mlruns" / "pending").iterdir()) == []
