"""What killed writes leave is put right; what a command that is at work has stays."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from mlcore.errors import RetraceError
from mlcore.pipeline.recovery import alone, clear_unfinished


@pytest.fixture
def repo(tmp_path):
    stages = {"train": {"cmd": "echo", "outs": ["models/tanh-normal.pkl", "figures"]}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "models").mkdir()
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        yield repo


KILLED_WRITE = """
import os, sys
from pathlib import Path
from dvc.fs import localfs
from dvc_objects.fs.utils import as_atomic
from mlcore.files import atomic_path
path, dvcs = sys.argv[1:]
with as_atomic(localfs, path) if dvcs else atomic_path(Path(path)) as temporary:
    Path(temporary).write_text("half")
    os.kill(os.getpid(), 9)
"""


def killed_write(path, dvcs=False):
    """Kill a process while it writes a file; returns what it leaves."""
    before = set(path.parent.iterdir())
    command = [sys.executable, "-c", KILLED_WRITE, path, "dvc" if dvcs else ""]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = set(path.parent.iterdir()) - before
    return left


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("at_work", [True, False])
def test_a_stage_at_work_keeps_what_it_is_writing_and_a_dead_one_does_not(repo, tmp_path, at_work):
    model = tmp_path / "models" / "tanh-normal.pkl"
    left = killed_write(model)
    by = {"pid": os.getppid() if at_work else 2**22 + 1, "cmd": "dvc repro"}
    held = {"write": {os.fspath(model): by}, "read": {}}  # DVC's list of files in use
    (Path(repo.tmp_dir) / "rwlock").write_text(json.dumps(held))
    clear_unfinished(repo)
    assert left.exists() == at_work


def test_only_one_at_a_time_holds_the_pipeline(tmp_path):
    refused = pytest.raises(RetraceError, match="is at work here")
    with alone(tmp_path), refused, alone(tmp_path):
        pytest.fail("both hold it")
    with alone(tmp_path):
        pass
