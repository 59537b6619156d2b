"""Sweeps and the search on a Dask cluster: a scheduler and two workers, started as by hand."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import yaml

from mlcore.app import INTERRUPTED
from mlcore.config import compose
from mlcore.sweeps import finished
from mlcore.sweeps.cluster import _renew, pack, unpack

SMALL = ["network.hidden_layer_sizes=[8,6]", "network.max_epochs=2"]
STAGE = ["stages.train_network", "-m"]
OFF = "tracking=off"
# A few seconds, and for ever
LONG = ["network.hidden_layer_sizes=[8,6]", "network.batch_size=4", "network.patience=1000000"]
ENDLESS = 10_000_000

pytestmark = pytest.mark.xdist_group("dask")

# Nobody else reaches what is started here
HERE = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]

# Has a worker take the checkout of the command for one on another machine
FAR = """
from pathlib import Path

def blind(see):
    return lambda path: not str(path).startswith({near!r}) and see(path)

Path.exists, Path.is_dir = blind(Path.exists), blind(Path.is_dir)
"""


def until(condition, process, seconds=90):
    """Wait until something holds, while a process lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail("\n".join(map(str, [condition, process.returncode, process.communicate()])))
        time.sleep(0.05)


class Cluster:
    """A scheduler, and workers in a checkout."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self, project, *arguments):
        name = self.folder / f"{len(self.processes)}.log"
        with name.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, *HERE],
                cwd=project.root,
                env=project.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def scheduler(self, project):
        file = self.folder / "scheduler.json"
        process = self.start(project, "scheduler", "--port", "0", "--scheduler-file", str(file))
        until(file.exists, process)
        self.address = json.loads(file.read_text())["address"]

    def worker(self, project, *arguments):
        options = ["--nthreads", "1", "--local-directory", str(self.folder), *arguments]
        process = self.start(project, "worker", self.address, *options)
        log, n_workers = self.folder / "0.log", len(self.processes) - 1
        until(lambda: log.read_text().count("Register worker") == n_workers, process)

    def end(self):
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def home(project_at, tmp_path_factory):
    return project_at(tmp_path_factory.mktemp("home") / "project")


@pytest.fixture(scope="module")
def cluster(home, tmp_path_factory):
    """Two workers that see the folders of the command."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.scheduler(home)
        cluster.worker(home)
        cluster.worker(home)
        yield cluster
    finally:
        cluster.end()


def on(cluster, folder):
    return [
        "hydra/launcher=dask",
        f"hydra.launcher.address={cluster.address}",
        f"hydra.sweep.dir={folder}",
    ]


def results(folder):
    """The files of a sweep's jobs, without what says when they were made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("[0-9]/*/**/*.*")
        if path.parent.name != ".hydra"
    }


def start(project, *arguments):
    """Start a command as a terminal does, whose Ctrl-C goes to all processes of it."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_sweep_on_a_cluster_gives_the_bytes_of_one_here_and_runs_once(home, cluster):
    sweep = [*SMALL, OFF, "network.activation=relu,tanh"]
    home.run(*STAGE, *sweep, "hydra.sweep.dir=here/a")
    first = home.run(*STAGE, *sweep, *on(cluster, "there/a"))
    assert "2 of 2" in first.stdout
    assert len(results(home.root / "here/a")) == 6
    assert results(home.root / "here/a") == results(home.root / "there/a")

    more = home.run(*STAGE, *sweep[:-1], "network.activation=relu,sigmoid", *on(cluster, "there/b"))
    assert f"skipped, its results are in {home.root}/there/a/0" in more.stdout
    assert "1 of 1" in more.stdout
    assert not (home.root / "there/b/0").exists()
    basic = home.run(*STAGE, *sweep, "hydra.sweep.dir=there/c")
    assert basic.stdout.count("skipped") == 2
    forced = home.run(*STAGE, *sweep, "hydra.sweep.dir=there/d", RETRACE_FORCE="1")
    assert "skipped" not in forced.stdout


