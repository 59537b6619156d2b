"""Sends notes of trainings to MLflow: ``python -m mlcore.tracking.recorder [--follow SESSION]``.

With --follow it reads the notes of one command while they grow, until its standard input ends and
all trainings have. Without, it sends whatever earlier commands could not: `make sync`. Notes that
are sent are deleted. However often the sending is broken off, a training becomes one run.
"""

import argparse
import json
import os
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path, read_table
from mlcore.plotting import loss_curves, save, sweep_dots
from mlcore.process import checkout
from mlcore.tracking import notes, summary
from mlcore.tracking.registry import log_model, promote, supersede
from mlcore.tracking.server import logged_in, reach
from mlcore.tracking.store import Store, StoreError, displayed, milliseconds, without_secrets

INTERVAL = 3.0
"""Seconds between two batches of epochs."""

POLL = 0.25
"""Seconds between two looks at the notes."""

ATTEMPTS = 3
"""Times that a training is tried to be sent before it is left for `make sync`."""

IDENTITY = "retrace.id"
"""Tag that ties a run to the notes it was made of, so that it is made once."""

MODEL_SENT = "model.sent"
"""Holds in a training's notes, once its model is in the store, the URI of that."""

Note = dict[str, Any]


def is_held(training: Path) -> bool:
    """Whether the process that trains is alive: the system frees its lock when it ends."""
    try:
        with FileLock(training / notes.LOCK, timeout=0):
            return False
    except Timeout:
        return True


class Run:
    """The MLflow run of one training: reads its notes in `folder`, and sends what is new."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.run_id, self.offset, self.done = "", 0, False
        self.metrics: list[tuple[str, float, float, int]] = []
        self.sent = time.monotonic()

    def advance(self) -> None:
        """Read what is new and send it, if it is time to."""
        alive = is_held(self.folder)  # before reading: what was noted last must be seen
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

    def _beat(self) -> None:
        """Show the command, which waits at its end, that there is progress."""
        os.utime(self.folder.parent / notes.RECORDER)

    def _started(self, note: Note) -> None:
        of = self.store.mlflow.entities
        self.part, self.tags, self.identity = note["part"], note["tags"], note["id"]
        self.digest = note["dataset"]["digest"]
        self.run_id = self._create(self.identity, note["name"], note["time"])
        self.store.log(self.run_id, params=note["params"])
        source = json.dumps({"uri": note["path"]})
        dataset = of.Dataset(**note["dataset"], source_type="local", source=source)
        tag = of.InputTag("mlflow.data.context", "training")
        self.store.client.log_inputs(self.run_id, [of.DatasetInput(dataset, [tag])])

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
        self._beat()

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
        self._beat()

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
        if not (self.folder / notes.MODEL).exists():
            return
        if uri := self._try("its model is not recorded", self._model):
            about = {"val_accuracy": val_accuracy, "data": self.digest}
            model = (self.store, self.part, uri, self.run_id, about, own)
            self._try("its model is not registered", promote, *model)

    def _model(self) -> str:
        """Add the model, once; returns its URI."""
        sent = self.folder / MODEL_SENT
        if not sent.exists():
            uri = log_model(self.store, self.run_id, self.folder)
            with atomic_path(sent) as temporary:
                temporary.write_text(uri, encoding="utf-8")
        self._beat()
        return sent.read_text(encoding="utf-8")

    def _try(self, failure: str, step: Callable[..., Any], *arguments: Any) -> Any:
        """Do what a run can be without, and say so where it fails; raises if the store is gone."""
        try:
            return step(*arguments)
        except Exception as error:  # whatever people wrote into the store, the run ends
            self.store.within_deadline(self.store.check)
            reason = without_secrets(one_line(error), self.store.uri)
            print(f"warning: {notes.title(self.folder)}: {failure}: {reason}", file=sys.stderr)

    def _group(self, note: Note) -> None:
        """Make the run above those of a group, or bring it up to date."""
        wanted = f"tags.`{notes.GROUP}` = '{note['id']}' and attributes.status = 'FINISHED'"
        members = self.store.runs(wanted, note["part"], "start_time ASC")
        self.done = not members
        if self.done:
            return
        client = self.store.client
        experiment = client.get_experiment(members[0].info.experiment_id).name
        self.part, self.tags = note["part"] or experiment, note["tags"]
        started = members[0].info.start_time / 1000
        self.run_id = self._create(note["id"], note["name"], started)
        metrics = note["metrics"] or summary.spread(members)
        points = [(name, value, note["time"], 0) for name, value in metrics.items()]
        self.store.log(self.run_id, note["params"], points)
        self._try("it is not summed up", self._summarise, members)
        for member in members:
            client.set_tag(member.info.run_id, "mlflow.parentRunId", self.run_id)
            self._beat()
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
            for file in sorted(Path(folder).iterdir()):
                self._add(file, "sweep")

    def _failed(self, note: Note) -> None:
        if self.run_id:
            self._send()
            self.store.client.set_tag(self.run_id, "error", note["error"])
            self._end(self.run_id, note["status"], note["time"])
        self.done = True

    def _end(self, run_id: str, status: str, when: float) -> None:
        self.store.client.set_terminated(run_id, status, end_time=milliseconds(when))
        self._beat()


class Sender:
    """Sends the trainings of one session; one that cannot be sent does not hold up the others.

    `told` are reasons that were told, of other sessions, too: each is told once. A session of
    another checkout raises RetraceError.
    """

    def __init__(self, session: Path, root: Path, told: set[str]) -> None:
        self.session, self.root, self.told = session, root, told
        named, _, home = (session / notes.STORE).read_text(encoding="utf-8").partition("\n")
        home = home.strip()
        if home != str(notes.checkout_root(root).resolve()):
            raise RetraceError(
                f"notes in {session} are of the checkout {home or 'of an earlier version'}: "
                "`make sync` there records them; here they can be deleted"
            )
        self.uri, self.login = reach(named, root)
        self.store: Store | None = None
        self.runs: dict[Path, Run] = {}
        self.attempts: Counter[Path] = Counter()

    def waiting(self) -> list[Path]:
        """Give the trainings that are still to be sent, without those that cannot be."""
        return [t for t in notes.trainings(self.session) if self.attempts[t] < ATTEMPTS]

    def send(self) -> list[str]:
        """Send what is new; returns the titles of the trainings that are complete now.

        Raises StoreError if the store does not answer.
        """
        complete = []
        with logged_in(self.login):
            for folder in self.waiting():
                self.store = self.store or Store(self.uri, self.root)
                run = self.runs.setdefault(folder, Run(folder, self.store))
                try:
                    run.advance()
                    self.attempts.pop(folder, None)
                except Exception as error:  # whatever it is, the training is done or goes on
                    self.store.within_deadline(self.store.check)  # unless it is the store's fault
                    self._refused(folder, without_secrets(one_line(error), self.uri))
                if run.done:
                    complete.append(notes.title(folder))
                    gone = folder.with_name(f".{folder.name}")
                    folder.rename(gone)  # recorded, whatever breaks off the deletion
                    shutil.rmtree(gone)
                    del self.runs[folder]
        return complete

    def _refused(self, folder: Path, reason: str) -> None:
        """Leave a training for another try, or set it aside."""
        self.attempts[folder] += 1
        if self.attempts[folder] >= ATTEMPTS and reason not in self.told:
            self.told.add(reason)
            warn(f"{notes.title(folder)} is not recorded in {displayed(self.uri)}: {reason}")


def warn(what: str) -> None:
    """Say that notes are kept."""
    print(f"warning: {what}; kept in mlruns/pending for `make sync`", file=sys.stderr)


def follow(session: Path, root: Path) -> int:
    """Send a session's notes while they grow; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input is the sign
    sender = Sender(session, root, set())
    with FileLock(session / notes.RECORDER):
        try:
            over = False
            while not over or sender.waiting():
                if over:
                    time.sleep(POLL)
                else:
                    over = bool(select.select([sys.stdin], [], [], POLL)[0])
                sender.send()
        except StoreError as error:
            warn(f"runs are not recorded in {displayed(sender.uri)}: {error}")
    return int(bool(notes.trainings(session)))


