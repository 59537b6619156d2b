"""MLflow runs: live, true, loadable, race-free, and never in the way of a result."""

import hashlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from mlcore.config import compose
from mlcore.errors import RetraceError
from mlcore.files import load_arrays
from mlcore.tracking import notes, recorder
from mlcore.tracking.notes import checkout_root
from mlcore.tracking.store import Store, default_uri, displayed, without_secrets
from mlcore.training.models import load_network

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[1]

NETWORK = ["stages.train_network", "network.max_epochs=3", "network.hidden_layer_sizes=[8,6]"]
ENDLESS = ["network.max_epochs=1000000", "network.patience=1000000", "network.batch_size=1"]
CLASSIFIER = ["stages.fit_classifier", "classifier.max_epochs=2"]
SEARCH = ["stages.search_classifier", "search.max_epochs=1", "search.learning_rate=[0.01,0.1]"]
NAMES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def output(project, pattern):
    (path,) = (project.root / "outputs").rglob(pattern)
    return path


def pending(project):
    """The notes that are not sent."""
    return list((project.root / "mlruns" / "pending").glob("*/*/events.jsonl"))


@pytest.fixture
def endless(project):
    """A training that does not end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train_network", *ENDLESS],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.kill()
    process.wait(60)


def wait_for(condition, seconds=150):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(sqlite3.OperationalError):  # no database or no table yet
            if value := condition():
                return value
        time.sleep(0.2)
    pytest.fail("it did not happen")


def test_a_network_run_holds_all_that_is_needed_to_compare_and_reuse_it(project):
    import mlflow

    before = time.time()
    project.run(*NETWORK, "network.activation=relu")
    store = project.client()
    (run,) = project.runs("network")
    kind = store.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert (run.info.run_name, run.info.status) == (
        "relu-normal max_epochs=3 hidden_layer_sizes=[8,6]",
        "FINISHED",
    )
    expected = {
        "activation": "relu", "init": "normal", "hidden_layer_sizes": "[8, 6]", "solver": "sgd",
        "learning_rate": "0.02", "batch_size": "128", "max_epochs": "3", "seed": "42",
        "n_train": "300", "n_val": "60", "n_test": "60", "split_seed": "42",
    }  # fmt: skip
    assert run.data.params.items() >= expected.items()
    final = {f"final_{name}" for name in NAMES}
    assert {"n_epochs", "test_loss", "test_accuracy"} | final <= set(run.data.metrics)
    for name in (*NAMES, "gradient_norm_1", "unit_spread_2"):
        points = store.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3]
        stamps = [point.timestamp for point in points]
        assert stamps == sorted(stamps)
        assert run.info.start_time <= stamps[0] <= stamps[-1] <= run.info.end_time
    assert before * 1000 < run.info.start_time
    # Three epochs of 300 images: the training alone, not what was around it
    assert run.info.end_time - run.info.start_time < 3000
    tags = run.data.tags
    assert tags["origin"] == "hydra"
    assert "network.activation=relu" in tags["overrides"]
    assert tags["output_folder"].startswith("outputs/train_network/")
    assert tags["mlflow.source.name"] == "stages.train_network"

    (entry,) = run.inputs.dataset_inputs
    data = project.root / "data" / "mnist.npz"
    assert entry.dataset.name == "mnist"
    assert entry.dataset.digest == hashlib.md5(data.read_bytes()).hexdigest()
    files = {a.path for a in store.list_artifacts(run.info.run_id, "results")}
    assert files == {f"results/relu-normal.{suffix}" for suffix in ("csv", "json", "pkl")}

    (logged,) = run.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    X = (load_arrays(data)["X_test"] / 255).astype(np.float32)
    network = load_network(output(project, "*.pkl"))
    np.testing.assert_array_equal(model.predict(X), network.predict(X))
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 784)
    assert model.input_example.shape == (5, 784)
    assert pending(project) == []


def test_a_scikit_learn_run_holds_its_losses_and_the_full_estimator(project):
    import mlflow

    project.run(*CLASSIFIER, "classifier.activation=tanh")
    store = project.client()
    (run,) = project.runs("classifier")
    for name in NAMES:
        assert [m.step for m in store.get_metric_history(run.info.run_id, name)] == [1, 2]
    evaluated = json.loads(output(project, "classifier/tanh.json").read_text())["train_loss"]
    assert run.data.metrics["final_train_loss"] == evaluated != run.data.metrics["train_loss"]
    assert run.data.params["solver"] == "adam"
    (logged,) = run.outputs.model_outputs
    model = mlflow.sklearn.load_model(f"models:/{logged.model_id}")
    arrays = load_arrays(project.root / "data" / "fashion_mnist.npz")
    accuracy = model.score((arrays["X_test"] / 255).astype(np.float32), arrays["y_test"])
    assert accuracy == pytest.approx(run.data.metrics["test_accuracy"], abs=1e-9)


def test_the_candidates_of_a_search_are_children_with_their_own_times(project):
    project.run(*SEARCH, "search.batch_size=[32,64]")
    store = project.client()
    runs = project.runs("search")
    (parent,) = (run for run in runs if run.info.run_name.startswith("best"))
    children = [run for run in runs if run is not parent]
    assert len(children) == 2 * 2 * 2
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {parent.info.run_id}
    best = max(children, key=lambda c: c.data.metrics["mean_accuracy"])
    assert best.data.metrics["mean_accuracy"] == parent.data.metrics["final_val_accuracy"]
    folds = [best.data.metrics[f"fold_{k}"] for k in (1, 2, 3)]
    assert np.mean(folds) == pytest.approx(best.data.metrics["mean_accuracy"])
    assert set(best.data.params) == {"solver", "learning_rate", "batch_size"}
    for child in children:
        assert parent.info.start_time <= child.info.start_time <= child.info.end_time
        assert child.info.end_time <= parent.info.end_time
    assert len({child.info.start_time for child in children}) > 1
    assert len(store.get_metric_history(parent.info.run_id, "train_loss")) == 1
    assert len(parent.outputs.model_outputs) == 1


def test_the_jobs_of_a_sweep_have_names_that_differ(project):
    project.run(*NETWORK[:1], "-m", *NETWORK[1:], "network.seed=1,2")
    runs = project.runs("network", "params.seed != ''")  # the run above them has no seed
    assert {run.info.run_name.split()[-1] for run in runs} == {"seed=1", "seed=2"}
    assert {run.data.tags["origin"] for run in runs} == {"sweep"}


def has_a_run(database):
    """Look without MLflow, whose client would make the schema that is just being made."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("select count(*) from runs").fetchone()[0]


