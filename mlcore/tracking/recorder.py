"""Sends notes of trainings to MLflow: ``python -m mlcore.tracking.recorder [--follow SESSION]``.

With --follow those of one command while they grow, until its standard input and its trainings end;
else what earlier commands could not send: `make sync`. Notes that are sent are deleted. However
often the sending is broken off, a training becomes one run.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from mlcore.errors import RetraceError
from mlcore.files import read_table
from mlcore.plotting import loss_curves, sweep_dots
from mlcore.process import checkout
from mlcore.tracking import notes, summary
from mlcore.tracking.registry import BETTER_BY, REGISTERED, log_model, promote, supersede
from mlcore.tracking.server import reach
from mlcore.tracking.store import Point, Store, StoreError, displayed, logged_in

POLL = 2.0  # seconds between two looks at the notes of a command at work
PATIENCE = 120  # seconds without a step forward, after which a recorder that follows ends
ATTEMPTS = 3  # to send a training, before it is left for `make sync`
IDENTITY = "retrace.id"  # tag that ties a run to its notes, so that it is made once


class Run:
    """The MLflow run of one training: reads its notes in `folder`, and sends what is new."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.client = folder, store, store.client
        self.run_id, self.offset, self.done = "", 0, False
        self.metrics: list[Point] = []
        self.part, self.accuracy = "", 0.0  # on validation images, of a model to be registered

    def advance(self) -> None:
        """Read what is new and send it."""
        events = self.folder / notes.EVENTS
        alive = notes.is_held(events)  # asked before reading: what was noted last must be seen
        with events.open("rb") as file:
            file.seek(self.offset)
            new = file.read()
        for line in new[: new.rfind(b"\n") + 1].splitlines(keepends=True):
            note = json.loads(line)
            getattr(self, f"_{note['event']}")(note)
            self.offset += len(line)  # what fails is tried again, what is sent is not
        if not self.done and not alive:
            error = "its end was not noted: it was killed, or notes had no room"
            self._failed({"time": time.time(), "status": "KILLED", "error": error})
        if self.metrics:
            self.store.log(self.run_id, metrics=self.metrics)
            self.metrics = []

    def _started(self, note: dict[str, Any]) -> None:
        of = self.store.mlflow.entities
        self.part, self.tags, self.identity = note["part"], note["tags"], note["id"]
        self.md5, self.experiment = note["md5"], self.store.experiment(self.part, note["purpose"])
        self.run_id = self._create(self.identity, note["name"], note["time"])
        self.store.log(self.run_id, params=note["params"])
        self.client.log_dict(self.run_id, note["config"], "config.yaml")
        source = json.dumps({"uri": note["path"]})
        self.data = of.Dataset(**note["dataset"], source_type="local", source=source)
        tag = of.InputTag("mlflow.data.context", "training")
        self.client.log_inputs(self.run_id, [of.DatasetInput(self.data, [tag])])

    def _create(self, identity: str, name: str, started: float, parent: str = "") -> str:
        """Create a run; or find it, if a recorder that was broken off has."""
        for found in self.store.runs(f"tags.`{IDENTITY}` = '{identity}'", self.experiment):
            self.client.update_run(found.info.run_id, status="RUNNING")
            if "error" in found.data.tags:
                self.client.delete_tag(found.info.run_id, "error")
            return str(found.info.run_id)
        tags = self.tags | {IDENTITY: identity}
        tags |= {"mlflow.parentRunId": parent} if parent else {}
        run = self.client.create_run(self.experiment, int(started * 1000), tags, name)
        return str(run.info.run_id)

    def _epoch(self, note: dict[str, Any]) -> None:
        row = note["row"]
        step = int(row.pop("epoch"))
        for name, value in row.items():  # MLflow draws a section for each word before a slash
            section = "per_layer" if name[-1].isdigit() else "epoch"
            self.metrics.append((f"{section}/{name}", value, note["time"], step))

    def _finished(self, note: dict[str, Any]) -> None:
        self.metrics += _final(note["metrics"], note["ended"])
        for number, candidate in enumerate(note["candidates"]):  # of a search: its children
            identity, began = f"{self.identity}-{number}", candidate["started"]
            child = self._create(identity, candidate["name"], began, self.run_id)
            points = _final(candidate["metrics"], candidate["ended"])
            self.store.log(child, candidate["params"], points)
            self.client.set_terminated(child, end_time=int(candidate["ended"] * 1000))
        self._attach()
        self._register(note["metrics"].get("val_accuracy"), note.get("chance"))
        self._end("FINISHED", note["ended"], {"md5": json.dumps(self.md5 | note["md5"])})

    def _attach(self) -> None:
        """Add files and a picture."""
        files = self.folder / notes.FILES
        if (self.folder / notes.DIFF).exists():
            self.client.log_artifact(self.run_id, str(self.folder / notes.DIFF), "code")
        if files.exists():
            self.client.log_artifacts(self.run_id, str(files), "results")
        for history in files.glob("*.csv"):
            with self._spared("its losses are not drawn"):
                rows = read_table(history)
                if "epoch" in rows:  # else they are the candidates of a search
                    self._draw(loss_curves(rows, history.stem, "loss"), "figures/loss.png")

    def _draw(self, figure: Any, path: str) -> None:
        self.client.log_figure(self.run_id, figure, path, save_kwargs={"dpi": 150})

    def _register(self, val_accuracy: float | None, chance: float | None) -> None:
        """Say which run is the current one, add the model, and say whether to register it."""
        self.own, self.model = False, ""
        # An experiment of DVC's is compared with the pipeline's runs, it is none
        if "dvc.stage" in self.tags and "dvc.experiment" not in self.tags:
            with self._spared("it is not known for the newest"):
                stage = self.tags["dvc.stage"]
                self.own = supersede(self.store, self.experiment, self.run_id, stage)
        if (self.folder / notes.MODEL).exists():
            with self._spared("its model is not recorded"):
                self.model = log_model(self.store, self.run_id, self.folder)
        # One that is no better than always naming the commonest class has collapsed
        if self.model and self.part in REGISTERED and (val_accuracy or 0) > (chance or 0):
            self.accuracy = val_accuracy or 0

    def promote(self) -> None:
        """Register the model, if it is better than the champion."""
        about = {BETTER_BY: self.accuracy, "data": self.data.digest}
        with self._spared("its model is not registered"):
            promote(self.store, self.part, self.model, self.run_id, about, self.own)

    @contextmanager
    def _spared(self, failure: str) -> Iterator[None]:
        """Do what a run can be without, and say so where it fails; raises if the store is gone."""
        try:
            yield
        except Exception as error:  # whatever people wrote into the store, the run ends
            reason = self.store.reason(error)
            print(f"warning: {notes.title(self.folder)}: {failure}: {reason}", file=sys.stderr)

    def _group(self, note: dict[str, Any]) -> None:
        """Make the run above those of a group, or bring it up to date."""
        wanted = f"tags.`{notes.GROUP}` = '{note['id']}' and attributes.status = 'FINISHED'"
        if members := self.store.runs(wanted)[::-1]:  # in the order in which they began
            first = members[0].info
            about = "Sums up the runs below it: `sweep/runs.csv` and `sweep/runs.png`"
            tags = {"origin": "sweep", "mlflow.note.content": about}
            self.experiment, self.tags = first.experiment_id, tags | note.get("tags", {})
            self.run_id = self._create(note["id"], note["name"], first.start_time / 1000)
            self.metrics = _final(note.get("metrics") or summary.spread(members), note["time"])
            self.store.log(self.run_id, note.get("params"))
            with self._spared("it is not summed up"):
                self._sum_up(members)
            for member in members:
                self.store.log(member.info.run_id, tags={"mlflow.parentRunId": self.run_id})
            self._end("FINISHED", note["time"])
        self.done = True

    def _sum_up(self, members: list[Any]) -> None:
        """Add a table and a picture of the runs of a group, and say which is the best."""
        table = summary.table(members).to_csv(index=False)
        self.client.log_text(self.run_id, table, "sweep/runs.csv")
        if chosen := summary.best(members):
            run, metric = chosen
            best = {"best_run": run.info.run_id, "best_run_name": run.info.run_name}
            self.store.log(self.run_id, tags=best | {"best_by": metric})
            values = {m.info.run_name: m.data.metrics.get(metric) for m in members}
            self._draw(sweep_dots(values, metric), "sweep/runs.png")

    def _failed(self, note: dict[str, Any]) -> None:
        if self.run_id:
            self._end(note["status"], note["time"], {"error": note["error"]})
        self.done = True

    def _end(self, status: str, when: float, tags: Mapping[str, str] | None = None) -> None:
        self.store.log(self.run_id, metrics=self.metrics, tags=tags)
        self.client.set_terminated(self.run_id, status, end_time=int(when * 1000))
        self.metrics, self.done = [], True


