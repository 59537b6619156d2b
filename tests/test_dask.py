"""Sweeps and the search on a Dask cluster: a scheduler and two workers, started as by hand."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from servers import wait_for

from mlcore.app import INTERRUPTED

SMALL = ["network.hidden_layer_sizes=[8,6]", "network.max_epochs=2"]
STAGE = ["stages.train_network", "-m"]
OFF = "tracking=off"
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
LONG = ["network.hidden_layer_sizes=[8,6]", "network.batch_size=4", "network.patience=1000000"]
SEARCH = ["search.solver=[adam]", "search.learning_rate=[0.01]", "search.batch_size=[32,64]",
          "search.max_epochs=2"]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unmeasured"),
    pytest.mark.xdist_group("dask"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of Dask's own connections
]

# Nobody else reaches what is started here
HERE = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]

# Has a worker not see the checkout of the command
BLIND = """
from pathlib import Path

def blind(see):
    return lambda path: ".seen-" not in str(path) and see(path)

Path.exists = blind(Path.exists)
"""


class Cluster:
    """A scheduler, and workers in a checkout."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.returncode is None:
                kill(process)

    def start(self, project, *arguments):
        command = [sys.executable, "-m", "dask", *arguments, *HERE]
        env = project.environment(COVERAGE_PROCESS_CONFIG="")  # it outlives a test
        with (self.folder / f"{len(self.processes)}.log").open("w") as log:
            where = {"cwd": project.root, "env": env, "stdout": log, "stderr": log}
            process = subprocess.Popen(command, **where, start_new_session=True)
        self.processes.append(process)
        return process

    def scheduler(self, project):
        file = self.folder / "scheduler.json"
        self.start(project, "scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_for(file.exists)
        self.address = json.loads(file.read_text())["address"]

    def worker(self, project, *arguments):
        options = ["--nthreads", "1", "--local-directory", str(self.folder), *arguments]
        process = self.start(project, "worker", self.address, *options)
        log, n_workers = self.folder / "0.log", len(self.processes) - 1
        wait_for(lambda: log.read_text().count("Register worker") == n_workers)
        return process


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def home(project_at, tmp_path_factory):
    return project_at(tmp_path_factory.mktemp("home") / "project")


@pytest.fixture(scope="module")
def cluster(home, tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.scheduler(home)
        cluster.worker(home)
        cluster.worker(home)
        yield cluster


def on(cluster, folder):
    address = f"hydra.launcher.address={cluster.address}"
    return ["hydra/launcher=dask", address, f"hydra.sweep.dir={folder}"]


def results(folder):
    """The files of a sweep's jobs, without what says when they were made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("[0-9]/*/**/*.*")
        if path.parent.name != ".hydra"
    }


def write_sweeps(project):
    sweeps = {
        "networks": {"stages": ["train_network"], "overrides": SMALL},
        "search": {"stages": ["search_classifier"], "overrides": SEARCH},
    }
    file = {"table": "metrics/t.csv", "curves": "metrics/curves.csv", "sweeps": sweeps}
    (project.root / "s.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")


def test_a_sweep_on_a_cluster_gives_the_bytes_of_one_here(home, cluster):
    sweep = [*SMALL, OFF, "network.activation=relu,tanh"]
    home.call(*STAGE, *sweep, "hydra.sweep.dir=here/a")
    assert "2 of 2" in home.run(*STAGE, *sweep, *on(cluster, "there/a")).stdout
    assert len(results(home.root / "here/a")) == 6
    assert results(home.root / "here/a") == results(home.root / "there/a")


@pytest.mark.usefixtures("up_to_date")
def test_replicates_and_the_search_on_a_cluster_give_the_bytes_of_those_here(home, cluster):
    tables = [home.root / "metrics" / name for name in ("t.csv", "curves.csv")]
    written = []
    write_sweeps(home)
    for options in (["--jobs", "1"], ["--address", cluster.address]):
        home.call("mlcore.sweeps", "s.yaml", "--seeds", "2", OFF, *options)
        written.append([table.read_bytes() for table in tables])
        for table in tables:
            table.unlink()
    assert written[0] == written[1]

    for name, address in (("here", {}), ("there", {"RETRACE_DASK_ADDRESS": cluster.address})):
        folder = f"hydra.run.dir=search/{name}"
        home.run("stages.search_classifier", *SEARCH, OFF, folder, **address)
    for path in ("models/search/best.npz", "metrics/search.csv", "metrics/search/best.json"):
        here, there = (home.root / "search" / name / path for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    assert not any("Traceback" in (cluster.folder / f"{n}.log").read_text() for n in (1, 2))


def test_a_job_whose_worker_is_killed_runs_again(home, cluster, start):
    sweep = [*LONG, OFF, "network.max_epochs=150", "network.seed=1,2"]
    there = [*STAGE, *sweep, *on(cluster, "killed/a")]
    process = start(sys.executable, "-m", *there, of=home, **PIPES)
    logs = [home.root / f"killed/a/{n}/train_network.log" for n in (0, 1)]
    wait_for(lambda: all("epoch 15 of" in log.read_text() for log in logs))
    nanny = psutil.Process(cluster.processes[1].pid)
    (worker,) = (p for p in nanny.children() if "spawn_main" in " ".join(p.cmdline()))
    worker.kill()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert sorted(log.read_text().count("started") for log in logs) == [1, 2]
    home.call(*STAGE, *sweep, "hydra.sweep.dir=killed-not/a")
    assert results(home.root / "killed/a") == results(home.root / "killed-not/a")


def test_a_job_that_fails_is_named_and_the_others_finish(home, cluster):
    rates = "network.learning_rate=0.1,1e30,0.2"
    failed = home.run(*STAGE, *SMALL, OFF, rates, *on(cluster, "failed/a"), check=False)
    assert failed.returncode == 1
    named, summary = failed.stderr.splitlines()
    assert named.startswith("failed: ")
    assert "network.learning_rate=1e+30: stages.train_network: training diverged" in named
    assert summary == "error: 1 of 3 jobs failed, as said above"
    assert len(list((home.root / "failed/a").glob("[0-9]/models"))) == 2


@pytest.mark.parametrize(("where", "epochs"), [("here", 10_000_000), ("there", 1500)])
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process_at_work(
    where, epochs, home, cluster, start
):
    """Workers of another command's finish what they are at."""
    sweep = [*LONG, OFF, f"network.max_epochs=1,{epochs},{epochs + 1}"]
    local = ["hydra/launcher=dask", "hydra.launcher.n_workers=2"]
    options = on(cluster, "stopped/there") if where == "there" else local
    folder = home.root / "stopped" / where
    command = [*STAGE, *sweep, *options, f"hydra.sweep.dir={folder}"]
    process = start(sys.executable, "-m", *command, of=home, **PIPES)
    long = [folder / "1" / "train_network.log", folder / "2" / "train_network.log"]
    wait_for(lambda: all("started" in log.read_text() for log in long))
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (where == "here")
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert errors == f"{INTERRUPTED}\n"
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert (folder / "0" / "models").exists()


@pytest.mark.usefixtures("up_to_date")
def test_a_cluster_that_does_not_fit_is_refused_in_one_line(
    project, project_at, tmp_path, monkeypatch
):
    other = project_at(tmp_path / "other")  # in which every fit of the search has another result
    other.edit("mlcore/training/search.py", "float(model.score(X[test], y[test]))", "0.123")
    write_sweeps(project)
    monkeypatch.setattr("mlcore.sweeps.cluster.JOINING", 1)

    def a_sweep():
        sweep = ["mlcore.sweeps", "s.yaml", OFF, "--address", cluster.address]
        return project.call(*sweep, check=False)

    def a_search():
        search = ["stages.search_classifier", *SEARCH, OFF, "hydra.run.dir=a/b"]
        return project.run(*search, check=False, RETRACE_DASK_ADDRESS=cluster.address)

    def a_multirun():
        return project.run(*STAGE, *SMALL, OFF, *on(cluster, "there/a"), check=False)

    def refused(*ways):
        said = [way() for way in ways]
        assert {done.returncode for done in said} == {1}
        (line,) = {done.stderr for done in said}
        assert line.count("\n") == 1
        return line

    with Cluster(tmp_path) as cluster:
        cluster.address = "tcp://127.0.0.1:1"
        with monkeypatch.context() as patience:
            patience.setattr("mlcore.sweeps.cluster.ANSWERING", 1)
            silent = f"error: no Dask scheduler answers at {cluster.address}; "
            assert refused(a_sweep).startswith(silent)
        cluster.scheduler(project)
        none = f"error: the scheduler at {cluster.address} has no worker; "
        assert refused(a_sweep).startswith(none)
        foreign = cluster.worker(other)
        told = refused(a_sweep, a_search, a_multirun)
        assert f" runs other code than {project.root}; start it again" in told
        kill(foreign)
        (tmp_path / "blind.py").write_text(BLIND)
        cluster.worker(project, "--preload", str(tmp_path / "blind.py"))
        assert f" does not see {project.root}: it should be shared" in refused(a_sweep)
    assert not (project.root / "metrics" / "t.csv").exists()
    assert not (project.root / "a/b/metrics").exists()
    assert not list(project.root.glob("there/a/*/models"))