def test_a_training_is_seen_while_it_runs_and_ends_killed_by_ctrl_c(project, endless):
    wait_for(lambda: has_a_run(project.root / "mlflow.db"))
    store = project.client()
    (run,) = project.runs("network")
    assert run.info.status == "RUNNING"

    def seen():
        return store.get_metric_history(run.info.run_id, "val_loss")

    first = len(wait_for(seen))
    wait_for(lambda: len(seen()) > first)
    endless.send_signal(signal.SIGINT)
    assert endless.wait(150) == 130
    (run,) = project.runs("network")
    assert run.info.status == "KILLED"
    stamps = [point.timestamp for point in seen()]
    assert run.info.start_time <= min(stamps) < max(stamps) <= run.info.end_time
    assert pending(project) == []


def test_a_training_whose_process_is_gone_is_not_left_running(project, endless):
    wait_for(lambda: pending(project))
    endless.kill()
    endless.wait(60)
    wait_for(lambda: not pending(project))
    (run,) = project.runs("network")
    assert run.info.status == "KILLED"
    assert run.data.tags["error"] == "its end was not noted: it was killed, or notes had no room"


def test_a_diverging_training_is_a_failed_run_that_says_why(project):
    result = project.run(*NETWORK, "network.learning_rate=1e30", check=False)
    assert result.returncode == 1
    (run,) = project.runs("network")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"].startswith("training diverged: ")
    assert "learning_rate" in run.data.tags["error"]


def test_processes_that_start_together_on_a_fresh_store_are_all_recorded(project):
    inits = ("zero", "random", "normal", "he")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda init: project.run(*NETWORK, f"network.init={init}"), inits))
    runs = project.runs("network")
    assert {run.info.run_name.split()[0] for run in runs} == {f"tanh-{i}" for i in inits}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_tracking_leaves_the_results_as_they_are(project):
    project.run(*NETWORK, "hydra.run.dir=outputs/on/x")
    project.run(*NETWORK, "hydra.run.dir=outputs/off/x", "tracking=off")
    for pattern in ("*.pkl", "*.json", "*.csv"):
        on, off = (next((project.root / "outputs" / s).rglob(pattern)) for s in ("on", "off"))
        assert on.read_bytes() == off.read_bytes()


