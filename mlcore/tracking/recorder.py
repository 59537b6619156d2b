"""Sends notes of trainings to MLflow: ``python -m mlcore.tracking.recorder [--follow SESSION]``.

With --follow it reads the notes of one command while they grow, until its standard input ends and
all trainings have. Without, it sends whatever earlier commands could not: `make sync`. Notes that
are sent are deleted. However often the sending is broken off, a training becomes one run.
"""

import argparse
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlcore.errors import RetraceError
from mlcore.files import read_table
from mlcore.plotting import loss_curves, save, sweep_dots
from mlcore.process import checkout
from mlcore.tracking import notes, summary
from mlcore.tracking.registry import log_model, promote, supersede
from mlcore.tracking.server import logged_in, reach
from mlcore.tracking.store import Store, StoreError, displayed, milliseconds

INTERVAL = 3.0
"""Seconds between two batches of epochs."""

POLL = 0.25
"""Seconds between two looks at the notes."""

PATIENCE = 120
"""Seconds without a step forward, after which a recorder that follows a command is ended."""

ATTEMPTS = 3
"""Times that a training is tried to be sent before it is left for `make sync`."""

IDENTITY = "retrace.id"
"""Tag that ties a run to the notes it was made of, so that it is made once."""

Note = dict[str, Any]


