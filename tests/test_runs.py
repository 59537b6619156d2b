"""Runs people can compare: which count, what they came from, what sweeps they belong to."""

import hashlib
import json
import re
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import yaml

from mlcore.files import load_arrays, save_arrays
from mlcore.tracking import notes, runs, summary
from mlcore.tracking.observer import note_group
from mlcore.tracking.registry import promote
from mlcore.tracking.store import Store, default_uri

pytestmark = pytest.mark.mlflow

ROOT = Path(__file__).parents[1]

STAGE = "train_network@relu-normal"
CELL = ["network.activation=relu", "network.init=normal"]
SMALL = ["network.max_epochs=3", "network.hidden_layer_sizes=[8,6]"]
TANH = ["stages.fit_classifier", "classifier.activation=tanh", "classifier.method=partial_fit"]
CLASSIFIER = [*TANH, "classifier.learning_rate=0.01"]


def run_as_dvc(project, *overrides):
    """Train a cell as DVC does, with parameters from params.yaml; the notes are kept."""
    project.call("mlcore.config", *SMALL, *overrides)
    return project.train("stages.train_network", *CELL, dvc=STAGE)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_new_run_of_a_stage_supersedes_the_older_and_deletes_nothing(tracked):
    """One that is sent late does not take the place of a newer one."""
    run_as_dvc(tracked)
    tracked.sync()
    late = run_as_dvc(tracked, "network.learning_rate=0.04")
    hidden = late.rename(tracked.root / late.name)
    tracked.train("stages.train_network", *CELL, *SMALL)  # by hand: it does not count
    run_as_dvc(tracked, "network.learning_rate=0.05")
    for _ in range(2):
        tracked.sync()
        (current,) = tracked.runs("network", "tags.current = 'true'")
        assert current.data.params["learning_rate"] == "0.05"
        old = tracked.runs("network", f"tags.current = '{current.info.run_id}'")
        if hidden.exists():
            hidden.rename(late)
    assert len(old) == 2
    assert {run.info.status for run in tracked.runs("network")} == {"FINISHED"}
    assert len(tracked.runs("network")) == 4


def champion(client):
    return client.get_model_version_by_alias("retrace-classifier", "champion")


def test_the_champion_is_the_best_on_validation_among_those_on_the_same_data(tracked):
    import mlflow

    client = tracked.client()

    def trained(*arguments, **options):
        tracked.record(*arguments, **options)
        return champion(client)

    first = trained(*CLASSIFIER, "classifier.max_epochs=1")
    best = trained(*CLASSIFIER, "classifier.max_epochs=20")
    assert float(best.tags["val_accuracy"]) > float(first.tags["val_accuracy"])
    assert trained(*CLASSIFIER, "classifier.max_epochs=2").version == best.version
    (run,) = [r for r in tracked.runs("classifier") if r.info.run_id == best.run_id]
    assert float(best.tags["val_accuracy"]) == run.data.metrics["final/val_accuracy"]
    model = mlflow.sklearn.load_model("models:/retrace-classifier@champion")
    assert model.max_iter == 20

    data = tracked.root / "data" / "fashion_mnist.npz"
    arrays = load_arrays(data)
    arrays["y_val"][:30] = arrays["y_val"][29::-1]  # much is wrong now
    save_arrays(data, **arrays)
    # Not to be compared
    assert trained(*CLASSIFIER, "classifier.max_epochs=1").version == best.version
    tracked.call("mlcore.config", "classifier.max_epochs=1", "classifier.learning_rate=0.01")
    own = trained(*TANH, dvc="fit_classifier@tanh-partial_fit")
    assert own.version != best.version  # the pipeline's data changed
    assert own.tags["data"] == md5(data)


def test_of_one_commands_trainings_the_best_alone_is_registered(tracked):
    sweep = ["-m", "classifier.max_epochs=1,20,2", "classifier.activation=tanh,relu"]
    tracked.record("stages.fit_classifier", *sweep, *TANH[2:], *CLASSIFIER[3:])
    (version,) = tracked.client().search_model_versions("name = 'retrace-classifier'")
    accuracies = [r.data.metrics.get("final/val_accuracy", 0) for r in tracked.runs("classifier")]
    assert len(accuracies) == 6 + 1  # the sweep's own
    assert float(version.tags["val_accuracy"]) == max(accuracies)
    assert champion(tracked.client()).version == version.version
    assert version.description


def test_a_collapsed_network_is_no_champion(tracked):
    zero = ["network.init=zero", "network.max_epochs=1"]
    assert "warning" not in tracked.record("stages.train_network", *CELL[:1], *zero)
    (run,) = tracked.runs("network")
    assert run.data.metrics["final/val_accuracy"] == 0.1  # one of ten classes
    assert run.outputs.model_outputs
    assert not tracked.client().search_model_versions("name = 'retrace-network'")


