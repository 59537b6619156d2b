"""One runner at a time, and the temporary files that a killed one leaves.

A kill may fall into any write. Results are safe from that, being written under temporary names;
these are removed before the next run.
"""

import glob
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import rwlock
from filelock import FileLock, Timeout

from mlcore.errors import RetraceError

DVC_TEMPORARY = f"*.{'?' * 22}.tmp"
"""Names under which DVC copies files, to the cache and from it."""


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the pipeline of a checkout: two runners would get into each other's way.

    Raises RetraceError if another process holds it. A killed one does not.
    """
    path = root / ".dvc" / "tmp" / "stages.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise RetraceError(
            "another `make repro` or `python -m stages` is at work here; wait for it, or end it"
        ) from None


def clear_unfinished(repo: Repo) -> None:
    """Remove the temporary files of writes that were killed: of outs, dvc.lock and the cache."""
    root = Path(repo.root_dir)
    hardlink = bool(repo.config["core"].get("hardlink_lock", False))
    with repo.lock:  # DVC copies files and `order_lock` writes under this lock
        stray = [*root.glob(_unfinished(Path("dvc.lock")))]
        own = Path(repo.cache.local.path)
        if own.is_relative_to(root):  # of a shared cache others know
            stray += own.rglob(DVC_TEMPORARY)
        for stage in repo.index.stages:
            outs = [Path(out.fs_path) for out in stage.outs]
            left = [file for out in outs for file in out.parent.glob(_unfinished(out))]
            left += [file for out in outs if out.is_dir() for file in out.rglob(".*-????????.*")]
            stray += [file for out in outs for file in out.parent.glob(DVC_TEMPORARY)]
            if left:
                with (
                    suppress(LockError),  # a stage at work, which another command started
                    rwlock(
                        repo.tmp_dir, repo.fs, "python -m stages", [], [*map(str, outs)], hardlink
                    ),
                ):
                    for file in left:
                        file.unlink(missing_ok=True)
        for file in stray:
            file.unlink(missing_ok=True)


def _unfinished(path: Path) -> str:
    """Give the pattern of `atomic_path`'s names for a path."""
    return f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"
