"""Notes what happens in trainings, in microseconds, whatever the MLflow store does (README.md)."""

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO
from uuid import uuid4

import numpy as np

from mlcore.config import Config
from mlcore.config.sweep_table import told
from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_folder, atomic_path, md5_of
from mlcore.pipeline.digests import CODE
from mlcore.pipeline.dvc_yaml import Stage, read_stages
from mlcore.pipeline.workspace import Origin, Workspace
from mlcore.process import git, git_output
from mlcore.tracking import notes
from mlcore.tracking.store import default_uri, displayed
from mlcore.training.run import Observer, Result, Row, Training

log = logging.getLogger(__name__)

DVC = {"DVC_STAGE": "stage", "DVC_EXP_NAME": "experiment"}
DIFF = (  # what `git apply` takes, whatever the user's settings
    *("diff", "HEAD", "--binary", "-U3", "--no-color", "--no-ext-diff", "--no-textconv"),
    # Results that the pipeline is just writing are no change of the code
    *("--src-prefix=a/", "--dst-prefix=b/", "--", ".", ":!metrics", ":!dvc.lock"),
)


@contextmanager
def session(config: Config, root: Path) -> Iterator[Path | None]:
    """Have a recorder at work while the block runs; at its end, wait until it has sent everything.

    Gives the folder for notes: that of the command that started this one, or a new one. None where
    tracking is off or, with a warning, where no folder can be made.
    """
    above = os.environ.get(notes.SESSION)
    if above or config.tracking.backend == "none":
        yield Path(above) if above and config.tracking.backend != "none" else None
        return
    _code(root, tell=True)
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
    # Ctrl-C ends the training, the recorder has that to write down; and it holds the address on
    # when this process is killed
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
    with suppress(KeyboardInterrupt):
        recorder.wait()
    recorder.kill()  # if it is still there
    if recorder.wait():  # else it has said what is left
        log.warning("warning: runs are kept in mlruns/pending for `make sync`")


@dataclass
class Tracker(Observer):
    """Notes a training of a stage, such as "train_network", for the recorder.

    A `group`'s trainings, of one sweep, have its run as their parent.
    """

    session: Path
    workspace: Workspace
    stage: str
    origin: Origin
    config: Config
    overrides: Sequence[str] = ()
    group: str = ""

    def started(self, training: Training) -> None:
        """Make the notes' folder, whose events this process holds as long as it lives."""
        self.training, root = training, self.workspace.root
        stage = read_stages(root).get(self.stage)
        purpose = stage.desc if stage else ""
        code, changes = _code(root)
        sizes = {f"n_{part}": len(X) for part, (X, _) in training.data.items()}
        self.folder = self.session / f"{time.time_ns()}-{training.part}-{training.name}"
        with atomic_folder(self.folder) as new:  # seen by the recorder at the end of the block
            self.events = notes.hold_new(new / notes.EVENTS)
            if changes:
                (new / notes.DIFF).write_bytes(changes)
            self._note(
                "started",
                id=uuid4().hex,
                part=training.part,
                purpose=purpose,
                name=run_name(training.name, stage, self.origin, self.overrides),
                params={**training.params, **sizes},
                tags=self._tags(purpose) | code,
                md5={name: md5_of(f) for name, f in self.workspace.inputs.items() if f.is_file()},
                config=self.config.model_dump(mode="json"),
                dataset={"name": training.dataset.name, "digest": md5_of(training.dataset.path)},
                path=os.path.relpath(training.dataset.path, root),
            )

    def step(self, row: Row) -> None:
        """Note an epoch."""
        if "epoch" in row:
            self._note("epoch", row=dict(row))

    def finished(self, result: Result) -> None:
        """Note the outcome, and keep copies of the files: the next run replaces them."""
        _, y = self.training.data.get("val", self.training.data["train"])
        with self.events:  # closed whatever happens: the recorder waits for that
            try:
                self._keep(result)
            finally:  # a training without its model is still a finished one
                self._note(
                    "finished",
                    ended=result.ended,
                    metrics=dict(result.metrics),
                    md5={os.path.relpath(f, self.workspace.out): md5_of(f) for f in result.files},
                    candidates=[vars(candidate) for candidate in result.candidates],
                    # Accuracy of naming the commonest class throughout; none of images, codes
                    chance=y.ndim == 1 and np.unique(y, return_counts=True)[1].max() / len(y),
                )

    def _keep(self, result: Result) -> None:
        with atomic_folder(self.folder / notes.FILES) as copies:
            for file in result.files:
                shutil.copy2(file, copies)
        model = getattr(result.estimator, "best_", result.estimator)
        with atomic_path(self.folder / notes.MODEL) as temporary:
            temporary.write_bytes(pickle.dumps((model, self.training.data["train"][0][:5])))

    def failed(self, error: BaseException) -> None:
        """Note why there is no outcome."""
        killed = isinstance(error, KeyboardInterrupt)
        with self.events:
            self._note("failed", status="KILLED" if killed else "FAILED", error=one_line(error))

    def _note(self, event: str, **content: Any) -> None:
        try:
            note = {"event": event, "time": time.time(), **content}
            print(json.dumps(note, allow_nan=False), file=self.events, flush=True)
        except (OSError, ValueError):  # no room, or no number: this is told nothing further
            self.events.close()
            raise

    def _tags(self, purpose: str) -> dict[str, str]:
        out, overrides = self.workspace.out, " ".join(told(self.overrides))
        tags = {f"dvc.{tag}": os.environ[name] for name, tag in DVC.items() if name in os.environ}
        if "dvc.stage" in tags:
            about = f"DVC stage `{tags['dvc.stage']}`"
        else:
            about = f"`python -m stages.{self.stage} {overrides}`"
            tags |= {"overrides": overrides} | ({notes.GROUP: self.group} if self.group else {})
        if self.workspace.root in out.parents:
            about += f"; its results are in `{out.relative_to(self.workspace.root)}`"
        return tags | {
            "origin": self.origin.value,
            "mlflow.note.content": f"{purpose}\n\n{about}",
            "mlflow.source.name": f"stages.{self.stage}",
            "mlflow.source.type": "LOCAL",
        }