def warnings_in(result):
    return [line for line in (result.stdout + result.stderr).splitlines() if "warning:" in line]


def test_what_a_store_misses_is_recorded_later_once(project):
    (project.root / "mlflow.db").write_text("this is no database")
    result = project.run(*NETWORK)
    (warning,) = warnings_in(result)
    assert "runs are not recorded in sqlite:///" in warning
    assert "`make sync`" in warning
    assert "Traceback" not in result.stdout + result.stderr
    assert load_network(output(project, "*.pkl")).n_epochs_ == 3

    (project.root / "mlflow.db").unlink()
    synced = project.run("mlcore.tracking.recorder")
    assert "recorded network-tanh-normal" in synced.stdout
    (run,) = project.runs("network")
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time < 3000
    assert len(project.client().get_metric_history(run.info.run_id, "val_loss")) == 3
    again = project.run("mlcore.tracking.recorder")
    assert "nothing to record" in again.stdout
    assert len(project.runs("network")) == 1


@pytest.fixture
def silent_server():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []
        threading.Thread(
            target=lambda: [kept.append(server.accept()) for _ in range(100)], daemon=True
        ).start()
        yield server.getsockname()[1]


def test_a_store_that_hangs_holds_nobody_up(project, silent_server):
    uri = f"http://127.0.0.1:{silent_server}"
    result = project.run(*NETWORK, f"tracking.uri={uri}")
    (warning,) = warnings_in(result)
    assert f"runs are not recorded in {uri}: no answer within 5 s" in warning
    assert len(pending(project)) == 1


SECRET = "hunter-two"


@pytest.mark.parametrize(
    "override",
    [
        f"tracking.uri='http://me:{SECRET}@host/store'",
        f"tracking.uri='http://host/store?token={SECRET}'",
        f"tracking.uri='https://{SECRET}@host'",
        f"tracking.uri='postgresql://host/db?user=me&password={SECRET}'",
        f"tracking.uri='http://me:{SECRET}@[host'",
        f"tracking.url='http://me:{SECRET}@host'",
        f"tracking='http://me:{SECRET}@host'",
    ],
)
def test_a_secret_in_the_parameters_is_refused_unseen(override):
    for overrides in ([override], [override, "experiment=nope"], [override, "network.seed=["]):
        with pytest.raises(RetraceError) as error:
            compose(ROOT / "conf", overrides)
        assert SECRET not in str(error.value)
    if override.startswith("tracking.uri"):
        with pytest.raises(RetraceError, match="should be a URI without password and query"):
            compose(ROOT / "conf", [override])


def test_no_password_reaches_a_message_or_a_file(project):
    uri = f"http://me:{SECRET}@127.0.0.1:9/store?token={SECRET}"
    result = project.run(*NETWORK, MLFLOW_TRACKING_URI=uri)
    (warning,) = warnings_in(result)
    assert "runs are not recorded in http://127.0.0.1:9/store: " in warning
    assert SECRET not in result.stdout + result.stderr
    for path in project.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@host:5/db?x=1", "postgresql://host:5/db"),
        ("http://me:a/b@[::1]:9/x", "http://[::1]:9/x"),
        ("https://host", "https://host"),
        ("sqlite:////a/b.db?mode=ro", "sqlite:////a/b.db?mode=ro"),
        ("mlruns", "mlruns"),
    ],
)
def test_what_is_shown_of_a_uri_has_no_secret(uri, shown):
    assert displayed(uri) == shown


def test_messages_of_others_lose_their_secrets():
    uri = "http://me:p%40ss@host/db?token=t0ken&x=1"
    text = f"no {uri} here: p@ss, p%40ss, url: /db?token=t0ken\nmore"
    assert without_secrets(text, uri) == "no http://host/db here: ***, ***, url: /db?token=***"
    assert without_secrets("a&t0ken", "http://host?a&b=t0ken") == "a&***"
    assert without_secrets("t0ken!", "http://t0ken@host") == "***!"
    assert without_secrets("an error", "sqlite:///a.db?mode=ro") == "an error"


