"""Tracking: what happens in a training is noted in a file, which a process of its own sends on.

The training waits for nobody: noting a step takes microseconds, whatever the MLflow store does.
One writer (recorder.py) serves all trainings of a command, so that MLflow is imported once; it
reads the notes while they grow. What it cannot send stays in mlruns/pending for `make sync`.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path, md5_of, save_arrays
from mlcore.process import git
from mlcore.tracking import notes
from mlcore.tracking.store import default_uri, displayed
from mlcore.training.run import Observer, Result, Row, Training
from mlcore.workspace import Origin

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.tracking.context import Context

log = logging.getLogger(__name__)

N_EXAMPLES = 5
"""Samples that show what the model takes."""

PATIENCE = 60.0
"""Seconds that a command waits at its end for a writer that does not get on."""


@contextmanager
def session(config: Config, root: Path, above: Path | None = None) -> Iterator[Path | None]:
    """Have a writer at work while the block runs; at its end, wait until it has sent everything.

    Parameters
    ----------
    config : Config
    root : Path
        Top of the checkout.
    above : Path, optional
        Folder of the session of the command that started this one: it is used then.

    Yields
    ------
    Path or None
        The session's folder; None where tracking is off or the notes have no place, which is said.
    """
    if config.tracking.backend == "none" or above is not None:
        yield None if config.tracking.backend == "none" else above
        return
    uri = store_of(config, root)
    folder = notes.pending(root) / f"{time.time_ns()}-{uuid4().hex[:8]}"
    hidden = folder.with_name(f".{folder.name}")
    owner = FileLock(hidden / notes.OWNER)
    try:
        hidden.mkdir(parents=True)
        (hidden / notes.STORE).write_text(uri, encoding="utf-8")
        (hidden / notes.WRITER).touch()
        owner.acquire()
        hidden.rename(folder)  # `make sync` sees it from now on, and that it is held
        writer = _start_writer(folder, root)
    except OSError as error:
        log.warning("warning: nothing is tracked: %s", error)
        yield None
        return
    try:
        yield folder
    finally:
        _finish(writer, folder)
        if not notes.noted(folder):
            shutil.rmtree(folder, ignore_errors=True)
        if left := _left_behind(root):  # its own are not among them: it still holds them
            log.warning("warning: not recorded of earlier commands: %d; `make sync` does it", left)
        owner.release()


def _left_behind(root: Path) -> int:
    """Count the trainings whose notes no command at work has."""
    count = 0
    for store in notes.pending(root).glob(f"[!.]*/{notes.STORE}"):
        with suppress(OSError), FileLock(store.with_name(notes.OWNER), timeout=0):
            count += len(notes.noted(store.parent))
    return count


def store_of(config: Config, root: Path) -> str:
    """Give the store of a configuration, as notes name it: a URI without secrets."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return config.tracking.uri or (displayed(given) if given else default_uri(root))


