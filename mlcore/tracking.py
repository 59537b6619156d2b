"""Record trainings in MLflow. The only module that imports it.

A run is written after its training, in a few calls, so tracking cannot change a result and its
failure cannot lose one.
"""

import hashlib
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sqlalchemy import URL

from mlcore import plotting
from mlcore.nn import NeuralNetwork
from mlcore.record import Dataset, Training

log = logging.getLogger(__name__)

for chatty in ("mlflow", "alembic"):
    logging.getLogger(chatty).setLevel(logging.WARNING)

BATCH_LIMIT = 1000
"""Metrics that MLflow takes in one call."""

N_EXAMPLES = 5

TRUSTED_TYPES = [
    "mlcore.estimators.ValidatedMLPClassifier",
    "mlcore.estimators.ValidatedMLPRegressor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]
"""All that a fitted MLP holds beyond what skops trusts by itself."""

REQUIREMENTS = ["numpy", "scipy", "scikit-learn", "skops"]


def checkout_root(root: Path) -> Path:
    """Give the top of the user's checkout, also from a DVC experiment's temporary copy of it."""
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def default_uri(root: Path) -> str:
    """Give the URI of the SQLite store at the top of the checkout: always absolute."""
    database = str(checkout_root(root) / "mlflow.db")
    return URL.create(
        "sqlite", database=database
    ).render_as_string()  # escapes what a path may hold


def record(training: Training, uri: str | None, root: Path, stage: str, started: float) -> None:
    """Write a training, and its children, to the MLflow store.

    A failure of the store is logged as an error and does not raise: the training's results are
    on disk by then.

    Parameters
    ----------
    training : Training
    uri : str or None
        Tracking URI; None for `default_uri`.
    root : Path
        Top of the checkout.
    stage : str
        Module of the stage.
    started : float
        When the training started, in seconds since 1970.
    """
    uri = uri or default_uri(root)
    log.info("%s %s: recording in %s", training.part, training.name, uri)
    try:
        client = open_store(uri, root)
        experiment = _experiment(client, training.part, root, uri)
        tags = {**_git_tags(root), **_dvc_tags(), "mlflow.source.name": stage}
        run_id = _write_run(client, experiment, training, tags, started)
        for child in training.children:
            _write_run(client, experiment, child, tags, started, parent=run_id)
        _attach(run_id, training, root)
    except Exception as error:  # whatever it is, the training is done and must not be lost
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.error(
            "error: the results of %s %s are complete, but could not be recorded in %s: %s",
            training.part,
            training.name,
            uri,
            first,
        )


def open_store(uri: str, root: Path) -> MlflowClient:
    """Connect to the store, and make its schema if it has none yet.

    The first use is under a lock: of several processes that start on an empty database, all but
    one would fail.
    """
    with FileLock(checkout_root(root) / ".mlflow.lock"):
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def _experiment(client: MlflowClient, name: str, root: Path, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        local = (
            (checkout_root(root) / "mlruns" / name).as_uri() if uri.startswith("sqlite") else None
        )
        try:
            return str(client.create_experiment(name, artifact_location=local))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _write_run(
    client: MlflowClient,
    experiment: str,
    training: Training,
    tags: dict[str, str],
    started: float,
    parent: str | None = None,
) -> str:
    """Create a finished run with its parameters and metrics; returns its id."""
    now = int(time.time() * 1000)
    tags = tags | ({"mlflow.parentRunId": parent} if parent else {})
    run = client.create_run(
        experiment, start_time=int(started * 1000), tags=tags, run_name=training.name
    )
    run_id = run.info.run_id
    params = [Param(key, str(value)) for key, value in training.params.items()]
    client.log_batch(run_id, params=params, synchronous=True)
    for metrics in _chunks(training, now):
        client.log_batch(run_id, metrics=metrics, synchronous=True)
    client.set_terminated(run_id, "FINISHED", end_time=now)
    return str(run_id)


def _chunks(training: Training, now: int) -> Iterator[list[Metric]]:
    """Give every epoch's and the final metrics in lists that one call takes."""
    metrics = [
        Metric(name, value, now, int(row["epoch"]))
        for row in training.history
        for name, value in row.items()
        if name != "epoch"
    ]
    last = training.history[-1] if training.history else {}
    for name, value in training.metrics.items():
        if last.get(name) != value:
            # What was evaluated after training may differ from the last epoch's of that name.
            # Step 0: single values are then drawn as bars
            metrics.append(Metric(f"final_{name}" if name in last else name, value, now, 0))
    for start in range(0, len(metrics), BATCH_LIMIT):
        yield metrics[start : start + BATCH_LIMIT]


def _attach(run_id: str, training: Training, root: Path) -> None:
    """Add data set, figures, files and model to a run that has its figures already."""
    with mlflow.start_run(run_id=run_id):
        if training.dataset is not None:
            mlflow.log_input(_mlflow_dataset(training.dataset), context="training")
        if training.history:
            history = pd.DataFrame(list(training.history))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "loss.png"
                figure = plotting.loss_curves(history, f"{training.part}: {training.name}", "loss")
                plotting.save(figure, path)
                mlflow.log_artifact(str(path), "figures")
        for file in training.files:
            mlflow.log_artifact(str(file), "results")
        if training.model is not None and training.dataset is not None:
            _log_model(training.model, training.dataset, training.files, root)


def _mlflow_dataset(dataset: Dataset) -> Any:
    digest = hashlib.md5(dataset.path.read_bytes(), usedforsecurity=False).hexdigest()
    return mlflow.data.from_numpy(dataset.X, targets=dataset.y, name=dataset.name, digest=digest)


def _log_model(model: Any, dataset: Dataset, files: Any, root: Path) -> None:
    example = dataset.X[:N_EXAMPLES]
    signature = infer_signature(example, model.predict(example))
    shared = {
        "name": "model",
        "code_paths": [str(root / "mlcore")],
        "signature": signature,
        "input_example": example,
        "pip_requirements": REQUIREMENTS,
    }
    if isinstance(model, NeuralNetwork):
        mlflow.pyfunc.log_model(
            python_model=str(root / "mlcore" / "serving.py"),
            artifacts={"network": str(files[0])},
            **shared,
        )
    else:
        mlflow.sklearn.log_model(
            model,
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
            **shared,
        )


def _dvc_tags() -> dict[str, str]:
    variables = {
        "dvc.stage": "DVC_STAGE",
        "dvc.experiment": "DVC_EXP_NAME",
        "dvc.baseline": "DVC_EXP_BASELINE_REV",
    }
    return {tag: os.environ[name] for tag, name in variables.items() if os.environ.get(name)}


def _git_tags(root: Path) -> dict[str, str]:
    """Give commit and dirty state; empty outside a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # Results that the pipeline is just writing are no change of the code
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", ":!metrics", ":!dvc.lock"
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}