def sync(root: Path) -> int:
    """Send what is left of all sessions that are over; returns the exit code."""
    recorded, left, told = 0, 0, set[str]()
    for session in sorted(notes.pending(root).glob("[!.]*")):
        with ExitStack() as locks:
            try:
                for name in (notes.COMMAND, notes.RECORDER):
                    locks.enter_context(FileLock(session / name, timeout=0))
                recorded += _send_all(Sender(session, root, told))
            except (Timeout, OSError):
                continue  # a command is still at work there, or has just taken it away
            except RetraceError as error:
                print(f"warning: {error}", file=sys.stderr)
            kept = notes.trainings(session)
            for training in filter(is_held, kept):
                print(f"{notes.title(training)} is still at work")
            left += len(kept)
            if not kept:
                shutil.rmtree(session, ignore_errors=True)
    if not recorded and not left:
        print("nothing to record")
    return int(bool(left))


def _send_all(sender: Sender) -> int:
    """Send what is left of a session; returns how many trainings."""
    recorded = 0
    # A training whose command was killed may still be at work
    while sender.uri not in sender.told and not all(map(is_held, sender.waiting())):
        try:
            titles = sender.send()
        except StoreError as error:
            sender.told.add(sender.uri)  # it is not tried again
            warn(f"runs are not recorded in {displayed(sender.uri)}: {error}")
            break
        recorded += len(titles)
        print("".join(f"recorded {t} in {displayed(sender.uri)}\n" for t in titles), end="")
    return recorded


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