def test_what_a_job_comes_from_decides_whether_it_is_finished(project):
    def found(*overrides):
        digest = finished.digest_of(
            "stages.classify_features", compose(project.root / "conf", overrides), project.root
        )
        return finished.find(digest, project.root / "sweeps-of-ours" / "later" / "0"), digest

    for activation in ("relu", "identity"):
        features = project.root / "data" / "features" / f"{activation}.npz"
        features.parent.mkdir(exist_ok=True)
        np.savez(features, X=np.zeros(3))
    nothing, digest = found()
    assert nothing is None
    job = project.root / "sweeps-of-ours" / "first" / "0"
    (job / "models").mkdir(parents=True)
    (job / "models" / "m.npz").touch()
    finished.note(digest, job)
    assert found("classifier.max_epochs=3")[0] == job
    assert found("feature_classifier.max_epochs=3")[0] is None
    assert found("autoencoder.activation=identity")[0] is None
    np.savez(project.root / "data" / "features" / "relu.npz", X=np.ones(3))
    assert found()[0] is None
    np.savez(project.root / "data" / "features" / "relu.npz", X=np.zeros(3))
    assert found()[0] == job
    # Beside the jobs of its own sweep, which are about to be written
    assert finished.find(digest, job.parent / "1") is None
    assert finished.find(digest, job) == job
    (job / "models" / "m.npz").unlink()
    assert found()[0] is None
    finished.begin(job)
    assert not (job / finished.NOTE).exists()


def test_a_job_whose_worker_is_killed_runs_again(home, cluster):
    sweep = [*LONG, OFF, "network.max_epochs=150", "network.seed=1,2"]
    process = start(home, *STAGE, *sweep, *on(cluster, "killed/a"))
    logs = [home.root / f"killed/a/{n}/train_network.log" for n in (0, 1)]
    until(lambda: all(log.exists() and "epoch 15 of" in log.read_text() for log in logs), process)
    nanny = psutil.Process(cluster.processes[1].pid)
    (worker,) = (p for p in nanny.children() if "spawn_main" in " ".join(p.cmdline()))
    worker.kill()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert sorted(log.read_text().count("started") for log in logs) == [1, 2]
    home.run(*STAGE, *sweep, "hydra/launcher=joblib", "hydra.sweep.dir=killed-not/a")
    assert results(home.root / "killed/a") == results(home.root / "killed-not/a")


def test_a_job_that_fails_is_named_and_the_others_finish(home, cluster):
    rates = "network.learning_rate=0.1,1e30,0.2"
    failed = home.run(*STAGE, *SMALL, OFF, rates, *on(cluster, "failed/a"), check=False)
    assert failed.returncode == 1
    named, summary = failed.stderr.splitlines()
    assert named.startswith("failed: ")
    assert "network.learning_rate=1e+30: stages.train_network: training diverged" in named
    assert summary == "error: 1 of 3 jobs failed, as said above"
    assert len(list((home.root / "failed/a").glob(f"[0-9]/{finished.NOTE}"))) == 2


