"""Where the notes of trainings lie until MLflow has them, and what they consist of.

A command has a folder in mlruns/pending, its session; in it each training has one. What has a name
that starts with a dot is being made or taken away. Nothing heavy is imported here, so that the
process that sends the notes starts at once.
"""

from pathlib import Path

SESSION = "RETRACE_TRACKING"
"""Environment variable that names the session's folder to what the command starts."""

OWNER, WRITER, STORE = ".owner", ".writer", ".store"
"""In a session: locks of its command and of its writer, and the store's URI without secrets."""

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
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def pending(root: Path) -> Path:
    """Give the folder of all sessions."""
    return checkout_root(root) / "mlruns" / "pending"


def noted(session: Path) -> list[Path]:
    """Give the trainings of a session in the order in which they began; none if it is gone."""
    return sorted(path for path in session.glob("*") if path.is_dir() and path.name[0] != ".")