def run_name(name: str, stage: Stage | None, origin: Origin, overrides: Sequence[str]) -> str:
    """Tell trainings of one name apart by what was set of the stage's own parameters."""
    if origin == Origin.PIPELINE:
        return name
    settings = [
        (key, key.rpartition(".")[2], value)
        for key, value in (o.split("=", 1) for o in told(overrides))
        if value not in name
        and ("." not in key or not stage or key.partition(".")[0] in stage.sections)
    ]
    times = Counter(short for _, short, _ in settings)
    words = [f"{short if times[short] == 1 else key}={v}" for key, short, v in settings]
    return " ".join([name, *words])


def note_group(session: Path, group: str, name: str, **about: Mapping[str, Any]) -> None:
    """Note the run above those of a group: params, metrics, tags. A later note updates it."""
    note = {"event": "group", "time": time.time(), "id": group, "name": name, **about}
    short = name.replace("/", "_")[:50]  # a file's name has 255 bytes at most
    with atomic_folder(session / f"{time.time_ns()}-sweep-{short}") as new:
        (new / notes.EVENTS).write_text(json.dumps(note, allow_nan=False) + "\n")


@contextmanager
def sweep_parent(session: Path | None, stage: str, arguments: Sequence[str]) -> Iterator[str]:
    """Give the group of the jobs of Hydra's multirun, and note a run above theirs at the end."""
    if session is None or not {"-m", "--multirun"} & set(arguments):
        yield ""
        return
    group, overrides = f"sweep/{uuid4().hex}", " ".join(told(arguments))
    try:
        yield group
    finally:
        try:
            name = f"{stage} {overrides}".rstrip()
            note_group(session, group, name, tags={"overrides": overrides})
        except OSError as error:
            log.warning("warning: the sweep has no run that sums it up: %s", error)


def _code(root: Path, tell: bool = False) -> tuple[dict[str, str], bytes]:
    """Give tags of the code and what it differs by; nothing where git fails, which `tell` tells."""
    try:
        commit = git(root, "rev-parse", "HEAD")
        index = root / git(root, "rev-parse", "--git-path", "index")
        # New files are changes of the code, too. They are added to a copy of the user's index, of
        # which git takes its time for when it was made
        with TemporaryDirectory() as folder:
            copy = {"GIT_INDEX_FILE": str(shutil.copy2(index, Path(folder) / "index"))}
            present = [name for name in (*CODE, "conf") if (root / name).is_dir()]
            git_output(root, "add", "--intent-to-add", "--", *present, **copy)
            changes = git_output(root, *DIFF, **copy)
    except RetraceError as error:
        if tell and (root / ".git").exists():
            log.warning("warning: runs are recorded without the code's commit: %s", error)
        return {}, b""
    return {"mlflow.source.git.commit": commit, "git.dirty": str(bool(changes)).lower()}, changes