class Run:
    """The MLflow run of one training: reads its notes in `folder`, and sends what is new."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.run_id, self.offset, self.done = "", 0, False
        self.metrics: list[tuple[str, float, float, int]] = []
        self.sent = time.monotonic()

    def advance(self) -> None:
        """Read what is new and send it, if it is time to."""
        # Asked before reading: what was noted last must be seen
        alive = notes.is_held(self.folder / notes.EVENTS)
        with (self.folder / notes.EVENTS).open("rb") as file:
            file.seek(self.offset)
            new = file.read()
        for line in new[: new.rfind(b"\n") + 1].splitlines(keepends=True):
            note = json.loads(line)
            getattr(self, f"_{note['event']}")(note)
            self.offset += len(line)  # what fails is tried again, what is sent is not
        if self.metrics and time.monotonic() - self.sent >= INTERVAL:
            self._send()
        if not self.done and not alive:
            error = "its end was not noted: it was killed, or notes had no room"
            self._failed({"time": time.time(), "status": "KILLED", "error": error})

    def _started(self, note: Note) -> None:
        of, client = self.store.mlflow.entities, self.store.client
        self.part, self.tags, self.identity = note["part"], note["tags"], note["id"]
        self.run_id = self._create(self.identity, note["name"], note["time"])
        self.store.log(self.run_id, params=note["params"])
        source = json.dumps({"uri": note["path"]})
        self.data = of.Dataset(**note["dataset"], source_type="local", source=source)
        tag = of.InputTag("mlflow.data.context", "training")
        client.log_inputs(self.run_id, [of.DatasetInput(self.data, [tag])])

    def _create(self, identity: str, name: str, started: float, parent: str = "") -> str:
        """Create a run; or find it, if a recorder that was broken off has."""
        client = self.store.client
        for found in self.store.runs(f"tags.`{IDENTITY}` = '{identity}'", self.part):
            client.update_run(found.info.run_id, status="RUNNING")
            if "error" in found.data.tags:
                client.delete_tag(found.info.run_id, "error")
            return str(found.info.run_id)
        tags = self.tags | {IDENTITY: identity}
        tags |= {"mlflow.parentRunId": parent} if parent else {}
        experiment, start = self.store.experiment(self.part), milliseconds(started)
        return str(client.create_run(experiment, start, tags, name).info.run_id)

    def _epoch(self, note: Note) -> None:
        row = note["row"]
        step = int(row.pop("epoch"))
        self.metrics += [(name, value, note["time"], step) for name, value in row.items()]

    def _send(self) -> None:
        self.store.log(self.run_id, metrics=self.metrics)
        self.metrics, self.sent = [], time.monotonic()

    def _finished(self, note: Note) -> None:
        # Without the prefix they would be mixed up with the epochs' metrics of that name.
        # Step 0: single values are drawn as bars
        self.metrics += [
            (f"final_{n}" if n.startswith(("train_", "val_")) else n, value, note["ended"], 0)
            for n, value in note["metrics"].items()
        ]
        self._send()
        for number, candidate in enumerate(note["candidates"]):  # of a search: its children
            identity, began = f"{self.identity}-{number}", candidate["started"]
            child = self._create(identity, candidate["name"], began, self.run_id)
            points = [(name, v, candidate["ended"], 0) for name, v in candidate["metrics"].items()]
            self.store.log(child, candidate["params"], points)
            self._end(child, "FINISHED", candidate["ended"])
        tags = {f"output.{path}": md5 for path, md5 in note["outputs"].items()}
        self.store.log(self.run_id, tags=tags)
        self._attach()
        self._register(note["metrics"].get("val_accuracy"))
        self._end(self.run_id, "FINISHED", note["ended"])
        self.done = True

    def _attach(self) -> None:
        """Add files and a picture."""
        if (self.folder / notes.DIFF).exists():
            self._add(self.folder / notes.DIFF, "code")
        for file in sorted((self.folder / notes.FILES).glob("*")):
            self._add(file, "results")
            if file.suffix == ".csv":
                self._try("its losses are not drawn", self._draw, file)

    def _add(self, file: Path, folder: str) -> None:
        self.store.client.log_artifact(self.run_id, str(file), folder)

    def _draw(self, history: Path) -> None:
        rows = read_table(history)
        if "epoch" in rows:  # else they are the candidates of a search
            save(loss_curves(rows, history.stem, "loss"), self.folder / "loss.png")
            self._add(self.folder / "loss.png", "figures")

    def _register(self, val_accuracy: float | None) -> None:
        """Say which run is the current one, add the model, and register that if it is the best."""
        own = False
        # An experiment of DVC's is compared with the pipeline's runs, it is none
        if "dvc.stage" in self.tags and "dvc.experiment" not in self.tags:
            place = (self.store, self.part, self.run_id, self.tags["dvc.stage"])
            own = bool(self._try("it is not known for the newest", supersede, *place))
        if (self.folder / notes.MODEL).exists():
            model = (self.store, self.run_id, self.folder)
            uri = self._try("its model is not recorded", log_model, *model)
            about = {"val_accuracy": val_accuracy, "data": self.data.digest}
            if uri and val_accuracy is not None:
                best = (self.store, self.part, uri, self.run_id, about, own)
                self._try("its model is not registered", promote, *best)

    def _try(self, failure: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """Do what a run can be without, and say so where it fails; raises if the store is gone."""
        try:
            return step(*arguments)
        except Exception as error:  # whatever people wrote into the store, the run ends
            reason = self.store.reason(error)
            print(f"warning: {notes.title(self.folder)}: {failure}: {reason}", file=sys.stderr)

    def _group(self, note: Note) -> None:
        """Make the run above those of a group, or bring it up to date."""
        wanted = f"tags.`{notes.GROUP}` = '{note['id']}' and attributes.status = 'FINISHED'"
        members = self.store.runs(wanted, order="start_time ASC")
        self.done = not members
        if self.done:
            return
        first = members[0].info
        self.part = self.store.client.get_experiment(first.experiment_id).name
        self.tags = note["tags"]
        self.run_id = self._create(note["id"], note["name"], first.start_time / 1000)
        metrics = note["metrics"] or summary.spread(members)
        points = [(name, value, note["time"], 0) for name, value in metrics.items()]
        self.store.log(self.run_id, note["params"], points)
        self._try("it is not summed up", self._summarise, members)
        for member in members:
            self.store.log(member.info.run_id, tags={"mlflow.parentRunId": self.run_id})
        self._end(self.run_id, "FINISHED", note["time"])
        self.done = True

    def _summarise(self, members: list[Any]) -> None:
        """Add a table and a picture of the runs of a group, and say which is the best."""
        with TemporaryDirectory() as folder:
            summary.table(members).to_csv(Path(folder) / "runs.csv", index=False)
            if chosen := summary.best(members):
                run, metric = chosen
                best = {"best_run": run.info.run_id, "best_run_name": run.info.run_name}
                self.store.log(self.run_id, tags=best | {"best_by": metric})
                values = {m.info.run_name: m.data.metrics.get(metric) for m in members}
                save(sweep_dots(values, metric), Path(folder) / "runs.png")
            self.store.client.log_artifacts(self.run_id, folder, "sweep")

    def _failed(self, note: Note) -> None:
        if self.run_id:
            self._send()
            self.store.log(self.run_id, tags={"error": note["error"]})
            self._end(self.run_id, note["status"], note["time"])
        self.done = True

    def _end(self, run_id: str, status: str, when: float) -> None:
        self.store.client.set_terminated(run_id, status, end_time=milliseconds(when))


def record(session: Path, root: Path, told: set[str], follow: bool = False) -> int:
    """Send a session's notes; returns how many trainings are recorded.

    With `follow`, until standard input and all trainings have ended; else those that have. One that
    cannot be sent does not hold up the others; why is told once, and added to `told`. Raises
    RetraceError if the notes are of another checkout.
    """
    uri, login = _address(session, root)
    connect = cache(partial(Store, uri, root, PATIENCE if follow else 0))
    runs, attempts = dict[Path, Run](), Counter[Path]()
    recorded, over = 0, not follow

    def left() -> list[Path]:
        known = [t for t in notes.trainings(session) if attempts[t] < ATTEMPTS]
        return [t for t in known if follow or not notes.is_held(t / notes.EVENTS)]

    try:
        with logged_in(login):
            while uri not in told and (left() or not over):
                if follow:
                    time.sleep(POLL)
                    signal.alarm(PATIENCE)
                    over = bool(select.select([sys.stdin], [], [], 0)[0])
                for folder in left():
                    run = runs.get(folder) or runs.setdefault(folder, Run(folder, connect()))
                    reason = _advance(run)
                    attempts[folder] = attempts[folder] + 1 if reason else 0
                    if attempts[folder] == ATTEMPTS and reason not in told:
                        told.add(reason)
                        title = notes.title(folder)
                        _warn(f"{title} is not recorded in {displayed(uri)}: {reason}")
                    if run.done:
                        _forget(folder, displayed(uri), follow)
                        recorded += 1
    except StoreError as error:
        told.add(uri)  # it is not tried again
        _warn(f"runs are not recorded in {displayed(uri)}: {error}")
    return recorded


def _address(session: Path, root: Path) -> tuple[str, dict[str, str]]:
    """Give the URI and the login of a session's store."""
    named, home = (session / notes.ADDRESS).read_text(encoding="utf-8").splitlines()
    if home != str(notes.checkout_root(root).resolve()):
        raise RetraceError(
            f"notes in {session} are of the checkout {home}: `make sync` there records them; "
            "here they can be deleted"
        )
    return reach(named, root)


