"""Notes of trainings until MLflow has them: a folder a training in mlruns/pending/SESSION."""

import fcntl
import time
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from mlcore.errors import RetraceError
from mlcore.files import atomic_folder

SESSION = "RETRACE_TRACKING"  # names a session's folder, in the environment of what it starts
ADDRESS = "address"  # in it: store and checkout, in two lines; its command and recorder hold it
GROUP = "retrace.group"  # tag of runs that have a parent: of one sweep, or alike but for the seed
EVENTS, DIFF, MODEL, FILES = "events.jsonl", "changes.diff", "model.pkl", "files"
"""Of a training: what happened, held while it trains; what the code differs by from its commit; the
model, with samples that it takes; copies of the results."""


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
    """Say whether a process at work holds a file; also if it has just been deleted by one."""
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


def store_of(session: Path, root: Path) -> str:
    """Give the store of a session; raises RetraceError if it is not one of this checkout."""
    store, home = (session / ADDRESS).read_text(encoding="utf-8").splitlines()
    if home != str(checkout_root(root).resolve()):
        raise RetraceError(
            f"notes in {session} are of the checkout {home}: `make sync` there records them; "
            "here they can be deleted"
        )
    return store


def trainings(session: Path) -> list[Path]:
    """Give the trainings of a session in the order in which they began; none if it is gone."""
    return sorted(events.parent for events in session.glob(f"*/{EVENTS}"))


def title(training: Path) -> str:
    """Give the part and the name of a training, by its folder."""
    return training.name.partition("-")[2]
