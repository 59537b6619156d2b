"""What killed writes leave is put right; what a command that is at work has stays."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from mlcore.errors import RetraceError
from mlcore.pipeline.recovery import (
    alone,
    clear_unfinished,
    drop_damaged,
    forget_the_dead,
    mend_lock,
)

ENTRY = """\
  {name}:
    cmd: echo {name}
    deps:
    - path: params.yaml
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 3
    outs:
    - path: models/{name}.pkl
      hash: md5
      md5: fedcba9876543210fedcba9876543210
      size: 5
"""
NAMES = ("a", "train@tanh-normal", "c")
HEAD = "schema: '2.0'\nstages:\n"
LOCK = HEAD + "".join(ENTRY.format(name=name) for name in NAMES)


@pytest.fixture
def repo(tmp_path):
    stages = {"train": {"cmd": "echo", "outs": ["models/tanh-normal.pkl", "figures"]}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "models").mkdir()
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        yield repo


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "dvc.lock"


def entries(text):
    """The entries of a lock, as DVC's reader has them."""
    return (yaml.safe_load(text) or {}).get("stages") or {}


def test_a_lock_cut_off_anywhere_can_be_read_and_keeps_its_whole_entries(repo, lock):
    whole = list(entries(LOCK).items())
    starts = [match.start() for match in re.finditer(r"^  \S", LOCK, re.MULTILINE)]
    for length in range(0, len(LOCK), 7):
        lock.write_text(LOCK[:length])
        said = mend_lock(repo)
        kept = entries(lock.read_text()) if lock.exists() else {}
        n_whole = sum(start <= length for start in starts[1:])
        assert list(kept.items())[:n_whole] == whole[:n_whole]
        assert len(kept) <= n_whole + 1  # DVC can read the last one and finds it out of date
        assert mend_lock(repo) == ""
        assert said.count("\n") == 0


def test_a_cut_is_said_in_one_line(repo, lock):
    lock.write_text(LOCK[: LOCK.index("size: 5") + 2])
    assert mend_lock(repo).startswith("warning: dvc.lock was cut off")


@pytest.mark.parametrize(
    "text",
    [
        LOCK,
        LOCK.replace("  c:\n", "<<<<<<< HEAD\n  c:\n=======\n  d:\n>>>>>>> other\n"),
        LOCK.replace("    cmd: echo c\n", "<<<<<<< HEAD\n    cmd: echo c\n=======\n"),
        LOCK.replace("    cmd: echo a\n", ""),
        "no lock at all",
    ],
    ids=["whole", "conflict", "conflict in the last entry", "wrong by hand", "another file"],
)
def test_anything_else_in_the_lock_is_left_for_dvc_to_say(repo, lock, text):
    lock.write_text(text)
    assert mend_lock(repo) == ""
    assert lock.read_text() == text


KILLED_WRITE = """
import os, sys
from pathlib import Path
from mlcore.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""
KILLED_DVC = """
import os, sys
from pathlib import Path
from dvc.fs import localfs
from dvc_objects.fs.utils import as_atomic
with as_atomic(localfs, sys.argv[1]) as temporary:
    Path(temporary).write_text("half")
    os.kill(os.getpid(), 9)
"""


def killed_write(path, dvcs=False):
    """Kill a process while it writes a file; returns what it leaves."""
    before = set(path.parent.iterdir())
    code = KILLED_DVC if dvcs else KILLED_WRITE
    command = [sys.executable, "-c", code, path]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_temporary_files_of_killed_writes_go_and_other_files_stay(repo, tmp_path):
    cache = tmp_path / ".dvc" / "cache" / "files" / "md5" / "ab"
    cache.mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    model = tmp_path / "models" / "tanh-normal.pkl"
    left = [
        killed_write(model),
        killed_write(model, dvcs=True),
        killed_write(tmp_path / "figures" / "a.png"),
        killed_write(tmp_path / "dvc.lock"),
        killed_write(cache / "cdef", dvcs=True),
    ]
    stay = [model, model.with_name(".notes"), model.with_name(".other-12345678.pkl"), cache / "cd"]
    for path in stay:
        path.write_text("mine")
    clear_unfinished(repo)
    assert [path for path in left if path.exists()] == []
    assert all(path.read_text() == "mine" for path in stay)


@pytest.fixture
def process():
    """Start processes by the name that they show; they end with the test."""
    started = []

    def start(name):
        started.append(subprocess.Popen(["bash", "-c", f"exec -a {name} sleep 60"]))
        time.sleep(0.2)  # for the exec
        return started[-1].pid

    yield start
    for each in started:
        each.kill()
        each.wait()


def hold(repo, pid, path):
    """Write DVC's list of files in use as a process that was killed left it."""
    info = {"pid": pid, "cmd": "dvc repro"}
    held = {"write": {os.fspath(path): info}, "read": {}}
    (Path(repo.tmp_dir) / "rwlock").write_text(json.dumps(held))


def test_a_stage_at_work_keeps_what_it_is_writing(repo, tmp_path, process):
    model = tmp_path / "models" / "tanh-normal.pkl"
    left = killed_write(model)
    hold(repo, process("dvc"), model)
    forget_the_dead(repo)
    clear_unfinished(repo)
    assert left.exists()


@pytest.mark.parametrize("name", ["gone", "another"])
def test_a_number_that_is_gone_or_another_processs_now_blocks_nobody(repo, tmp_path, process, name):
    model = tmp_path / "models" / "tanh-normal.pkl"
    left = killed_write(model)
    hold(repo, 2**22 + 1 if name == "gone" else process("sleep"), model)
    forget_the_dead(repo)
    clear_unfinished(repo)
    assert not left.exists()


@pytest.mark.parametrize("text", ["", '{"write": {"/a": {"pid": 1, "cm', "\0\0\0"])
def test_a_list_of_files_in_use_that_was_cut_off_blocks_nobody(repo, tmp_path, text):
    model = tmp_path / "models" / "tanh-normal.pkl"
    left = killed_write(model)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(text)
    forget_the_dead(repo)
    clear_unfinished(repo)
    assert not left.exists()


def test_only_one_at_a_time_holds_the_pipeline(tmp_path):
    refused = pytest.raises(RetraceError, match="is at work here")
    with alone(tmp_path), refused, alone(tmp_path):
        pytest.fail("both hold it")
    with alone(tmp_path):
        pass


def test_a_killed_process_does_not_hold_the_pipeline(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from mlcore.pipeline.recovery import alone\n"
        "with alone(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert (tmp_path / ".dvc" / "tmp" / "stages.lock").exists()
    with alone(tmp_path):
        pass


def test_only_what_is_damaged_leaves_the_cache_also_of_a_folder(repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make = "mkdir figures; echo 1 > figures/a; echo 2 > figures/b; echo 3 > models/tanh-normal.pkl"
    stages = {"train": {"cmd": make, "outs": ["models/tanh-normal.pkl", "figures"]}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    objects = [p for p in (tmp_path / ".dvc/cache/files").rglob("*") if p.is_file()]
    (damaged,) = (path for path in objects if path.read_text() == "2\n")
    assert drop_damaged(repo, ["train"]) == []
    damaged.chmod(0o644)
    damaged.write_text("0\n")
    damaged.chmod(0o444)
    assert drop_damaged(repo, ["another"]) == []
    (warning,) = drop_damaged(repo, ["train"])
    assert warning == "warning: figures is damaged in DVC's cache and is made again"
    assert [path for path in objects if not path.exists()] == [damaged]
