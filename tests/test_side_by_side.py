"""The pipeline with stages side by side: in order, within its limits, and as `dvc repro` has it."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml

from stages import __main__ as pipeline

GRAPH = {
    "fetch": set(),
    "split": {"fetch"},
    "a": {"split"},
    "b": {"split"},
    "c": {"split"},
    "search": {"split"},
    "evaluate": {"a", "b", "c", "search"},
}


class Log:
    """Stands in for the runner: notes when each stage starts and ends."""

    def __init__(self, failing=()):
        self.failing, self.events, self.running = failing, [], set()
        self.most, self.beside = 0, {}
        self.lock = threading.Lock()

    def repro(self, _, name):
        with self.lock:
            self.running.add(name)
            self.most = max(self.most, len(self.running))
            for other in self.running:
                self.beside.setdefault(other, set()).update(self.running - {other})
            for other in self.running - {name}:
                self.beside[other].add(name)
        time.sleep(0.02)
        with self.lock:
            self.running.discard(name)
            self.events.append(name)
        return int(name in self.failing)

    def stop(self):
        pass


def run(jobs, failing=()):
    log = Log(failing)
    failed = pipeline.run_side_by_side(log, GRAPH, {"search"}, jobs)
    return log, failed


@pytest.mark.parametrize("jobs", [2, 3, 8])
def test_every_stage_runs_once_after_what_it_waits_for(jobs):
    log, failed = run(jobs)
    assert failed == []
    assert sorted(log.events) == sorted(GRAPH)
    for name, upstream in GRAPH.items():
        assert all(log.events.index(u) < log.events.index(name) for u in upstream)
    assert log.most <= jobs


def test_stages_do_run_side_by_side_but_the_search_alone():
    log, _ = run(3)
    assert log.beside["a"] == {"b", "c"}
    assert log.beside["search"] == set()
    assert log.events.index("search") > max(log.events.index(name) for name in "abc")


def test_after_a_failure_nothing_new_starts():
    log, failed = run(2, failing={"a"})
    assert failed == ["a"]
    assert not {"search", "evaluate"} & set(log.events)


def small_pipeline(project, commands):
    """Replace the project's stages by shell commands, each writing one file."""
    stages = {
        name: {"cmd": cmd, "deps": deps, "outs": [name]} for name, (cmd, deps) in commands.items()
    }
    (project.root / "dvc.yaml").write_text(yaml.dump({"stages": stages}))
    (project.root / "dvc.lock").unlink(missing_ok=True)
    project.run("dvc", "config", "--local", "core.no_scm", "true")


def test_the_lock_is_that_of_plain_dvc_repro(project):
    lock = project.root / "dvc.lock"
    small_pipeline(
        project,
        {
            "z": ("echo z > z", ["params.yaml"]),
            "m": ("sleep 1; cat z > m", ["z"]),
            "b": ("cat z > b", ["z"]),
            "a": ("cat m b > a", ["m", "b"]),
        },
    )
    project.run("stages", "--jobs", "3")
    ours = lock.read_text()
    lock.unlink()
    project.run("dvc", "repro", "--force")
    assert ours == lock.read_text()
    again = project.run("stages", "--jobs", "3")
    assert "running" not in again.stdout.lower()


def test_a_failing_stage_is_named_and_ends_with_an_error(project):
    small_pipeline(
        project,
        {
            "good": ("echo 1 > good", ["params.yaml"]),
            "bad": ("echo no >&2; exit 3", ["params.yaml"]),
        },
    )
    result = project.run("stages", "--jobs", "2", check=False)
    assert result.returncode == 1
    assert "error: failed: bad" in result.stderr


def test_wrong_parameters_stop_it_before_any_work(project):
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("patience: 20", "patience: -1"))
    result = project.run("stages", "--jobs", "2", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: params.yaml: network.patience=-1: should be greater than or equal to 1"
    ]
    assert "running" not in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_stages_too(project, number):
    mark = f"sleep 98{os.getpid()}"
    small_pipeline(
        project,
        {name: (f"{mark}; echo > {name}", ["params.yaml"]) for name in ("one", "two")},
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "stages", "--jobs", "2"],
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and count(mark) < 2:
        time.sleep(0.2)
    assert count(mark) >= 2
    process.send_signal(number)
    assert process.wait(60) == 130
    assert count(mark) == 0
    assert not (project.root / "one").exists()


def count(mark):
    """Count the processes whose command line holds `mark`."""
    listing = subprocess.run(
        ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
    )
    return sum(line.startswith(mark) for line in listing.stdout.splitlines())
