"""Faults that are really caused, and what a user sees of them: kills, full disks, rights, damage.

RETRACE_KILLS=n kills the whole pipeline n times, too, on a small part of the real data.
"""

import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import psutil
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]

NOBODY = 65534
SMALL = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]"]
TRAIN = ["stages.train_network", *SMALL]
FILES = ["tanh-normal.csv", "tanh-normal.json", "tanh-normal.pkl"]


def errors(result):
    """The lines that a command complained in."""
    assert "Traceback" not in result.stdout + result.stderr
    return [line for line in result.stderr.splitlines() if "error" in line.lower()]


def files(folder):
    """All files of a training that was started by hand, without Hydra's own."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and ".hydra" not in path.parts and path.suffix != ".log"
    )


def recorded(project, query):
    """What the MLflow store answers, asked without MLflow, whose import takes seconds."""
    with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
        return [value for (value,) in store.execute(query)]


def temporary(project):
    """What is being written, by the names that `atomic_path` and DVC give."""
    found = [*project.root.rglob(".*-????????.*"), *project.root.rglob("*.tmp")]
    return [path for path in found if ".dvc/tmp" not in str(path)]


# Kills


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory, project_at):
    """A project with one training in its pipeline, which has run."""
    project = project_at(tmp_path_factory.mktemp("trained") / "project")
    pipeline = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stage = pipeline["stages"]["train_network"]
    stage["matrix"] = {"activation": ["tanh"], "init": ["normal"]}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train_network": stage}}))
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["network"] |= {"max_epochs": 30, "patience": 30, "hidden_layer_sizes": [64, 32]}
    params["tracking"]["backend"] = "none"
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    (project.root / "dvc.lock").unlink()
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    project.run("stages")
    return project.root


@pytest.fixture
def trained(project, trained_once):
    """A copy of it for each test."""
    shutil.rmtree(project.root)
    shutil.copytree(trained_once, project.root)
    return project


MADE = ("models", "history", "metrics/network", ".dvc/cache", "dvc.lock")


def take_away(project, made=MADE):
    """Take away what was made, with all that DVC knows of it."""
    for path in (project.root / name for name in made):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def kill_all(process):
    """Kill a process and all below it."""
    parent = psutil.Process(process.pid)
    for each in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.Error):
            each.suspend()
    below = parent.children(recursive=True)
    for each in [parent, *below]:
        with suppress(psutil.Error):
            each.kill()
    process.wait(30)
    psutil.wait_procs(below, timeout=30)


@pytest.fixture
def begin(start):
    """Starts the pipeline, and returns when it trains."""

    def begin(project):
        process = start(sys.executable, "-m", "stages", of=project)
        below = []
        while process.poll() is None and "stages.train_network" not in below:
            time.sleep(0.02)
            with suppress(psutil.Error):
                children = psutil.Process(process.pid).children(recursive=True)
                below = [part for child in children for part in child.cmdline()]
        return process

    return begin


def killed(project, begin, kills, seconds, made=MADE):
    """Kill the pipeline so often, within so many seconds; then it should end as if undisturbed."""
    lock = (project.root / "dvc.lock").read_bytes()
    take_away(project, made)
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # pytest shows it with a failure
    chance = random.Random(seed)
    for _ in range(kills):
        process = begin(project)
        time.sleep(chance.uniform(0, seconds))
        if process.poll() is None:
            kill_all(process)
    if begin(project).wait():  # DVC's own write was cut off, which the user is told to remove
        take_away(project, ("dvc.lock", ".dvc/tmp/rwlock"))
        assert begin(project).wait() == 0
    assert (project.root / "dvc.lock").read_bytes() == lock
    assert "up to date" in project.run("dvc", "status").stdout


def test_a_training_killed_three_times_ends_as_if_nothing_had_been(trained, begin):
    killed(trained, begin, 3, seconds=2)  # through the imports, the epochs and the writing


@pytest.mark.skipif("RETRACE_KILLS" not in os.environ, reason="it takes minutes for each kill")
def test_the_pipeline_killed_at_random_moments_ends_as_if_nothing_had_been(project, begin):
    made = (*MADE, "data", "mlflow.db", "mlruns")
    project.edit("conf/config.yaml", "experiment: report", "experiment: smoke")
    project.run("mlcore.config")
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    take_away(project, made)
    began = time.monotonic()
    assert begin(project).wait() == 0
    killed(project, begin, int(os.environ["RETRACE_KILLS"]), time.monotonic() - began, made)
    project.sync()
    assert list((project.root / "mlruns" / "pending").iterdir()) == []


MAKE_STORE = """
import sys
from pathlib import Path
from mlcore.tracking.store import Store, default_uri
Store(default_uri(Path(sys.argv[1])), Path(sys.argv[1]))
"""


def test_a_store_whose_making_was_killed_is_made_again(tmp_path):
    """MLflow makes its tables one by one, and does not go on where it was."""
    command = [sys.executable, "-c", MAKE_STORE, tmp_path]
    process = subprocess.Popen(command)
    while process.poll() is None and all(p.stat().st_size < 50_000 for p in tmp_path.glob(".*.db")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    subprocess.run(command, check=True)
    assert (tmp_path / "mlflow.db").exists()


# Two at once


def test_a_second_pipeline_in_the_same_copy_is_refused_in_one_line(trained, begin):
    params = yaml.safe_load((trained.root / "params.yaml").read_text())
    params["network"] |= {"max_epochs": 1_000_000, "patience": 1_000_000}
    (trained.root / "params.yaml").write_text(yaml.safe_dump(params))
    first = begin(trained)
    second = trained.run("stages", check=False)
    assert second.returncode == 1
    at_work = "another `make repro` or `python -m stages` is at work here"
    assert errors(second) == [f"error: {at_work}; wait for it, or end it"]
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130


# A full disk


def with_full(project, name, *arguments):
    """Run a command of the project with a file system of 64 kB of its own at a folder.

    It is seen by the command only, and gone with it; `left` of the result lists what is in it then.
    """
    folder = project.root / name
    folder.mkdir(parents=True, exist_ok=True)
    private = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else []), "sh", "-c"]
    mount = f"mount -t tmpfs -o size=64k none {shlex.quote(str(folder))}"
    if project.execute(*private, mount, check=False).returncode:
        pytest.skip("this user may not mount a small file system to fill")
    command = shlex.join([sys.executable, "-m", *arguments])
    listing = f"find {shlex.quote(str(folder))} -type f | tr '\\n' ' '"
    script = f"{mount} && {command}; code=$?; {listing}; exit $code"
    done = project.execute(*private, script, check=False)
    done.left = done.stdout.splitlines()[-1]
    return done


@pytest.mark.parametrize(
    ("command", "result"),
    [
        # A model of 400 kB
        ([*TRAIN, "network.hidden_layer_sizes=[64]", "tracking=off"], "tanh-normal"),
        (["stages.split_mnist", "mnist.n_samples=100"], "mnist.npz"),
    ],
)
def test_results_for_which_the_disk_has_no_room_are_one_line_and_no_file(
    project, write_idx, command, result
):
    write_idx(project.root / "data" / "raw" / "mnist", 160, 40)
    done = with_full(project, "outputs", *command)
    assert done.returncode == 1
    (line,) = errors(done)
    assert line.startswith(f"error: {command[0]}: ")
    assert "No space left on device" in line
    assert ".hydra" in done.left
    assert result not in done.left


def test_notes_for_which_the_disk_has_no_room_do_not_fail_the_training(project):
    result = with_full(project, "mlruns", *TRAIN, "network.hidden_layer_sizes=[64]")
    assert result.returncode == 0
    (line,) = [line for line in result.stdout.splitlines() if "error:" in line]
    assert "error: Tracker stopped watching: [Errno 28] No space left on device" in line
    assert "tanh-normal.pkl" not in result.left  # half a model, for `make sync` to record
    assert files(project.root / "outputs") == FILES


def test_a_store_for_which_the_disk_has_no_room_does_not_fail_the_training(project):
    uri = f"sqlite:///{project.root}/full/mlflow.db"
    result = with_full(project, "full", *TRAIN, f"tracking.uri={uri}")
    assert result.returncode == 0
    (line,) = [line for line in result.stderr.splitlines() if "warning:" in line]
    assert f"runs are not recorded in {uri}: " in line
    assert "kept in mlruns/pending for `make sync`" in line
    assert "Traceback" not in result.stderr
    assert files(project.root / "outputs") == FILES


def test_a_cache_for_which_the_disk_has_no_room_ends_in_an_error_and_is_made_up_for(trained):
    take_away(trained)
    result = with_full(trained, ".dvc/cache", "stages")
    assert result.returncode != 0
    assert any("No space left on device" in line for line in errors(result))
    assert not (trained.root / "dvc.lock").exists()
    trained.run("stages")
    assert "up to date" in trained.run("dvc", "status").stdout
    assert temporary(trained) == []


# Users and rights


def as_another(project, *arguments):
    """Run a command of the project as a user other than root, who may read all."""
    prefix = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv to become another user with")
        # May read all: pytest's folders, and perhaps the interpreter's, are root's alone
        may = "-all,+dac_read_search"
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        prefix += [f"--inh-caps={may}", f"--ambient-caps={may}"]
    command, home = [*prefix, sys.executable, "-m", *arguments], str(project.root / "home")
    return project.execute(*command, check=False, HOME=home)


def test_a_user_other_than_root_trains_in_a_copy_that_is_theirs(project):
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", project.root], check=True)
    result = as_another(project, *TRAIN)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stdout + result.stderr
    assert files(project.root / "outputs") == FILES
    assert recorded(project, "select status from runs") == ["FINISHED"]


@pytest.fixture
def read_only(project):
    """The project in folders that nobody but root may write to."""
    folders = [project.root, *(path for path in project.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield project
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (TRAIN, "outputs cannot be written to; hydra.run.dir=FOLDER names another folder"),
        (["stages"], "Permission denied: "),
        (["mlcore.sweeps", "sweeps/replicates.yaml", "tracking=off"], "Permission denied: "),
    ],
    ids=["training", "pipeline", "sweep"],
)
def test_a_folder_that_may_not_be_written_to_is_said_in_one_line(read_only, command, message):
    result = as_another(read_only, *command)
    assert result.returncode == 1
    (line,) = errors(result)
    assert message in line


# The clock

CLOCK = """
import os, time
real, real_ns, at = time.time, time.time_ns, float(os.environ["CLOCK_SET_AT"])
time.time = lambda: real() - 3600 * (real() > at)
time.time_ns = lambda: real_ns() - 3600 * 10**9 * (real() > at)
"""


def test_a_clock_set_back_while_it_trains_loses_no_epoch(project, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    long = ["network.max_epochs=200", "network.patience=200"]
    clock = {"PYTHONPATH": str(tmp_path), "CLOCK_SET_AT": str(time.time() + 3)}
    result = project.run(*TRAIN, *long, **clock)
    assert "warning" not in result.stdout + result.stderr
    assert recorded(project, "select status from runs") == ["FINISHED"]
    steps = recorded(project, "select step from metrics where key = 'epoch/val_loss' order by step")
    assert steps == list(range(1, 201))
    assert list((project.root / "mlruns" / "pending").iterdir()) == []
