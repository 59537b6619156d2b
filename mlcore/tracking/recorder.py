"""Sends the notes of trainings to MLflow: ``python -m mlcore.tracking.recorder [--follow FOLDER]``.

With --follow it reads the notes of one command while they grow, until its standard input ends and
all trainings have. Without, it sends whatever earlier commands could not: `make sync`. Notes that
are sent are deleted. However often the sending is broken off, a training becomes one run.
"""

import argparse
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from mlcore.errors import one_line
from mlcore.files import atomic_path, read_table
from mlcore.plotting import loss_curves, save, sweep_dots
from mlcore.tracking import notes, summary
from mlcore.tracking.registry import newer_than, promote, supersede
from mlcore.tracking.server import URI, logged_in, read_login
from mlcore.tracking.store import (
    IDENTITY,
    SERVER,
    Store,
    StoreError,
    displayed,
    without_secrets,
)

ROOT = Path(__file__).parents[2]

INTERVAL = 3.0
"""Seconds between two batches of epochs."""

POLL = 0.25
"""Seconds between two looks at the notes."""

BATCH_LIMIT = 1000
"""Metrics that MLflow takes in one call."""

TRUSTED_TYPES = [
    "mlcore.training.mlp.ObservedMLPClassifier",
    "mlcore.training.mlp.ObservedMLPRegressor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]
"""All that a fitted MLP holds beyond what skops trusts by itself."""

ATTEMPTS = 3
"""Times that a training is tried to be sent before it is left for `make sync`."""

MODEL_SENT = "model.sent"
"""Holds in a training's notes, once its model is in the store, the URI of that."""


def is_held(folder: Path) -> bool:
    """Whether the process that trains is alive: the system frees its lock when it ends."""
    try:
        with FileLock(folder / notes.LOCK, timeout=0):
            return False
    except Timeout:
        return True


class Run:
    """The notes of one training, and how much of them is sent."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.run_id, self.offset, self.done = "", 0, False
        self.metrics: list[Any] = []
        self.sent = time.monotonic()

    def advance(self) -> None:
        """Read what is new and send it, if it is time to."""
        alive = is_held(self.folder)  # before reading: what was noted last must be seen
        with (self.folder / notes.EVENTS).open("rb") as file:
            file.seek(self.offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        for line in whole.splitlines(keepends=True):
            note = json.loads(line)
            getattr(self, f"_{note['event']}")(note)
            self.offset += len(line)  # what fails is tried again, what is sent is not
        if self.metrics and time.monotonic() - self.sent >= INTERVAL:
            self._send()
            rehearse(self.store)
        if not self.done and not alive:
            error = "its end was not noted: it was killed, or notes had no room"
            self._failed({"time": time.time(), "status": "KILLED", "error": error})

    def _started(self, note: dict[str, Any]) -> None:
        client, entities = self.store.client, self.store.mlflow.entities
        self.part, self.tags, self.identity = note["part"], note["tags"], note["id"]
        self.digest = note["dataset"]["digest"]
        self.run_id = self._create(self.identity, note["name"], note["time"])
        client.log_batch(
            self.run_id,
            params=[entities.Param(name, value) for name, value in note["params"].items()],
        )
        dataset = entities.Dataset(
            **note["dataset"], source_type="local", source=json.dumps({"uri": note["path"]})
        )
        tag = entities.InputTag("mlflow.data.context", "training")
        client.log_inputs(self.run_id, [entities.DatasetInput(dataset, [tag])])

    def _get_on(self) -> None:
        """Show the command, which waits at its end, that the writer gets on."""
        os.utime(self.folder.parent / notes.WRITER)

    def _create(self, identity: str, name: str, started: float, parent: str | None = None) -> str:
        """Create a run; or find it, if a writer that was broken off has."""
        found = self.store.find(self.part, identity)
        if found:
            self.store.client.update_run(found, status="RUNNING")
            return found
        tags = self.tags | {IDENTITY: identity}
        run = self.store.client.create_run(
            self.store.experiment(self.part),
            start_time=milliseconds(started),
            run_name=name,
            tags=tags | ({"mlflow.parentRunId": parent} if parent else {}),
        )
        return str(run.info.run_id)

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
        self._get_on()

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
        for number, candidate in enumerate(note["candidates"]):
            self._candidate(f"{self.identity}-{number}", candidate)
        for path, md5 in note["outputs"].items():
            self.store.client.set_tag(self.run_id, f"output.{path}", md5)
        self._attach(note["metrics"])
        self._end(self.run_id, "FINISHED", note["ended"])
        if self._is_the_pipelines():
            supersede(self.store, self.part, self.run_id, self.tags["dvc.stage"])
        self.done = True

    def _is_the_pipelines(self) -> bool:
        """Whether DVC ran it, and not as an experiment, which is compared with the pipeline's."""
        return "dvc.stage" in self.tags and "dvc.experiment" not in self.tags

    def _candidate(self, identity: str, candidate: dict[str, Any]) -> None:
        """Record a candidate of a search as a child."""
        client, entities = self.store.client, self.store.mlflow.entities
        child = self._create(identity, candidate["name"], candidate["started"], self.run_id)
        client.log_batch(
            child,
            params=[entities.Param(name, value) for name, value in candidate["params"].items()],
            metrics=[
                self._metric(name, value, candidate["ended"], 0)
                for name, value in candidate["metrics"].items()
            ],
        )
        self._end(child, "FINISHED", candidate["ended"])
        self._get_on()

    def _group(self, note: dict[str, Any]) -> None:
        """Make the run above those of a group, or bring it up to date."""
        client, entities = self.store.client, self.store.mlflow.entities
        members = self.store.members(note["part"], note["id"])
        if members:
            self.part, self.tags = note["part"] or members[0]["experiment"], note["tags"]
            self.run_id = self._create(note["id"], note["name"], members[0]["started"])
            metrics = note["metrics"] or summary.spread(members)
            client.log_batch(
                self.run_id,
                params=[entities.Param(name, value) for name, value in note["params"].items()],
                metrics=[self._metric(name, v, note["time"], 0) for name, v in metrics.items()],
            )
            self._summarise(members)
            for member in members:
                client.set_tag(member["run_id"], "mlflow.parentRunId", self.run_id)
                self._get_on()
            self._end(self.run_id, "FINISHED", note["time"])
        self.done = True

    def _summarise(self, members: list[dict[str, Any]]) -> None:
        """Add a table and a figure of the runs of a group, and say which is the best."""
        table = summary.table(members)
        chosen = summary.best(members)
        with TemporaryDirectory() as folder:
            table.to_csv(Path(folder) / "runs.csv", index=False)
            if chosen:
                run, figure = chosen
                self.store.client.set_tag(self.run_id, "best_run", run["run_id"])
                self.store.client.set_tag(self.run_id, "best_run_name", run["name"])
                self.store.client.set_tag(self.run_id, "best_by", figure)
                values = {m["name"]: m["metrics"].get(figure) for m in members}
                save(sweep_dots(values, figure), Path(folder) / "runs.png")
            for file in sorted(Path(folder).iterdir()):
                self.store.client.log_artifact(self.run_id, str(file), "sweep")

    def _failed(self, note: dict[str, Any]) -> None:
        if self.run_id:
            self._send()
            self.store.client.set_tag(self.run_id, "error", note["error"])
            self._end(self.run_id, note["status"], note["time"])
        self.done = True

    def _end(self, run_id: str, status: str, when: float) -> None:
        self.store.client.set_terminated(run_id, status, end_time=milliseconds(when))

    def _attach(self, metrics: dict[str, float]) -> None:
        """Add files, a figure and the model, and register that if it is the best."""
        client = self.store.client
        if (self.folder / notes.DIFF).exists():
            client.log_artifact(self.run_id, str(self.folder / notes.DIFF), "code")
        for file in sorted((self.folder / notes.FILES).glob("*")):
            client.log_artifact(self.run_id, str(file), "results")
            if file.suffix == ".csv":
                self._draw(file)
            self._get_on()
        model, sent = self.folder / notes.MODEL, self.folder / MODEL_SENT
        if not model.exists():
            return
        if not sent.exists():
            uri = self._log_model(pickle.loads(model.read_bytes()))  # noqa: S301 - our own note
            with atomic_path(sent) as temporary:
                temporary.write_text(uri, encoding="utf-8")
        about = {"val_accuracy": metrics.get("val_accuracy"), "data": self.digest}
        own = self._is_the_pipelines() and not newer_than(
            self.store, self.part, self.run_id, self.tags["dvc.stage"]
        )
        uri = sent.read_text(encoding="utf-8")
        try:
            promote(self.store, self.part, uri, self.run_id, about, own)
        except self.store.mlflow.exceptions.MlflowException as error:
            if error.get_http_status_code() >= 429:
                raise  # too many requests, or a fault of the server's: for another try
            reason = without_secrets(one_line(error), self.store.uri)
            print(f"warning: a model is not registered: {reason}", file=sys.stderr)

    def _draw(self, history: Path) -> None:
        """Add the losses over epochs as a picture."""
        rows = read_table(history)
        if "epoch" not in rows:  # the candidates of a search
            return
        save(loss_curves(rows, history.stem, "loss"), self.folder / "loss.png")
        self.store.client.log_artifact(self.run_id, str(self.folder / "loss.png"), "figures")

    def _log_model(self, model: Any) -> str:
        """Log a model that `mlflow.pyfunc.load_model` and `mlflow models serve` take; its URI."""
        import numpy as np

        from mlcore.nn import NeuralNetwork
        from mlcore.training.models import save_network

        mlflow, root = self.store.mlflow, self.store.root
        with np.load(self.folder / notes.EXAMPLE, allow_pickle=False) as arrays:
            example = arrays["X"]
        shared = {
            "name": "model",
            "code_paths": [str(root / "mlcore")],
            "signature": mlflow.models.infer_signature(example, model.predict(example)),
            "input_example": example,
            "pip_requirements": requirements(root),
        }
        mlflow.start_run(run_id=self.run_id)
        try:
            if isinstance(model, NeuralNetwork):
                file = self.folder / "network.pkl"
                save_network(file, model)
                logged = mlflow.pyfunc.log_model(
                    python_model=str(root / "mlcore" / "tracking" / "serving.py"),
                    artifacts={"network": file.as_uri()},  # of a path MLflow would decode %
                    **shared,
                )
            else:
                logged = mlflow.sklearn.log_model(
                    model,
                    serialization_format="skops",
                    skops_trusted_types=TRUSTED_TYPES,
                    **shared,
                )
        finally:
            mlflow.end_run("RUNNING")
        return str(logged.model_uri)


@cache
def rehearse(store: Store) -> None:
    """Do once, while a training goes on, what takes long the first time: its command waits for it.

    What a figure and a model need is then imported and looked up when the training ends.
    """
    import mlcore.training.models  # noqa: F401

    with suppress(Exception), TemporaryDirectory() as folder:  # what is wrong shows at the end
        losses = pd.DataFrame({"epoch": [1], "train_loss": [1.0], "val_loss": [1.0]})
        save(loss_curves(losses, "", "loss"), Path(folder) / "loss.png")
        store.mlflow.pyfunc.save_model(
            Path(folder) / "model",
            python_model=str(store.root / "mlcore" / "tracking" / "serving.py"),
            pip_requirements=requirements(store.root),
        )


def milliseconds(seconds: float) -> int:
    """Give a time as MLflow has it."""
    return int(seconds * 1000)


def requirements(root: Path) -> list[str]:
    """Give what a logged model needs, in the checkout's versions."""
    pins = (root / "requirements.numeric.txt").read_text(encoding="utf-8").split()
    return [*pins, "skops"]


class Sender:
    """Sends the trainings of one session; one that cannot be sent does not hold up the others."""

    def __init__(self, session: Path) -> None:
        self.session = session
        self.uri = (session / notes.STORE).read_text(encoding="utf-8")
        self.login = read_login(ROOT) if self.uri == SERVER else {}
        self.uri = self.login.get(URI, self.uri)
        # What is written down has no password: the environment may have the whole of it
        given = os.environ.get("MLFLOW_TRACKING_URI", "")
        if displayed(given) == self.uri:
            self.uri = given
        self.store: Store | None = None
        self.runs: dict[Path, Run] = {}
        self.attempts: Counter[Path] = Counter()

    @property
    def refused(self) -> set[Path]:
        """The trainings that cannot be sent."""
        return {folder for folder, number in self.attempts.items() if number >= ATTEMPTS}

    def waiting(self) -> list[Path]:
        """Give the trainings that are still to be sent."""
        return [folder for folder in notes.noted(self.session) if folder not in self.refused]

    def send(self) -> list[str]:
        """Send what is new; returns the names of the trainings that are complete now.

        Raises
        ------
        StoreError
            If the store does not answer.
        """
        with logged_in(self.login):
            return self._send()

    def _send(self) -> list[str]:
        complete = []
        for folder in self.waiting():
            self.store = self.store or Store(self.uri, ROOT)
            run = self.runs.setdefault(folder, Run(folder, self.store))
            try:
                run.advance()
                self.attempts.pop(folder, None)
            except Exception as error:  # whatever it is, the training is done or goes on
                self._failed(folder, self.store, error)
            if run.done:
                complete.append(folder.name.partition("-")[2])
                gone = folder.with_name(f".{folder.name}")
                folder.rename(gone)  # recorded, whatever breaks off the deletion
                shutil.rmtree(gone)
                del self.runs[folder]
        return complete

    def _failed(self, folder: Path, store: Store, error: Exception) -> None:
        """Leave a training for another try or set it aside, unless it is the store that fails."""
        store.within_deadline(store.check)
        self.attempts[folder] += 1
        if folder in self.refused:
            name = folder.name.partition("-")[2]
            reason = without_secrets(str(error), self.uri)
            warn(f"{name} is not recorded in {displayed(self.uri)}: {reason}")


def warn(what: str) -> None:
    """Say that notes are kept."""
    print(f"warning: {what}; kept in mlruns/pending for `make sync`", file=sys.stderr)


def follow(session: Path) -> int:
    """Send a session's notes while they grow; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the sign
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    sender = Sender(session)
    with FileLock(session / notes.WRITER):
        try:
            while True:
                last = ended.is_set()
                sender.send()
                if last and not sender.waiting():
                    break
                if last:
                    time.sleep(POLL)
                else:
                    ended.wait(POLL)
        except StoreError as error:
            warn(f"runs are not recorded in {displayed(sender.uri)}: {error}")
            return 1
    return int(bool(sender.refused))


def sync() -> int:
    """Send what is left of all sessions that are over; returns the exit code."""
    code, recorded = 0, 0
    unusable: set[str] = set()
    for session in sorted(notes.pending(ROOT).glob("[!.]*")):
        with ExitStack() as locks:
            try:
                for name in (notes.OWNER, notes.WRITER):
                    locks.enter_context(FileLock(session / name, timeout=0))
                sender = Sender(session)
            except (Timeout, OSError):
                continue  # a command is still at work there, or has just taken it away
            # A training whose command was killed may still be at work
            while sender.uri not in unusable and not all(map(is_held, sender.waiting())):
                try:
                    names = sender.send()
                except StoreError as error:
                    unusable.add(sender.uri)
                    warn(f"runs are not recorded in {displayed(sender.uri)}: {error}")
                    break
                recorded += len(names)
                print("".join(f"recorded {n} in {displayed(sender.uri)}\n" for n in names), end="")
            left = notes.noted(session)
            for folder in filter(is_held, left):
                print(f"{folder.name.partition('-')[2]} is still at work")
            code = code or int(bool(left))
            if not left:
                shutil.rmtree(session, ignore_errors=True)
    if not recorded and not code:
        print("nothing to record")
    return code


def main() -> int:
    """Send notes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.tracking.recorder", description=__doc__)
    parser.add_argument("--follow", type=Path, metavar="FOLDER", help="of one command's notes")
    session = parser.parse_args().follow
    return follow(session) if session else sync()


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is sent. What MLflow and its libraries do at exit takes a second, and a command waits
    os._exit(exit_code)
