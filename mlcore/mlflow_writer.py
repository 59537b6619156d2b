"""Sends the notes of trainings to MLflow: ``python -m mlcore.mlflow_writer [--follow FOLDER]``.

The only module that imports mlflow. With --follow it reads the notes of one command while they
grow, until its standard input ends and all trainings have. Without, it sends whatever earlier
commands could not: `make sync`. Notes that are sent are deleted.
"""

import argparse
import json
import logging
import os
import pickle
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from filelock import FileLock, Timeout
from sqlalchemy import URL

from mlcore.network_files import save_network
from mlcore.nn import NeuralNetwork
from mlcore.observers.tracking import EVENTS, EXAMPLE, FILES, LOCK, MODEL, checkout_root

ROOT = Path(__file__).parents[1]

INTERVAL = 3.0
"""Seconds between two batches of epochs."""

BATCH_LIMIT = 1000
"""Metrics that MLflow takes in one call."""

PROBE_TIMEOUT = 3.0
"""Seconds that a server has to answer; a whole command waits no longer than this and a bit."""

TRUSTED_TYPES = [
    "mlcore.estimators.ObservedMLPClassifier",
    "mlcore.estimators.ObservedMLPRegressor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]
"""All that a fitted MLP holds beyond what skops trusts by itself."""

REQUIREMENTS = ["numpy", "scipy", "scikit-learn", "skops"]


RUN_ID = "run_id"
"""File that names the run once it exists."""


class StoreError(Exception):
    """The store cannot be used; the message has no password in it."""


def default_uri(root: Path) -> str:
    """Give the URI of the SQLite store at the top of the checkout: always absolute."""
    database = str(checkout_root(root) / "mlflow.db")
    return URL.create(
        "sqlite", database=database
    ).render_as_string()  # escapes what a path may hold


def displayed(uri: str) -> str:
    """Give a URI without what may be secret in it: the password and the query."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        return uri
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"


def without_secrets(text: str, uri: str) -> str:
    """Give the first line of a text, with `uri` and its password blotted out."""
    line = (text.strip() or "no reason given").splitlines()[0].replace(uri, displayed(uri))
    password = urlsplit(uri).password
    return line.replace(password, "***") if password else line


def probe(uri: str) -> None:
    """Raise StoreError unless something answers at the store's address within seconds."""
    parts = urlsplit(uri)
    if not parts.hostname:
        return
    ports = {"https": 443, "http": 80, "postgresql": 5432, "mysql": 3306}
    port = parts.port or ports.get(parts.scheme.partition("+")[0], 80)
    try:
        with socket.create_connection((parts.hostname, port), PROBE_TIMEOUT) as connection:
            if parts.scheme == "http":  # a server that accepts and then says nothing hangs too
                connection.settimeout(PROBE_TIMEOUT)
                request = f"GET /health HTTP/1.0\r\nHost: {parts.hostname}\r\n\r\n"
                connection.sendall(request.encode())
                if not connection.recv(1):
                    raise StoreError("it closed the connection")
    except OSError as error:
        raise StoreError(str(error) or type(error).__name__) from None


class Store:
    """The MLflow store; connecting to it imports mlflow, which takes seconds."""

    def __init__(self, uri: str, root: Path) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "5"
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        probe(uri)
        import mlflow

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        self.mlflow, self.uri, self.root = mlflow, uri, root
        # Of several processes that start on an empty database, all but one would fail
        with FileLock(checkout_root(root) / ".mlflow.lock"):
            mlflow.set_tracking_uri(uri)
            self.client = mlflow.MlflowClient(uri)
            self.client.search_experiments(max_results=1)
        self.experiments: dict[str, str] = {}

    def experiment(self, name: str) -> str:
        """Give the id of an experiment, which is made if it is not there."""
        if name not in self.experiments:
            found = self.client.get_experiment_by_name(name)
            self.experiments[name] = found.experiment_id if found else self._create(name)
        return self.experiments[name]

    def _create(self, name: str) -> str:
        local = (checkout_root(self.root) / "mlruns" / name).as_uri()
        try:
            return str(
                self.client.create_experiment(
                    name, artifact_location=local if self.uri.startswith("sqlite") else None
                )
            )
        except self.mlflow.exceptions.MlflowException:  # another process was faster
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


class Run:
    """The notes of one training, and how much of them is sent."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.run_id, self.offset, self.done = "", 0, False
        self.metrics: list[Any] = []
        self.sent = time.monotonic()

    def advance(self) -> None:
        """Read what is new and send it, if it is time to."""
        alive = self._is_held()  # before reading: what was noted last must be seen
        with (self.folder / EVENTS).open("rb") as file:
            file.seek(self.offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            note = json.loads(line)
            getattr(self, f"_{note['event']}")(note)
        if self.metrics and time.monotonic() - self.sent >= INTERVAL:
            self._send()
        if not self.done and not alive:
            self._failed(
                {"time": time.time(), "status": "KILLED", "error": "its process ended untold"}
            )

    def _is_held(self) -> bool:
        """Whether the process that trains is alive: the system frees its lock when it ends."""
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return False
        except Timeout:
            return True

    def _started(self, note: dict[str, Any]) -> None:
        entities = self.store.mlflow.entities
        self.part, self.tags = note["part"], note["tags"]
        begun = self.folder / RUN_ID
        if begun.exists():  # by a writer that lost the store: what is there is not sent twice
            self.run_id = begun.read_text()
            self.store.client.update_run(self.run_id, status="RUNNING")
            return
        self.run_id = self.store.client.create_run(
            self.store.experiment(self.part),
            start_time=milliseconds(note["time"]),
            run_name=note["name"],
            tags=self.tags,
        ).info.run_id
        begun.write_text(self.run_id)
        params = [entities.Param(name, value) for name, value in note["params"].items()]
        self.store.client.log_batch(self.run_id, params=params)
        dataset = entities.Dataset(
            **note["dataset"], source_type="local", source=json.dumps({"uri": note["path"]})
        )
        tag = entities.InputTag("mlflow.data.context", "training")
        self.store.client.log_inputs(self.run_id, [entities.DatasetInput(dataset, [tag])])

    def _epoch(self, note: dict[str, Any]) -> None:
        row = note["row"]
        self.metrics += [
            self._metric(name, value, note["time"], int(row["epoch"]))
            for name, value in row.items()
            if name != "epoch"
        ]

    def _metric(self, name: str, value: float, when: float, step: int) -> Any:
        return self.store.mlflow.entities.Metric(name, value, milliseconds(when), step)

    def _send(self) -> None:
        for start in range(0, len(self.metrics), BATCH_LIMIT):
            self.store.client.log_batch(
                self.run_id, metrics=self.metrics[start : start + BATCH_LIMIT]
            )
        self.metrics, self.sent = [], time.monotonic()

    def _finished(self, note: dict[str, Any]) -> None:
        # Without the prefix they would be mixed up with the epochs' figures of that name.
        # Step 0: single values are drawn as bars
        self.metrics += [
            self._metric(
                f"final_{name}" if name.startswith(("train_", "val_")) else name,
                value,
                note["ended"],
                0,
            )
            for name, value in note["metrics"].items()
        ]
        self._send()
        for candidate in note["candidates"]:
            self._candidate(candidate)
        self._attach()
        self._end("FINISHED", note["ended"])

    def _candidate(self, candidate: dict[str, Any]) -> None:
        """Record a candidate of a search as a child."""
        client, entities = self.store.client, self.store.mlflow.entities
        child = client.create_run(
            self.store.experiment(self.part),
            start_time=milliseconds(candidate["started"]),
            run_name=candidate["name"],
            tags=self.tags | {"mlflow.parentRunId": self.run_id},
        ).info.run_id
        client.log_batch(
            child,
            params=[entities.Param(name, value) for name, value in candidate["params"].items()],
            metrics=[
                self._metric(name, value, candidate["ended"], 0)
                for name, value in candidate["metrics"].items()
            ],
        )
        client.set_terminated(child, "FINISHED", end_time=milliseconds(candidate["ended"]))

    def _failed(self, note: dict[str, Any]) -> None:
        if self.run_id:
            self._send()
            self.store.client.set_tag(self.run_id, "error", note["error"])
            self._end(note["status"], note["time"])
        self.done = True

    def _end(self, status: str, when: float) -> None:
        self.store.client.set_terminated(self.run_id, status, end_time=milliseconds(when))
        self.done = True

    def _attach(self) -> None:
        """Add files, the loss curve and the model."""
        for file in sorted((self.folder / FILES).iterdir()):
            self.store.client.log_artifact(self.run_id, str(file), "results")
        model = pickle.loads((self.folder / MODEL).read_bytes())  # noqa: S301 - our own note
        with np.load(self.folder / EXAMPLE, allow_pickle=False) as arrays:
            example = arrays["X"]
        self._log_model(model, example)

    def _log_model(self, model: Any, example: Any) -> None:
        mlflow = self.store.mlflow
        shared = {
            "name": "model",
            "code_paths": [str(self.store.root / "mlcore")],
            "signature": mlflow.models.infer_signature(example, model.predict(example)),
            "input_example": example,
            "pip_requirements": REQUIREMENTS,
        }
        mlflow.start_run(run_id=self.run_id)
        try:
            if isinstance(model, NeuralNetwork):
                file = self.folder / "network.pkl"
                save_network(file, model)
                mlflow.pyfunc.log_model(
                    python_model=str(self.store.root / "mlcore" / "serving.py"),
                    artifacts={"network": str(file)},
                    **shared,
                )
            else:
                mlflow.sklearn.log_model(
                    model,
                    serialization_format="skops",
                    skops_trusted_types=TRUSTED_TYPES,
                    **shared,
                )
        finally:
            mlflow.end_run("RUNNING")


def milliseconds(seconds: float) -> int:
    """Give a time as MLflow has it."""
    return int(seconds * 1000)


def send(folders: Iterable[Path], runs: dict[Path, Run], store: Store) -> None:
    """Advance every training in these folders, and delete the notes of those that are done."""
    for folder in folders:
        run = runs.setdefault(folder, Run(folder, store))
        if not run.done:
            run.advance()
        if run.done:
            shutil.rmtree(folder)
            del runs[folder]


def noted(session: Path) -> list[Path]:
    """Give the trainings of a session in the order in which they began."""
    return sorted(path for path in session.iterdir() if path.is_dir() and path.name[0] != ".")


def follow(session: Path, store: Store, ended: threading.Event) -> None:
    """Send a session's notes while they grow, until `ended` and all trainings have."""
    runs: dict[Path, Run] = {}
    while True:
        last = ended.is_set()
        send(noted(session), runs, store)
        if last and not noted(session):
            return
        time.sleep(0.25)


def main() -> int:
    """Send notes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.mlflow_writer", description=__doc__)
    parser.add_argument("--follow", type=Path, metavar="FOLDER", help="of one command's notes")
    session = parser.parse_args().follow
    pending = checkout_root(ROOT) / "mlruns" / "pending"
    sessions = [session] if session else sorted(pending.glob("*")) if pending.exists() else []
    if not any(folder.exists() for folder in sessions):
        print("nothing to record: mlruns/pending is empty")
        return 0
    ended = threading.Event()
    if session:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the end of standard input is the sign

        def wait_for_the_end() -> None:
            sys.stdin.read()
            ended.set()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default_uri(ROOT)
    failed = False
    store = None
    for folder in sessions:
        try:
            with FileLock(folder / ".writer", timeout=0):
                if session:
                    store = store or Store(uri, ROOT)
                    follow(folder, store, ended)
                elif noted(folder):
                    store = store or Store(uri, ROOT)
                    names = [path.name for path in noted(folder)]
                    send(noted(folder), {}, store)
                    print("\n".join(f"recorded {name.partition('-')[2]}" for name in names))
                empty = not noted(folder)
        except Timeout:
            continue  # a command is still at work there
        except Exception as error:  # whatever it is, the trainings are done or go on
            reason = without_secrets(str(error), uri)
            print(
                f"warning: runs are not recorded in {displayed(uri)}: {reason}. "
                "They are kept in mlruns/pending; `make sync` records them",
                file=sys.stderr,
            )
            failed = True
            break
        if empty:
            shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
