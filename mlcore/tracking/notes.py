"""Where the notes of trainings lie until MLflow has them (README.md says the flow).

A command has a folder in mlruns/pending, its session; in it each training has one.
"""

import fcntl
import time
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from mlcore.files import atomic_folder

SESSION = "RETRACE_TRACKING"
"""Environment variable that names the session's folder to what the command starts."""

ADDRESS = "address"
"""In a session: its store, without secrets, and its checkout, in two lines. Its command and its
recorder hold this file as long as they live."""

EVENTS, DIFF, MODEL, FILES = "events.jsonl", "changes.diff", "model.pkl", "files"
"""In a training's folder: what happened, a file that is held while it trains; what the code differs
by from its commit; the model, with samples that it takes; copies of the results."""

GROUP = "retrace.group"
"""Tag of runs that have a parent: those of a sweep, or those that differ by their seed alone."""


def checkout_root(root: Path) -> Path:
    """Give the top of the user's checkout, also from a DVC experiment's temporary copy of it."""
    return Path(str(root).partition("/.dvc/tmp/exps/")[0])


def pending(root: Path) -> Path:
    """Give the folder of all sessions."""
    return checkout_root(root) / "mlruns" / "pending"


def hold_new(path: Path) -> TextIO:
    """Open a new file, which this process holds until it closes it or ends."""
    file = path.open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_held(path: Path) -> bool:
    """Say whether a process at work holds a file; also if it has just been taken away."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def new_session(root: Path, store: str) -> tuple[Path, TextIO]:
    """Make a session for a store; returns its folder and its address, held."""
    folder = pending(root) / f"{time.time_ns()}-{uuid4().hex[:8]}"
    with atomic_folder(folder) as new:  # none is seen that is not held
        address = hold_new(new / ADDRESS)
        print(store, checkout_root(root).resolve(), sep="\n", file=address, flush=True)
    return folder, address


def new_training(session: Path, title: str) -> Path:
    """Give the place for a training's folder, after those that began before."""
    return session / f"{time.time_ns()}-{title}"


def trainings(session: Path) -> list[Path]:
    """Give the trainings of a session in the order in which they began; none if it is gone."""
    return sorted(events.parent for events in session.glob(f"*/{EVENTS}"))


def title(training: Path) -> str:
    """Give the part and the name of a training, by its folder."""
    return training.name.partition("-")[2]
