"""Tracking, where it happens: a training's events are noted in a file, as README.md tells.

The training waits for nobody: noting a step takes microseconds, whatever the MLflow store does.
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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO
from uuid import uuid4

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_folder, atomic_path, md5_of
from mlcore.pipeline.dvc_yaml import read_stages
from mlcore.process import git, git_output
from mlcore.tracking import notes
from mlcore.tracking.store import default_uri, displayed
from mlcore.training.run import Observer, Result, Row, Training
from mlcore.workspace import Origin, Workspace

if TYPE_CHECKING:
    from mlcore.config import Config

log = logging.getLogger(__name__)

N_EXAMPLES = 5
"""Samples that show what the model takes."""

DVC = {
    "dvc.stage": "DVC_STAGE",
    "dvc.experiment": "DVC_EXP_NAME",
    "dvc.baseline": "DVC_EXP_BASELINE_REV",
}
"""Tags by the variables of DVC's that they are of."""


@contextmanager
def session(config: Config, root: Path, above: Path | None = None) -> Iterator[Path | None]:
    """Have a recorder at work while the block runs; at its end, wait until it has sent everything.

    Yields the session's folder: `above` if a command that started this one has one; None where
    tracking is off or the notes have no place, which is said. `root` is the top of the checkout.
    """
    if above or config.tracking.backend == "none":
        yield None if config.tracking.backend == "none" else above
        return
    _warn_of_git(root)
    try:
        folder, address = notes.new_session(root, store_of(config, root))
        recorder = _start_recorder(folder, address, root)
    except OSError as error:
        log.warning("warning: nothing is tracked: %s", error)
        yield None
        return
    try:
        yield folder
    finally:
        _wait_for(recorder)
        if not notes.trainings(folder):
            shutil.rmtree(folder, ignore_errors=True)
        others = [a for a in notes.pending(root).glob(f"*/{notes.ADDRESS}") if not notes.is_held(a)]
        if left := sum(len(notes.trainings(other.parent)) for other in others):
            log.warning("warning: not recorded of earlier commands: %d; `make sync` does it", left)
        address.close()


def store_of(config: Config, root: Path) -> str:
    """Give the store of a configuration, without secrets: a URI, or "server"."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or default_uri(root)
    return config.tracking.uri or displayed(given)


def _start_recorder(folder: Path, address: TextIO, root: Path) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C ends the training, the recorder has that to write down.
    # Should this process be killed, the recorder holds the address on
    return subprocess.Popen(
        [sys.executable, "-m", "mlcore.tracking.recorder", "--follow", str(folder)],
        cwd=root,
        stdin=subprocess.PIPE,
        start_new_session=True,
        pass_fds=[address.fileno()],
    )


def _wait_for(recorder: subprocess.Popen[bytes]) -> None:
    """Wait for a recorder to end, which it does by itself when it hangs, or for Ctrl-C."""
    assert recorder.stdin is not None
    recorder.stdin.close()  # the sign to finish
    try:
        recorder.wait()
    except KeyboardInterrupt:
        recorder.kill()
    if recorder.wait():  # else it has said what is left
        log.warning("warning: runs are kept in mlruns/pending for `make sync`")


@dataclass
class Tracker(Observer):
    """Notes a training of a stage, a module such as "stages.train_network", for the recorder.

    A `group`'s trainings, of one sweep, have its run as their parent.
    """

    session: Path
    workspace: Workspace
    stage: str
    origin: Origin
    overrides: Sequence[str] = ()
    group: str = ""

    def started(self, training: Training) -> None:
        """Make the notes' folder, whose events this process holds as long as it lives."""
        self.training, root = training, self.workspace.root
        code, changes = _code(root)
        sizes = {f"n_{part}": len(X) for part, (X, _) in training.data.items()}
        self.folder = notes.new_training(self.session, f"{training.part}-{training.name}")
        with atomic_folder(self.folder) as new:  # seen by the recorder at the end of the block
            self.events = notes.hold_new(new / notes.EVENTS)
            if changes:
                (new / notes.DIFF).write_bytes(changes)
            self._note(
                "started",
                id=uuid4().hex,
                part=training.part,
                name=self._run_name(training.name),
                params=_text({**training.params, **sizes}),
                tags=self._tags() | code,
                dataset={"name": training.dataset.name, "digest": md5_of(training.dataset.path)},
                path=os.path.relpath(training.dataset.path, root),
            )

    def step(self, row: Row) -> None:
        """Note an epoch."""
        if "epoch" in row:
            self._note("epoch", row=dict(row))

    def finished(self, result: Result) -> None:
        """Note the outcome, and keep copies of the files: the next run replaces them."""
        try:
            self._keep(result)
        finally:  # a training without its model is still a finished one
            outputs = {os.path.relpath(f, self.workspace.out): md5_of(f) for f in result.files}
            candidates = [vars(c) | {"params": _text(c.params)} for c in result.candidates]
            told = {"ended": result.ended, "metrics": dict(result.metrics)}
            self._note("finished", **told, outputs=outputs, candidates=candidates)
            self.events.close()

    def _keep(self, result: Result) -> None:
        with atomic_folder(self.folder / notes.FILES) as copies:
            for file in result.files:
                shutil.copy2(file, copies)
        model = getattr(result.estimator, "best_", result.estimator)
        with atomic_path(self.folder / notes.MODEL) as temporary:
            example = self.training.data["train"][0][:N_EXAMPLES]
            temporary.write_bytes(pickle.dumps((model, example)))

    def failed(self, error: BaseException) -> None:
        """Note why there is no outcome."""
        killed = isinstance(error, KeyboardInterrupt)
        self._note("failed", status="KILLED" if killed else "FAILED", error=one_line(error))
        self.events.close()

    def _note(self, event: str, **content: Any) -> None:
        try:
            note = {"event": event, "time": time.time(), **content}
            print(json.dumps(note, allow_nan=False), file=self.events, flush=True)
        except (OSError, ValueError):  # no room, or no number: this is told nothing further
            self.events.close()
            raise

    def _run_name(self, name: str) -> str:
        """Tell runs with other parameters apart by what was set of the stage's own."""
        if self.origin == Origin.PIPELINE:
            return name
        stage = read_stages(self.workspace.root).get(self.stage.removeprefix("stages."))
        told = dict(o.split("=", 1) for o in self.overrides if "=" in o)
        settings = {
            key: value
            for key, value in told.items()
            if value not in name
            and not key.startswith(("hydra", "tracking"))
            and ("." not in key or not stage or key.partition(".")[0] in stage.sections)
        }
        times = Counter(key.rpartition(".")[2] for key in settings)
        for key, value in settings.items():
            short = key.rpartition(".")[2]
            name += f" {short if times[short] == 1 else key}={value}"
        return name

    def _tags(self) -> dict[str, str]:
        root, inputs = self.workspace.root, sorted(self.workspace.inputs.items())
        return {
            "origin": self.origin.value,
            "overrides": " ".join(o for o in self.overrides if not o.startswith("tracking")),
            "output_folder": os.path.relpath(self.workspace.out, root),
            "mlflow.source.name": self.stage,
            "mlflow.source.type": "LOCAL",
            **({notes.GROUP: self.group} if self.group else {}),
            **{tag: os.environ[name] for tag, name in DVC.items() if os.environ.get(name)},
            **{f"input.{name}": md5_of(path) for name, path in inputs if path.is_file()},
        }