def _final(metrics: Mapping[str, float], when: float) -> list[Point]:
    return [(f"final/{name}", v, when, 0) for name, v in metrics.items()]  # step 0: drawn as bars


class Sender:
    """Sends the notes of a session; with `follow`, until standard input and all trainings end.

    Without, of trainings that have ended. One that cannot be sent does not hold up the others; why
    is told once, and added to `told`. Raises RetraceError if the notes are of another checkout.
    """

    def __init__(self, session: Path, root: Path, told: set[str], follow: bool = False) -> None:
        self.session, self.told, self.follow, self.recorded = session, told, follow, 0
        self.uri, self.login = reach(notes.store_of(session, root), root)
        self.patience = PATIENCE if follow else 0
        self.store = cache(partial(Store, self.uri, root, self.patience))
        self.runs, self.attempts = dict[Path, Run](), Counter[Path]()
        self.best = dict[str, Run]()  # of each part: promoted at the end, its notes are kept so far

    def send(self) -> int:
        """Send, and register the best models; returns how many trainings are recorded."""
        over = not self.follow
        try:
            with logged_in(self.login):
                while self.uri not in self.told and (self._left() or not over):
                    signal.alarm(self.patience)
                    if not over:
                        over = bool(select.select([sys.stdin], [], [], POLL)[0])
                    elif self.follow:
                        time.sleep(0.1)
                    for folder in self._left():
                        self._advance(folder)
                for run in self.best.values():
                    run.promote()
                    _forget(run)
        except StoreError as error:
            self.told.add(self.uri)  # it is not tried again
            self._warn(f"runs are not recorded in {error}")
        return self.recorded

    def _warn(self, what: str) -> None:
        kept = "kept in mlruns/pending for `make sync`"
        if not self.follow:
            kept = f"kept in {self.session} for `make sync`, until that is deleted"
        print(f"warning: {what}; {kept}", file=sys.stderr)

    def _left(self) -> list[Path]:
        kept = {run.folder for run in self.best.values()}
        known = [t for t in notes.trainings(self.session) if t not in kept]
        known = [t for t in known if self.attempts[t] < ATTEMPTS]
        return [t for t in known if self.follow or not notes.is_held(t / notes.EVENTS)]

    def _advance(self, folder: Path) -> None:
        """Send what is new of a training; forget what is recorded, but for the best of a part."""
        run = self.runs.get(folder) or self.runs.setdefault(folder, Run(folder, self.store()))
        title, shown = notes.title(folder), displayed(self.uri)
        try:
            run.advance()
            self.attempts[folder] = 0
        except Exception as error:  # whatever it is, the others go on
            reason = run.store.reason(error)
            self.attempts[folder] += 1
            if self.attempts[folder] == ATTEMPTS and reason not in self.told:
                self.told.add(reason)
                self._warn(f"{title} is not recorded in {shown}: {reason}")
        if run.done:
            self.recorded += 1
            if not self.follow:
                print(f"recorded {title} in {shown}")
            rival = self.best.get(run.part)
            if run.accuracy > (rival.accuracy if rival else 0):
                self.best[run.part] = run
            if beaten := rival if self.best.get(run.part) is run else run:
                _forget(beaten)


