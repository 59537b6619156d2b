"""MLflow runs: complete, loadable, race-free, and never in the way of a result."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mlcore.artifacts import load_arrays, load_network
from mlcore.tracking import checkout_root, default_uri

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NETWORK = ["stages.train_network", "network.max_epochs=3", "network.hidden_layer_sizes=[8,6]"]
CLASSIFIER = ["stages.fit_classifier", "classifier.max_epochs=2"]
SEARCH = ["stages.search_classifier", "search.max_epochs=1", "search.learning_rate=[0.01,0.1]"]


def open_store(project):
    import mlflow

    mlflow.set_tracking_uri(default_uri(project.root))
    return mlflow.MlflowClient(default_uri(project.root))


def runs_of(client, experiment):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], max_results=100)


def output(project, pattern):
    (path,) = (project.root / "outputs").rglob(pattern)
    return path


def test_a_network_run_holds_all_that_is_needed_to_compare_and_reuse_it(project):
    import mlflow

    project.run(*NETWORK, "network.activation=relu")
    store = open_store(project)
    (run,) = runs_of(store, "network")
    assert (run.info.run_name, run.info.status) == ("relu-normal", "FINISHED")
    assert run.data.params["learning_rate"] == "0.02"
    assert run.data.params["hidden_layer_sizes"] == "[8, 6]"
    assert {"n_epochs", "test_loss", "test_accuracy"} <= set(run.data.metrics)
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert [m.step for m in store.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert not [name for name in run.data.metrics if name.startswith("final_")]

    (entry,) = run.inputs.dataset_inputs
    data = project.root / "data" / "mnist.npz"
    assert entry.dataset.name == "mnist"
    assert entry.dataset.digest == hashlib.md5(data.read_bytes()).hexdigest()
    assert [a.path for a in store.list_artifacts(run.info.run_id, "figures")] == [
        "figures/loss.png"
    ]

    (logged,) = run.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    X = (load_arrays(data)["X_test"] / 255).astype(np.float32)
    network = load_network(output(project, "*.pkl"))
    np.testing.assert_array_equal(model.predict(X), network.predict(X))
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 784)
    assert model.input_example.shape == (5, 784)


def test_a_scikit_learn_run_holds_its_losses_and_the_full_estimator(project):
    import mlflow

    project.run(*CLASSIFIER, "classifier.activation=tanh")
    store = open_store(project)
    (run,) = runs_of(store, "classifier")
    assert run.info.run_name == "tanh"
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert [m.step for m in store.get_metric_history(run.info.run_id, name)] == [1, 2]
    metrics = project.root / "outputs"
    (path,) = metrics.rglob("classifier/tanh.json")
    evaluated = json.loads(path.read_text())["train_loss"]
    assert run.data.metrics["final_train_loss"] == evaluated != run.data.metrics["train_loss"]
    (logged,) = run.outputs.model_outputs
    model = mlflow.sklearn.load_model(f"models:/{logged.model_id}")
    arrays = load_arrays(project.root / "data" / "fashion_mnist.npz")
    accuracy = model.score((arrays["X_test"] / 255).astype(np.float32), arrays["y_test"])
    assert accuracy == pytest.approx(run.data.metrics["test_accuracy"], abs=1e-9)


def test_the_candidates_of_a_search_are_children_of_its_run(project):
    project.run(*SEARCH, "search.batch_size=[32,64]")
    store = open_store(project)
    runs = runs_of(store, "search")
    (parent,) = (run for run in runs if run.info.run_name == "search")
    children = [run for run in runs if run is not parent]
    assert len(children) == 2 * 2 * 2
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {parent.info.run_id}
    best = max(children, key=lambda c: c.data.metrics["mean_accuracy"])
    assert best.data.metrics["mean_accuracy"] == parent.data.metrics["cv_accuracy"]
    folds = [best.data.metrics[f"fold_{k}"] for k in (1, 2, 3)]
    assert np.mean(folds) == pytest.approx(best.data.metrics["mean_accuracy"])
    assert len(store.get_metric_history(parent.info.run_id, "train_loss")) == 1
    assert store.list_artifacts(parent.info.run_id, "figures")
    assert len(parent.outputs.model_outputs) == 1


def test_processes_that_start_together_on_a_fresh_store_are_all_recorded(project):
    inits = ("zero", "random", "normal", "he")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda init: project.run(*NETWORK, f"network.init={init}"), inits))
    runs = runs_of(open_store(project), "network")
    assert {run.info.run_name for run in runs} == {f"tanh-{i}" for i in inits}


def test_tracking_leaves_the_results_as_they_are(project):
    project.run(*NETWORK, "hydra.run.dir=outputs/on/x")
    project.run(*NETWORK, "hydra.run.dir=outputs/off/x", "tracking=off")
    for pattern in ("*.pkl", "*.json", "*.csv"):
        on, off = (next((project.root / "outputs" / s).rglob(pattern)) for s in ("on", "off"))
        assert on.read_bytes() == off.read_bytes()


def test_a_store_that_fails_is_reported_and_costs_no_result(project):
    (project.root / "mlflow.db").write_text("this is no database")
    result = project.run(*NETWORK, check=False)
    assert result.returncode == 0
    assert "could not be recorded in sqlite:///" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert load_network(output(project, "*.pkl")).n_epochs_ == 3


def test_experiments_in_a_temporary_copy_share_the_checkouts_store():
    copy = Path("/home/a/study/.dvc/tmp/exps/standalone/abc")
    assert checkout_root(copy) == Path("/home/a/study")
    assert default_uri(copy) == "sqlite:////home/a/study/mlflow.db"
    assert checkout_root(Path("/home/a/study")) == Path("/home/a/study")