def note_group(session: Path, group: str, name: str, **about: Mapping[str, Any]) -> None:
    """Note that there is a run above those of a group; a later note brings it up to date.

    `about` may have its params, metrics and tags.
    """
    empty = {"params": {}, "metrics": {}, "tags": {"origin": "sweep"}}
    note = {"event": "group", "time": time.time(), "id": group, "name": name, **empty, **about}
    # A file's name has 255 bytes at most
    folder = notes.new_training(session, f"sweep-{name.replace('/', '_')[:50]}")
    with atomic_folder(folder) as new:
        text = json.dumps(note, allow_nan=False)
        (new / notes.EVENTS).write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def sweep_parent(session: Path | None, stage: str, arguments: Sequence[str]) -> Iterator[str]:
    """Give the group of the jobs of Hydra's multirun, and note a run above theirs at the end."""
    if session is None or not {"-m", "--multirun"} & set(arguments):
        yield ""
        return
    told = [a for a in arguments if "=" in a and not a.startswith(("hydra", "tracking"))]
    group = f"sweep/{uuid4().hex}"
    try:
        yield group
    finally:
        name = " ".join([stage.rpartition(".")[2], *told])
        tags = {"origin": "sweep", "overrides": " ".join(told)}
        try:
            note_group(session, group, name, tags=tags)
        except OSError as error:
            log.warning("warning: the sweep has no run that sums it up: %s", error)


def _text(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}


CODE = ("stages", "mlcore", "conf", "hydra_plugins")
"""Folders whose new files are changes of the code, too."""

DIFF = (
    *("diff", "HEAD", "--binary", "-U3", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
    # Results that the pipeline is just writing are no change of the code
    *("--", ".", ":!metrics", ":!dvc.lock"),
)
"""What `git apply` takes, whatever the user's settings."""


def _code(root: Path) -> tuple[dict[str, str], bytes]:
    """Give tags of the code and what it differs by from its commit; nothing where there is no git.

    New files are added to a copy of the index: the user's own stays as it is.
    """
    try:
        commit = git(root, "rev-parse", "HEAD")
        index = root / git(root, "rev-parse", "--git-path", "index")
        with TemporaryDirectory() as folder:
            copy = shutil.copyfile(index, Path(folder) / "index")
            variables = {"GIT_INDEX_FILE": str(copy)}
            present = [name for name in CODE if (root / name).is_dir()]
            git_output(root, "add", "--intent-to-add", "--", *present, **variables)
            changes = git_output(root, *DIFF, **variables)
    except RetraceError:  # which the command has told
        return {}, b""
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changes)).lower()}, changes


def _warn_of_git(root: Path) -> None:
    """Say why the commit of a checkout is not known, if it is one."""
    if (root / ".git").exists():
        try:
            git(root, "rev-parse", "HEAD")
        except RetraceError as error:
            log.warning("warning: runs are recorded without the code's commit: %s", error)