def test_a_model_whose_registration_was_broken_off_is_registered_once(tracked):
    from mlflow.exceptions import MlflowException

    tracked.record(*CLASSIFIER, "classifier.max_epochs=1")
    store = Store(default_uri(tracked.root), tracked.root)
    client, first = store.client, champion(store.client)
    (run,) = tracked.runs("classifier")
    about = {"val_accuracy": 0.99, "data": first.tags["data"]}
    better = client.create_run(run.info.experiment_id).info.run_id

    def promote_with(**replaced):
        store.client = Mock(wraps=client, **replaced)
        return promote(store, "classifier", first.source, better, about, own=False)

    # A store that does not answer is not one without a champion
    for call in ("search_registered_models", "set_registered_model_alias"):
        with pytest.raises(MlflowException, match="no answer"):
            promote_with(**{f"{call}.side_effect": MlflowException("no answer")})
        assert champion(client).version == first.version
    assert promote_with()
    assert champion(client).run_id == better
    assert len(client.search_model_versions("name = 'retrace-classifier'")) == 2
    assert not promote_with()


def test_a_sweep_with_many_values_has_a_run_above_it(tmp_path):
    name = "train_network " + " ".join(f"network.batch_size={n}" for n in range(100))
    note_group(tmp_path, "sweep/1", name)
    (folder,) = notes.trainings(tmp_path)
    assert json.loads((folder / notes.EVENTS).read_text())["name"] == name


