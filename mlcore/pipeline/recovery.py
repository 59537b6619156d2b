"""What a killed run leaves: put right before the next one, so that it goes on by itself.

A kill may fall into any write. Results are safe from that, being written under temporary names,
but those stay; DVC's list of files in use names processes that are gone; and dvc.lock, which DVC
writes in place, may be cut off.
"""

import glob
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.output import Output
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, rwlock
from dvc.utils.serialize import parse_yaml
from filelock import FileLock, Timeout

from mlcore.errors import RetraceError
from mlcore.files import atomic_path, md5_of

LOCK_HEADER = "schema: '2.0'\nstages:\n"
"""How dvc.lock begins."""

DVC_TEMPORARY = f"*.{'?' * 22}.tmp"
"""Names under which DVC copies files, to the cache and from it."""


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the pipeline of a checkout: two runners would get into each other's way.

    Raises
    ------
    RetraceError
        If another process holds it. A killed one does not.
    """
    path = root / ".dvc" / "tmp" / "stages.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RetraceError(
            "another `make repro` or `python -m stages` is at work here; wait for it, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def recover(repo: Repo) -> list[str]:
    """Put right what killed commands left; returns warnings, a line each.

    What a command that is at work has in its hands is left alone.
    """
    forget_the_dead(repo)
    mended = mend_lock(repo)
    clear_unfinished(repo)
    return [mended] if mended else []


def forget_the_dead(repo: Repo) -> None:
    """Remove DVC's list of files in use, if nobody who stands there is at work.

    DVC takes a number that another process has got since for a command at work, and cannot read a
    list whose write was cut off.
    """
    path = Path(repo.tmp_dir) / RWLOCK_FILE
    guard = os.fspath(path.with_name(RWLOCK_LOCK))
    with (
        make_lock(guard, tmp_dir=repo.tmp_dir, hardlink_lock=_hardlink(repo)),
        suppress(FileNotFoundError),
    ):
        pids = re.findall(r'"pid": (\d+)', path.read_text(encoding="utf-8", errors="replace"))
        if not any(_runs_dvc(int(pid)) for pid in pids):
            path.unlink()


def _hardlink(repo: Repo) -> bool:
    return bool(repo.config["core"].get("hardlink_lock", False))


def _runs_dvc(pid: int) -> bool:
    try:
        return any("dvc" in Path(part).name for part in psutil.Process(pid).cmdline()[:4])
    except psutil.AccessDenied:  # another user's
        return True
    except psutil.Error:
        return False


def mend_lock(repo: Repo) -> str:
    """Cut dvc.lock off at its last whole entry, if a kill did in the middle of one.

    Stages without an entry are not trained again: DVC's cache knows what they made. Anything else
    that is wrong with the file, such as a conflict of git's, is left for DVC to say.

    Returns
    -------
    str
        A warning; empty if there was nothing to mend.
    """
    path = Path(repo.root_dir) / "dvc.lock"
    with repo.lock:  # DVC writes it under this lock
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        if text is None or _is_whole(text):
            return ""
        kept = "".join(re.split(r"^(?=  \S)", text, flags=re.MULTILINE)[:-1])
        if LOCK_HEADER.startswith(text) or kept == LOCK_HEADER:
            path.unlink()
        elif _is_whole(kept) and "<<<<<<<" not in text:
            with atomic_path(path) as temporary:
                temporary.write_text(kept, encoding="utf-8")
        else:
            return ""
    return "warning: dvc.lock was cut off by a kill; its whole entries are kept, others come again"


def _is_whole(text: str) -> bool:
    try:
        Lockfile.validate(parse_yaml(text, "dvc.lock"), "dvc.lock")
    except DvcException:
        return False
    return True


def clear_unfinished(repo: Repo) -> None:
    """Remove the temporary files of writes that were killed: of outs, dvc.lock and the cache."""
    root = Path(repo.root_dir)
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
            paths = [os.fspath(out) for out in outs]
            if left:
                with (
                    suppress(LockError),  # a stage at work, which another command started
                    rwlock(repo.tmp_dir, repo.fs, "python -m stages", [], paths, _hardlink(repo)),
                ):
                    _unlink(left)
        _unlink(stray)


def _unfinished(path: Path) -> str:
    """Give the pattern of `atomic_path`'s names for a path."""
    return f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"


def drop_damaged(repo: Repo, stages: Collection[str]) -> list[str]:
    """Remove from the cache what is not what it should be, of the outs of stages that are to run.

    DVC takes what it protected in its cache for whole, and would bring it back as it is.

    Returns
    -------
    list of str
        A warning for each out of which something was damaged.
    """
    cache = repo.cache.local
    warnings = []
    for stage in repo.index.stages:
        for out in stage.outs if stage.addressing in stages else ():
            damaged = [
                path
                for md5 in _objects(out)
                if (path := Path(cache.oid_to_path(md5))).is_file()
                and md5.partition(".")[0] != md5_of(path)
            ]
            _unlink(damaged)
            if damaged:
                warnings.append(f"warning: {out} is damaged in DVC's cache and is made again")
    return warnings


def _objects(out: Output) -> list[str]:
    """Give the names in the cache of an out and, of a folder, of the files in it."""
    if not (out.use_cache and out.hash_info):
        return []
    names = [str(out.hash_info.value)]
    if out.hash_info.isdir:
        with suppress(OSError, ValueError):  # not there, or damaged itself
            listed = json.loads(Path(out.cache_path).read_text(encoding="utf-8"))
            names += [entry["md5"] for entry in listed]
    return names


def _unlink(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