def _advance(run: Run) -> str:
    """Send what is new of a training; returns why that failed, if it did."""
    try:
        run.advance()
    except Exception as error:  # whatever it is, the others go on
        return run.store.reason(error)
    return ""


def _forget(training: Path, store: str, quietly: bool) -> None:
    if not quietly:
        print(f"recorded {notes.title(training)} in {store}")
    (training / notes.EVENTS).unlink()  # recorded, whatever breaks off the deletion
    shutil.rmtree(training)


def _warn(what: str) -> None:
    print(f"warning: {what}; kept in mlruns/pending for `make sync`", file=sys.stderr)


def follow(session: Path, root: Path) -> int:
    """Send a session's notes while they grow; returns 0: what is left it has told."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the sign
    record(session, root, set(), follow=True)
    return 0


def sync(root: Path) -> int:
    """Send what is left of all sessions that are over; returns the exit code."""
    recorded, left, told = 0, 0, set[str]()
    for path in sorted(notes.pending(root).glob(f"*/{notes.ADDRESS}")):
        # Else a command is at work there, or has just taken it away
        with suppress(BlockingIOError, FileNotFoundError), path.open("r+") as address:
            fcntl.flock(address, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                recorded += record(path.parent, root, told)
            except RetraceError as error:
                print(f"warning: {error}", file=sys.stderr)
            kept = notes.trainings(path.parent)
            for training in kept:
                if notes.is_held(training / notes.EVENTS):
                    print(f"{notes.title(training)} is still at work")
            left += len(kept)
            if not kept:
                shutil.rmtree(path.parent)
    if not recorded and not left:
        print("nothing to record")
    return int(bool(left))


def main(argv: Sequence[str], root: Path) -> int:
    """Send notes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.tracking.recorder", description=__doc__)
    parser.add_argument("--follow", type=Path, metavar="SESSION", help="of one command")
    session = parser.parse_args(argv).follow
    return follow(session, root) if session else sync(root)


if __name__ == "__main__":
    exit_code = main(sys.argv[1:], checkout())
    sys.stdout.flush()
    sys.stderr.flush()
    # All is sent. What MLflow and its libraries do at exit takes a second, and a command waits
    os._exit(exit_code)