def test_one_training_that_cannot_be_sent_does_not_hold_up_the_others(project):
    (project.root / "mlflow.db").write_text("this is no database")
    for seed in (1, 2):
        project.run(*NETWORK, f"network.seed={seed}")
    (project.root / "mlflow.db").unlink()
    first, _ = sorted(pending(project))
    first.write_text("no notes\n")
    synced = project.run("mlcore.tracking.recorder", check=False)
    assert synced.returncode == 1
    assert "network-tanh-normal is not recorded in sqlite:///" in synced.stderr
    assert "recorded network-tanh-normal" in synced.stdout
    (run,) = project.runs("network")
    assert run.data.params["seed"] == "2"
    assert pending(project) == [first]


def test_a_folder_may_have_any_name(project, tmp_path):
    """Paths become URIs and paths again: of the database, of files, of the models' parts."""
    root = tmp_path / "ü %20 x" / "project"
    root.parent.mkdir()
    project.root = project.root.rename(root)
    project.run(*NETWORK)
    project.run(*CLASSIFIER)
    assert not pending(project)
    store = project.client()
    for part in ("network", "classifier"):
        (run,) = project.runs(part)
        assert run.info.status == "FINISHED"
        assert store.list_artifacts(run.info.run_id, "results")
        (model,) = run.outputs.model_outputs
        assert list((root / "mlruns" / part).rglob(f"{model.model_id}/artifacts/MLmodel"))
    assert [path.name for path in tmp_path.iterdir()] == ["ü %20 x"]


def test_a_writer_that_is_broken_off_makes_each_run_once(project, monkeypatch, tmp_path):
    """The store fails at every call in turn; what comes of it is one run, whole."""
    (project.root / "mlflow.db").write_text("this is no database")
    project.run(*SEARCH, "search.batch_size=[32]", "search.cv=2")
    (project.root / "mlflow.db").unlink()
    (notes,) = pending(project)
    store = Store(default_uri(project.root), project.root)
    monkeypatch.setattr(recorder.Run, "_log_model", lambda self, model: "models:/m")
    calls = ("log_batch", "log_inputs", "create_run", "set_terminated", "log_artifact")
    client = store.client
    for number in range(60):
        count = iter(range(1000))

        def failing(method, number=number, count=count):
            def call(*args, **kwargs):
                if next(count) == number:
                    raise ConnectionError("the store is gone")
                return method(*args, **kwargs)

            return call

        proxy = SimpleNamespace(
            **{name: failing(getattr(client, name)) for name in calls},
            **{n: getattr(client, n) for n in ("search_runs", "update_run", "set_tag",
                                               "get_experiment_by_name", "create_experiment")},
        )  # fmt: skip
        store.client = proxy
        run = recorder.Run(notes.parent, store)
        try:
            run.advance()
        except ConnectionError:
            continue
        break
    assert run.done
    assert number > 10
    runs = project.runs("search")
    assert len(runs) == 1 + 2 * 2
    assert {r.info.status for r in runs} == {"FINISHED"}
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    assert len(parent.inputs.dataset_inputs) == 1
    assert len(client.get_metric_history(parent.info.run_id, "train_loss")) == 1
    assert {len(r.data.metrics) for r in runs if r is not parent} == {5}


def test_a_model_that_could_not_be_registered_is_tried_again(project, monkeypatch):
    (project.root / "mlflow.db").write_text("this is no database")
    project.run(*CLASSIFIER)
    (project.root / "mlflow.db").unlink()
    (noted,) = pending(project)
    store = Store(default_uri(project.root), project.root)
    logged, promoted = [], []

    def log_model(self, model):
        logged.append(model)
        return "models:/m-1"

    def promote(store, part, uri, run_id, about, own):
        promoted.append(uri)
        if len(promoted) == 1:
            raise ConnectionError("no answer")

    monkeypatch.setattr(recorder.Run, "_log_model", log_model)
    monkeypatch.setattr(recorder, "promote", promote)
    with pytest.raises(ConnectionError):
        recorder.Run(noted.parent, store).advance()
    again = recorder.Run(noted.parent, store)
    again.advance()
    assert again.done
    assert promoted == ["models:/m-1"] * 2
    assert len(logged) == 1


def test_a_store_that_registers_no_models_has_the_run_all_the_same(project, monkeypatch, capfd):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    def refuse(*args):
        raise MlflowException("models are registered by others here", error_code=PERMISSION_DENIED)

    (project.root / "mlflow.db").write_text("this is no database")
    project.run(*CLASSIFIER)
    (project.root / "mlflow.db").unlink()
    (noted,) = pending(project)
    monkeypatch.setattr(recorder.Run, "_log_model", lambda self, model: "models:/m-1")
    monkeypatch.setattr(recorder, "promote", refuse)
    writer = recorder.Run(noted.parent, Store(default_uri(project.root), project.root))
    writer.advance()
    assert writer.done
    warning = "warning: a model is not registered: models are registered by others here\n"
    assert capfd.readouterr().err.endswith(warning)
    (run,) = project.runs("classifier")
    assert run.info.status == "FINISHED"


