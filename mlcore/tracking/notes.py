"""The notes of trainings: where they lie until MLflow has them (README.md says the flow).

A command has a folder in mlruns/pending, its session; in it each training has one. A name that
starts with a dot is that of a folder being made or taken away. Nothing heavy is imported here, so
that the recorder starts at once.
"""

from pathlib import Path

SESSION = "RETRACE_TRACKING"
"""Environment variable that names the session's folder to what the command starts."""

COMMAND, RECORDER, STORE = ".owner", ".writer", ".store"
"""In a session: lock of its command; lock of its recorder, whose heartbeat is the file's time; and
two lines: the store, without secrets, and the checkout that the session belongs to."""

GROUP = "retrace.group"
"""Tag of runs that have a parent: those of a sweep, or those that differ by their seed alone."""

EVENTS, LOCK, DIFF, MODEL, EXAMPLE, FILES = (
    "events.jsonl",
    "lock",
    "changes.diff",
    "model.pkl",
    "example.npz",
    "files",
)
"""In a training's folder: what happened, a lock held while it trains, what the code differs by from
its commit, and what came out."""


def checkout_root(root: Path) -> Path:
    """Give the top of the user's checkout, also from a DVC experiment's temporary copy of it."""
    return Path(str(root).partition("/.dvc/tmp/exps/")[0])


def pending(root: Path) -> Path:
    """Give the folder of all sessions."""
    return checkout_root(root) / "mlruns" / "pending"


def address(session: Path, store: str, root: Path) -> None:
    """Write down for which store and of which checkout a session is."""
    (session / RECORDER).touch()
    lines = f"{store}\n{checkout_root(root).resolve()}\n"
    (session / STORE).write_text(lines, encoding="utf-8")


def trainings(session: Path) -> list[Path]:
    """Give the trainings of a session in the order in which they began; none if it is gone."""
    return sorted(path for path in session.glob("*") if path.is_dir() and path.name[0] != ".")


def title(training: Path) -> str:
    """Give the part and the name of a training, by its folder."""
    return training.name.partition("-")[2]