def _start_writer(folder: Path, root: Path) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C ends the training, the writer has that to write down
    return subprocess.Popen(
        [sys.executable, "-m", "mlcore.tracking.recorder", "--follow", str(folder)],
        cwd=root,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _finish(writer: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for the writer as long as it gets on."""
    assert writer.stdin is not None
    writer.stdin.close()  # the sign to finish
    began, touched = time.monotonic(), 0.0
    try:
        while writer.poll() is None and time.monotonic() - began < PATIENCE:
            time.sleep(0.05)
            with suppress(OSError):
                before, touched = touched, (folder / notes.WRITER).stat().st_mtime
                if touched != before:  # not by how much: the clock may be set meanwhile
                    began = time.monotonic()
    except KeyboardInterrupt:
        pass
    if writer.poll() is None:
        writer.kill()
        writer.wait()
    if writer.returncode not in (0, 1):  # with 1 it has said why
        log.warning("warning: runs are kept in mlruns/pending for `make sync`")


class Tracker(Observer):
    """Notes a training for the writer.

    Parameters
    ----------
    folder : Path
        Of the session.
    context : Context
    """

    def __init__(self, folder: Path, context: Context) -> None:
        self.session, self.context = folder, context

    def started(self, training: Training) -> None:
        """Make the notes' folder, held by a lock as long as this process lives."""
        self.training = training
        identity = uuid4().hex
        hidden = self.session / f".{identity}"
        hidden.mkdir(parents=True)
        self.folder = self.session / f"{time.time_ns()}-{training.part}-{training.name}"
        self.lock = FileLock(hidden / notes.LOCK)
        self.lock.acquire()
        self.events = (hidden / notes.EVENTS).open("a", encoding="utf-8")
        if changes := _diff(self.context.root):
            (hidden / notes.DIFF).write_text(changes, encoding="utf-8")
        self._note(
            "started",
            id=identity,
            part=training.part,
            name=_run_name(training.name, self.context.overrides, self.context.origin),
            params=_text({**training.params, **_sizes(training)}),
            tags=_tags(self.context)
            | {f"input.{name}": md5_of(path) for name, path in _files(self.context.inputs)},
            dataset={"name": training.dataset.name, "digest": md5_of(training.dataset.path)},
            path=os.path.relpath(training.dataset.path, self.context.root),
        )
        hidden.rename(self.folder)  # seen by the writer from now on

    def step(self, row: Row) -> None:
        """Note an epoch."""
        if "epoch" in row:
            self._note("epoch", row=dict(row))

    def finished(self, result: Result) -> None:
        """Note the outcome, and keep copies of the files: the next run replaces them."""
        try:
            self._keep(result)
        finally:  # a training without its model is still a finished one
            self._note(
                "finished",
                ended=result.ended,
                metrics=dict(result.metrics),
                outputs={
                    os.path.relpath(file, self.context.out): md5_of(file) for file in result.files
                },
                candidates=[
                    vars(candidate) | {"params": _text(candidate.params)}
                    for candidate in result.candidates
                ],
            )
            self._close()

    def _keep(self, result: Result) -> None:
        for file in result.files:
            with atomic_path(self.folder / notes.FILES / file.name) as temporary:
                shutil.copy2(file, temporary)
        example = self.training.data["train"][0][:N_EXAMPLES]
        save_arrays(self.folder / notes.EXAMPLE, X=example)
        model = getattr(result.estimator, "best_", result.estimator)
        with atomic_path(self.folder / notes.MODEL) as temporary:
            temporary.write_bytes(pickle.dumps(model))

    def failed(self, error: BaseException) -> None:
        """Note why there is no outcome."""
        killed = isinstance(error, KeyboardInterrupt)
        self._note("failed", status="KILLED" if killed else "FAILED", error=one_line(error))
        self._close()

    def _note(self, event: str, **content: Any) -> None:
        try:
            line = json.dumps({"event": event, "time": time.time(), **content}, allow_nan=False)
            self.events.write(line + "\n")
            self.events.flush()
        except (OSError, ValueError):  # no room, or no number: this is told nothing further
            self.lock.release()
            raise

    def _close(self) -> None:
        self.events.close()
        self.lock.release()


def note_group(session: Path, group: str, part: str, name: str, about: Mapping[str, Any]) -> None:
    """Note that there is a run above those of a group.

    Parameters
    ----------
    session : Path
        Folder of the command's session.
    group : str
        As in `Context.group`. A later note of the same group brings its run up to date.
    part, name : str
        Experiment and name of the run; an empty part is that of the group's runs.
    about : mapping
        Its "params", "metrics" and "tags".
    """
    hidden = session / f".{uuid4().hex}"
    hidden.mkdir(parents=True)
    note = {"event": "group", "time": time.time(), "id": group, "part": part, "name": name}
    note |= {"params": {}, "metrics": {}, "tags": {"origin": "sweep"}} | dict(about)
    (hidden / notes.EVENTS).write_text(json.dumps(note, allow_nan=False) + "\n", encoding="utf-8")
    # A file's name has 255 bytes at most
    hidden.rename(session / f"{time.time_ns()}-{part or 'sweep'}-{name.replace('/', '_')[:50]}")


@contextmanager
def sweep_parent(session: Path | None, stage: str, arguments: Sequence[str]) -> Iterator[str]:
    """Give the jobs of Hydra's multirun a run above theirs; other commands have none.

    Parameters
    ----------
    session : Path or None
    stage : str
        Module that runs.
    arguments : sequence of str
        Of the command line.

    Yields
    ------
    str
        The group of the jobs' runs; "" if they have none.
    """
    if session is None or not {"-m", "--multirun"} & set(arguments):
        yield ""
        return
    overrides = [argument for argument in arguments if "=" in argument]
    told = [o for o in overrides if not o.startswith(("hydra", "tracking"))]
    name = " ".join([stage.rpartition(".")[2], *told])
    group = f"sweep/{uuid4().hex}"
    try:
        yield group
    finally:
        about = {"tags": {"origin": "sweep", "overrides": " ".join(told)}}
        try:
            note_group(session, group, "", name, about)
        except OSError as error:
            log.warning("warning: the sweep has no run that sums it up: %s", error)


def _run_name(name: str, overrides: list[str], origin: Origin) -> str:
    """Tell the runs of a sweep, and runs with other parameters, apart by what was set."""
    if origin == Origin.PIPELINE:
        return name
    settings = [o.partition("=") for o in overrides if not o.startswith(("hydra", "tracking"))]
    shown = [f"{key.split('.')[-1]}={value}" for key, _, value in settings if value not in name]
    return " ".join([name, *shown])


def _sizes(training: Training) -> dict[str, int]:
    return {f"n_{part}": len(X) for part, (X, _) in training.data.items()}


def _text(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}


def _tags(context: Context) -> dict[str, str]:
    variables = {
        "dvc.stage": "DVC_STAGE",
        "dvc.experiment": "DVC_EXP_NAME",
        "dvc.baseline": "DVC_EXP_BASELINE_REV",
    }
    return {
        "origin": context.origin.value,
        "overrides": " ".join(o for o in context.overrides if not o.startswith("tracking")),
        "output_folder": os.path.relpath(context.out, context.root),
        "mlflow.source.name": context.stage,
        "mlflow.source.type": "LOCAL",
        **({notes.GROUP: context.group} if context.group else {}),
        **{tag: os.environ[name] for tag, name in variables.items() if os.environ.get(name)},
        **_git_tags(context.root),
    }


NOT_CODE = ("--", ".", ":!metrics", ":!dvc.lock")
"""Results that the pipeline is just writing are no change of the code."""

DIFF_LIMIT = 1_000_000
"""Characters of a diff that are kept."""


def _git_tags(root: Path) -> dict[str, str]:
    """Give commit and dirty state; empty outside a git checkout."""
    try:
        commit = git(root, "rev-parse", "HEAD")
        changed = git(root, "status", "--porcelain", "--untracked-files=no", *NOT_CODE)
    except RetraceError:
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changed)).lower()}


def _diff(root: Path) -> str:
    """Give what the code differs by from the last commit; empty outside a git checkout."""
    try:
        return git(root, "diff", "HEAD", *NOT_CODE)[:DIFF_LIMIT]
    except RetraceError:
        return ""


def _files(inputs: Mapping[str, Path]) -> list[tuple[str, Path]]:
    return [(name, path) for name, path in sorted(inputs.items()) if path.is_file()]