def _forget(run: Run) -> None:
    (run.folder / notes.EVENTS).unlink()  # recorded, whatever breaks off the deletion
    shutil.rmtree(run.folder)


def sync(root: Path) -> int:
    """Send what is left of all sessions that are over; returns the exit code."""
    recorded, left, told = 0, 0, set[str]()
    for path in sorted(notes.pending(root).glob(f"*/{notes.ADDRESS}")):
        # Else a command is at work there, or has just taken it away
        with suppress(BlockingIOError, FileNotFoundError), path.open("r+") as address:
            fcntl.flock(address, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                recorded += Sender(path.parent, root, told).send()
            except RetraceError as error:
                print(f"warning: {error}", file=sys.stderr)
            kept = notes.trainings(path.parent)
            left += len(kept)
            for training in kept:
                if notes.is_held(training / notes.EVENTS):
                    print(f"{notes.title(training)} is still at work")
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
    if not session:
        return sync(root)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the sign
    Sender(session, root, set(), follow=True).send()
    return 0  # what is left it has told


if __name__ == "__main__":
    exit_code = main(sys.argv[1:], checkout())
    sys.stdout.flush()
    sys.stderr.flush()
    # All is sent. What MLflow and its libraries do at exit takes a second, and a command waits
    os._exit(exit_code)