@pytest.mark.parametrize(("where", "seed"), [("here", 3), ("there", 5)])
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process_at_work(where, seed, home, cluster):
    sweep = [*LONG, OFF, f"network.seed={seed}", f"network.max_epochs=1,{ENDLESS},{ENDLESS + 1}"]
    local = ["hydra/launcher=dask", "hydra.launcher.n_workers=2"]
    options = on(cluster, "stopped/there") if where == "there" else local
    folder = home.root / "stopped" / where
    process = start(home, *STAGE, *sweep, *options, f"hydra.sweep.dir={folder}")
    endless = [folder / "1" / "train_network.log", folder / "2" / "train_network.log"]
    until(lambda: all(log.exists() and "started" in log.read_text() for log in endless), process)
    until((folder / "0" / finished.NOTE).exists, process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (where == "here")
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert errors == f"{INTERRUPTED}\n"
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    if where == "there":  # the workers are free again
        quick = ["network.seed=4", "network.max_epochs=1"]
        home.run(*STAGE, *LONG, OFF, *quick, *on(cluster, "stopped-then/a"))
    again = home.run(*STAGE, *sweep[:-1], "network.max_epochs=1", "hydra.sweep.dir=stopped/again")
    assert f"skipped, its results are in {folder}/0" in again.stdout


def test_replicates_and_the_search_on_a_cluster_give_the_bytes_of_those_here(home, cluster):
    search = [
        "search.solver=[adam]",
        "search.learning_rate=[0.01]",
        "search.batch_size=[32,64]",
        "search.max_epochs=2",
    ]
    file = {
        "table": "metrics/t.csv",
        "curves": "metrics/curves.csv",
        "sweeps": {
            "networks": {"stages": ["train_network"], "overrides": SMALL},
            "search": {"stages": ["search_classifier"], "overrides": search},
        },
    }
    tables = [home.root / "metrics" / name for name in ("t.csv", "curves.csv")]
    written = []
    (home.root / "s.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    for options in ([], ["--address", cluster.address]):
        home.run("stages.sweep", "s.yaml", "--seeds", "2", OFF, *options)
        written.append([table.read_bytes() for table in tables])
        for table in tables:
            table.unlink()
    assert written[0] == written[1]

    for name, address in (("here", {}), ("there", {"RETRACE_DASK_ADDRESS": cluster.address})):
        home.run(
            "stages.search_classifier", *search, OFF, f"hydra.run.dir=search/{name}", **address
        )
    for path in ("models/search/best.npz", "metrics/search.csv", "metrics/search/best.json"):
        here, there = (home.root / "search" / name / path for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    logs = [(cluster.folder / f"{n}.log").read_text() for n in (1, 2)]
    assert not any("Traceback" in log for log in logs)


def test_workers_of_another_machine_send_their_files_and_what_they_tracked(
    project, project_at, tmp_path
):
    """And a worker whose code is another says so."""
    far = project_at(tmp_path / "far")
    for name in ("mnist", "fashion_mnist"):
        data = project.root / "data" / f"{name}.npz"
        (far.root / "data" / f"{name}.npz").write_bytes(data.read_bytes())
    (tmp_path / "blind.py").write_text(FAR.format(near=str(project.root)))
    cluster = Cluster(tmp_path)
    try:
        cluster.scheduler(far)
        cluster.worker(far, "--preload", str(tmp_path / "blind.py"))
        sweep = [*STAGE, *SMALL, "network.activation=relu,tanh"]
        project.run(*sweep, *on(cluster, "there/a"))
        project.run(*sweep, OFF, "hydra.sweep.dir=here/a")
        assert results(project.root / "here/a") == results(project.root / "there/a")
        assert list((far.root / "there").iterdir()) == []
        with sqlite3.connect(project.root / "mlflow.db") as store:
            runs = store.execute("select status from runs").fetchall()
        assert runs == [("FINISHED",)] * 3  # two jobs, and the sweep's own run

        networks = {"stages": ["train_network"], "overrides": SMALL}
        file = {"table": "metrics/t.csv", "sweeps": {"networks": networks}}
        (project.root / "s.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
        project.run("stages.sweep", "s.yaml", OFF, "--address", cluster.address)
        assert (project.root / "metrics" / "t.csv").exists()

        code = far.root / "mlcore" / "nn" / "losses.py"
        code.write_text(code.read_text() + "\n")
        other = project.run(*sweep, "seed=7", OFF, *on(cluster, "there/b"), check=False)
        assert other.returncode == 1
        assert other.stderr.count("on the worker are not those of this checkout") == 2
    finally:
        cluster.end()


def test_workers_that_have_imported_old_code_are_started_anew(project, tmp_path):
    cluster = Cluster(tmp_path)
    sweep = [*STAGE, *SMALL, OFF, "network.activation=relu"]
    try:
        cluster.scheduler(project)
        cluster.worker(project)
        project.run(*sweep, *on(cluster, "there/a"))
        code = project.root / "mlcore" / "nn" / "losses.py"
        half = code.read_text().replace("scores /= len(labels)", "scores /= 2 * len(labels)")
        code.write_text(half)
        project.run(*sweep, *on(cluster, "there/b"))
    finally:
        cluster.end()
    project.run(*sweep, "hydra.sweep.dir=here/b", RETRACE_FORCE="1")
    now = results(project.root / "here/b")
    assert results(project.root / "there/b") == now
    assert results(project.root / "there/a") != now


def test_workers_at_work_or_without_a_nanny_are_not_started_anew(caplog):
    restarted = []
    client = SimpleNamespace(
        run=lambda function: {"idle": True, "busy": True, "alone": True, "new": False},
        processing=lambda: {"idle": (), "busy": ("a job of another command",), "alone": ()},
        scheduler_info=lambda n_workers: {
            "workers": {"idle": {"nanny": "n"}, "busy": {"nanny": "n"}, "alone": {"nanny": None}}
        },
        restart_workers=lambda workers, timeout: restarted.extend(workers),
    )
    _renew(client)
    assert restarted == ["idle"]
    assert "workers have old code and refuse jobs" in caplog.text


MEANWHILE = """
from mlcore.app import ROOT, Task
from mlcore.config import compose
from mlcore.errors import RetraceError
from mlcore.sweeps.finished import NOTE

ran = []

def run(config, workspace):
    ran.append(workspace.out.name)
    if ran == ["0", "1"]:
        with (ROOT / "mlcore" / "nn" / "losses.py").open("a") as file:
            file.write("# changed")

for name in ("0", "1", "2"):
    out = ROOT / "sweeps-of-ours" / "a" / name
    (out / NOTE).parent.mkdir(parents=True)
    (out / NOTE).write_text("of an earlier sweep")
    try:
        config = compose(ROOT / "conf", [f"seed={name}"])
        Task(run, "stages.train_network")(config, out, "sweep", [])
    except RetraceError as problem:
        print(name, problem)
print(ran)
"""


def test_jobs_after_a_change_of_code_do_not_count_as_finished(project):
    """Neither the one during which it changed nor those that the same process would run."""
    (project.root / "meanwhile.py").write_text(MEANWHILE)
    said = project.run("meanwhile").stdout.splitlines()
    changed = "mlcore/nn/losses.py has changed since this process was started"
    assert said == [f"1 {changed}", f"2 {changed}", "['0', '1']"]
    notes = [project.root / "sweeps-of-ours" / "a" / name / finished.NOTE for name in "012"]
    assert "digest" in notes[0].read_text()
    assert not notes[1].exists()
    assert notes[2].read_text() == "of an earlier sweep"  # nothing was overwritten


def test_files_that_come_home_are_there_as_a_whole_or_not_at_all(tmp_path):
    out = tmp_path / "jobs" / "0"
    unpack({".hydra/a": b"1", "models/m": b"2"}, out)
    assert pack(out) == {".hydra/a": b"1", "models/m": b"2"}
    with pytest.raises(OSError, match="name too long"):
        unpack({".hydra/a": b"3", "m" * 300: b"4"}, out)
    assert pack(out) == {".hydra/a": b"1", "models/m": b"2"}
    unpack({"models/n": b"5"}, out)
    assert pack(out.parent) == {"0/models/n": b"5"}


def test_an_address_without_a_scheduler_or_workers_is_one_clear_line(project, tmp_path):
    arguments = [*STAGE, *SMALL, OFF, "hydra/launcher=dask"]
    began = time.monotonic()
    wrong = project.run(*arguments, "hydra.launcher.address=tcp://127.0.0.1:1", check=False)
    assert time.monotonic() - began < 20
    cluster = Cluster(tmp_path)
    try:
        cluster.scheduler(project)
        empty = project.run(*arguments, check=False, RETRACE_DASK_ADDRESS=cluster.address)
    finally:
        cluster.end()
    for result, message in (
        (wrong, "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (empty, f"the scheduler at {cluster.address} has no worker"),
    ):
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {message}")
        assert len(result.stderr.splitlines()) == 1