def test_the_jobs_of_a_sweep_have_a_parent_that_sums_them_up(tracked):
    jobs = ["network.activation=relu,tanh", "network.seed=1,2"]
    tracked.record("stages.train_network", "-m", *SMALL, *jobs)
    client = tracked.client()
    (parent,) = tracked.runs("network", "tags.best_by = 'final/val_accuracy'")
    assert parent.info.run_name.startswith("train_network network.max_epochs=3")
    assert "network.activation=relu,tanh" in parent.data.tags["overrides"]
    children = tracked.runs("network", f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    names = [f"{name}-normal max_epochs=3 hidden_layer_sizes=[8,6]" for name in ("relu", "tanh")]
    expected = {f"{name} seed={seed}" for name in names for seed in (1, 2)}
    assert {child.info.run_name for child in children} == expected
    assert {child.data.tags["origin"] for child in children} == {"sweep"}
    accuracies = [c.data.metrics["final/val_accuracy"] for c in children]
    assert parent.data.metrics["final/n"] == 4
    assert parent.data.metrics["final/val_accuracy_max"] == max(accuracies)
    assert parent.data.metrics["final/val_accuracy_mean"] == pytest.approx(np.mean(accuracies))
    best = client.get_run(parent.data.tags["best_run"])
    assert best.data.metrics["final/val_accuracy"] == max(accuracies)
    assert {c.data.params["seed"] for c in children} == {"1", "2"}  # filters work
    table = pd.read_csv(client.download_artifacts(parent.info.run_id, "sweep/runs.csv"))
    assert set(table["run_id"]) == {c.info.run_id for c in children}
    assert {"activation", "seed", "final/val_accuracy"} <= set(table)
    assert "max_epochs" not in table  # the same in all
    files = client.list_artifacts(parent.info.run_id, "sweep")
    assert [file.path for file in files] == ["sweep/runs.csv", "sweep/runs.png"]


def a_run(name, params, metrics, tags=None):
    data = SimpleNamespace(params=params, metrics=metrics, tags=tags or {})
    return SimpleNamespace(info=SimpleNamespace(run_name=name, run_id=f"id-{name}"), data=data)


def test_a_sweep_is_summed_up_by_what_differs_and_by_validation():
    metrics = {"epoch/train_loss": 1.0}
    first = metrics | {"final/val_loss": 0.5, "final/test_accuracy": 0.9}
    other = metrics | {"final/val_loss": 0.4, "final/test_accuracy": 0.7}
    made = [a_run("a", {"rate": "1", "n": "3"}, first), a_run("b", {"rate": "2", "n": "3"}, other)]
    table = summary.table(made)
    assert list(table) == ["run", "run_id", "rate", "final/val_loss", "final/test_accuracy"]
    # Not the better one on test images
    assert summary.best(made) == (made[1], "final/val_loss")
    assert summary.best([a_run("c", {}, {})]) is None
    spread = summary.spread(made)
    assert spread["n"] == 2
    assert spread["test_accuracy_mean"] == pytest.approx(0.8)
    assert spread["test_accuracy_std"] == pytest.approx(np.sqrt(0.02))


def test_the_papers_table_comes_from_the_runs_as_documented(tracked, capsys, monkeypatch):
    store = Store(default_uri(tracked.root), tracked.root)
    experiment = store.experiment("network")
    grid = [(a, i) for a in ("tanh", "sigmoid", "leaky_relu", "relu")
            for i in ("random", "zero", "normal")]  # fmt: skip
    for number, (activation, init) in enumerate([*grid, ("tanh", "zero")]):
        tags = {"current": "true" if number < 12 else "another"}
        run = store.client.create_run(experiment, tags=tags).info.run_id
        accuracy = [("final/test_accuracy", number / 100, 0.0, 0)]
        store.log(run, {"activation": activation, "init": init}, accuracy)
    monkeypatch.chdir(tracked.root)
    (code,) = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "runs.md").read_text(), re.DOTALL)
    exec(code, {})
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        ["sigmoid", "4.0", "3.0", "5.0"],
        ["tanh", "1.0", "0.0", "2.0"],
        ["relu", "10.0", "9.0", "11.0"],
        ["leaky_relu", "7.0", "6.0", "8.0"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "data", "stage"),
    [
        ("network", "mnist", ["stages.train_network", *CELL, *SMALL]),
        ("classifier", "fashion_mnist", [*CLASSIFIER, "classifier.max_epochs=2"]),
    ],
)
def test_a_logged_model_answers_over_http(project, serve, part, data, stage):
    """Ten images posted to `mlflow models serve` come back with the labels that the model gives."""
    import mlflow

    project.run(*stage)
    (run,) = project.runs(part)
    (logged,) = run.outputs.model_outputs
    arrays = load_arrays(project.root / "data" / f"{data}.npz")
    images = (arrays["X_test"][:10] / 255).astype(np.float32)
    expected = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(images)
    model = ["mlflow", "models", "serve", "-m", f"models:/{logged.model_id}"]
    uri = default_uri(project.root)
    with serve(project, *model, "--env-manager", "local", MLFLOW_TRACKING_URI=uri) as url:
        request = urllib.request.Request(
            f"{url}/invocations",
            json.dumps({"inputs": images.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["predictions"] == expected.tolist()


def test_a_run_belongs_to_a_result_if_every_hash_agrees():
    outs = {"models/a.pkl": "2", "m.json": "3"}
    right = a_run("a", {}, {}, {"md5": json.dumps({"in": "1", **outs})})
    wrong = a_run("b", {}, {}, {"md5": json.dumps({**outs, "m.json": "4"})})
    assert runs.match(outs, [wrong, right]) == ("recorded", right)
    assert runs.match(outs, [wrong]) == ("stale", wrong)
    written = a_run("c", {}, {}, {"md5": "by hand"})
    assert runs.match(outs, [written]) == ("stale", written)
    assert runs.match(outs, []) == ("missing", None)


def test_the_runs_of_the_lock_are_listed_missing_and_stale_ones_too(tracked):
    run_as_dvc(tracked)
    tracked.sync()
    (run,) = tracked.runs("network")
    paths = ("models/network/relu-normal.pkl", "metrics/network/relu-normal.json")
    outs = [{"path": path, "md5": md5(tracked.root / path)} for path in paths]
    stages = {STAGE: {"outs": outs}, "fetch": {"outs": [{"path": "data/raw", "md5": "1.dir"}]}}

    def listed():
        lock = yaml.safe_dump({"schema": "2.0", "stages": stages})
        (tracked.root / "dvc.lock").write_text(lock)
        return tracked.call("mlcore.tracking.runs").stdout

    told = listed()
    assert f"{STAGE}  recorded  retrace/network  {run.info.run_id}" in told
    assert "1 of 1 trainings are recorded" in told
    outs[1]["md5"] = "0"
    stages["other@x"] = {"outs": [{"path": "models/x", "md5": "1"}]}
    told = listed()
    assert f"{STAGE}  stale" in told
    assert "other@x                    missing" in told
    assert "0 of 2 trainings are recorded" in told


def test_without_a_lock_or_a_store_it_says_so_in_one_line(project):
    nobody = "http://user:secret@127.0.0.1:9"
    unreached = project.call("mlcore.tracking.runs", check=False, MLFLOW_TRACKING_URI=nobody)
    assert unreached.returncode == 1
    assert unreached.stderr.startswith("error: http://127.0.0.1:9: ")
    assert "secret" not in unreached.stderr
    assert len(unreached.stderr.splitlines()) == 1
    (project.root / "dvc.lock").unlink()
    unlocked = project.call("mlcore.tracking.runs", check=False)
    assert unlocked.returncode == 1
    assert unlocked.stderr == "error: dvc.lock does not exist yet; `make repro` makes it\n"