def test_sync_does_not_wait_for_a_training_whose_command_was_killed(project):
    (project.root / "mlflow.db").write_text("this is no database")
    project.run(*NETWORK)
    (project.root / "mlflow.db").unlink()
    (events,) = pending(project)
    events.write_text(events.read_text().splitlines(keepends=True)[0])  # as after its start
    with FileLock(events.with_name(notes.LOCK)):
        synced = project.run("mlcore.tracking.recorder", check=False)
    assert synced.returncode == 1
    assert synced.stdout == "network-tanh-normal is still at work\n"
    assert pending(project) == [events]
    assert "recorded network-tanh-normal" in project.run("mlcore.tracking.recorder").stdout
    (run,) = project.runs("network")
    assert run.info.status == "KILLED"


def test_what_one_store_misses_is_not_sent_to_another(project, silent_server):
    """Its password stays in the environment, and so does not tell the store's name."""
    uri = f"http://me:{SECRET}@127.0.0.1:{silent_server}"
    project.run(*NETWORK, MLFLOW_TRACKING_URI=uri)
    project.run(*NETWORK, "network.seed=5", MLFLOW_TRACKING_URI="sqlite:////dev/null/no.db")
    for variables in ({}, {"MLFLOW_TRACKING_URI": uri}):
        synced = project.run("mlcore.tracking.recorder", check=False, **variables)
        assert synced.returncode == 1
        assert f"not recorded in http://127.0.0.1:{silent_server}: no answer" in synced.stderr
        assert "not recorded in sqlite:////dev/null/no.db" in synced.stderr
        assert SECRET not in synced.stderr
    assert len(pending(project)) == 2
    assert not (project.root / "mlflow.db").exists()


def test_what_earlier_commands_could_not_record_is_mentioned_until_it_is(project):
    def says(**variables):
        result = project.run(*NETWORK, **variables)
        return [line for line in result.stdout.splitlines() if "`make sync` does it" in line]

    nowhere = {"MLFLOW_TRACKING_URI": "sqlite:////dev/null/no.db"}
    assert not says(**nowhere)  # of its own it says more
    (line,) = says()
    assert "not recorded of earlier commands: 1;" in line
    (session,) = (project.root / "mlruns" / "pending").iterdir()
    (session / notes.STORE).write_text(default_uri(project.root))
    project.run("mlcore.tracking.recorder")
    assert not says()


def test_where_notes_have_no_place_training_goes_on(project):
    (project.root / "mlruns").write_text("a file in the way")
    result = project.run(*NETWORK)
    (warning,) = warnings_in(result)
    assert "nothing is tracked" in warning
    assert load_network(output(project, "*.pkl")).n_epochs_ == 3


def test_a_command_that_trains_nothing_does_not_touch_the_store(project):
    project.run("stages.worked_examples", "hydra.run.dir=outputs/x/y")
    assert not (project.root / "mlflow.db").exists()
    assert list((project.root / "mlruns" / "pending").iterdir()) == []


def test_a_sweep_over_the_tracking_is_refused_in_one_line(project):
    result = project.run(NETWORK[0], "-m", "tracking=off,mlflow", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: command line: tracking should be the same for all jobs of a sweep"
    ]


def test_sync_leaves_a_session_alone_whose_command_is_at_work(project, endless):
    wait_for(lambda: pending(project))
    result = project.run("mlcore.tracking.recorder")
    assert "nothing to record" in result.stdout
    assert pending(project)


def test_experiments_in_a_temporary_copy_share_the_checkouts_store():
    copy = Path("/home/a/study/.dvc/tmp/exps/standalone/abc")
    assert checkout_root(copy) == Path("/home/a/study")
    assert default_uri(copy) == "sqlite:////home/a/study/mlflow.db"
    assert checkout_root(Path("/home/a/study")) == Path("/home/a/study")


def test_the_uri_escapes_what_a_path_may_hold():
    from sqlalchemy import make_url

    for folder in ("/a b/c", "/100 %/x", "/%20/ü", "/a?b#c"):
        assert make_url(default_uri(Path(folder))).database == f"{folder}/mlflow.db"
