"""The pipeline with stages side by side: in order, within its limits, and as `dvc repro` has it."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml
from dvc.repo import Repo
from servers import wait_for

from mlcore.errors import RetraceError
from mlcore.pipeline import side_by_side

GRAPH = {"fetch": set(), "split": {"fetch"}, "a": {"split"}, "b": {"split"}, "c": {"split"},
         "search": {"split"}, "evaluate": {"a", "b", "c", "search"}}  # fmt: skip


class Log:
    """Stands in for DVC: notes when each stage starts and ends."""

    def __init__(self, failing=()):
        self.failing, self.events, self.running = failing, [], set()
        self.beside = {name: set() for name in GRAPH}
        self.most = 0

    async def start(self, name):
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        for other in self.running:
            self.beside[other] |= self.running - {other}
        await asyncio.sleep(0.02)
        self.running.discard(name)
        self.events.append(name)
        return int(name in self.failing)


def run(jobs, failing=()):
    log = Log(failing)
    plan = side_by_side.Plan(GRAPH, {"search"}, sorted(GRAPH))
    failed = asyncio.run(side_by_side.run_side_by_side(plan, jobs, log.start))
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


def test_after_a_failure_nothing_new_starts_and_all_failures_are_named():
    log, failed = run(2, failing={"a", "b"})
    assert sorted(failed) == ["a", "b"]
    assert not {"c", "search", "evaluate"} & set(log.events)


def small_pipeline(project, **stages):
    """Replace the project's stages by shell commands that depend on params.yaml or on what follows.

    Each writes a file of its name.
    """
    content = {name: {"cmd": cmd, "deps": deps or ["params.yaml"], "outs": [name]}
               for name, (cmd, *deps) in stages.items()}  # fmt: skip
    (project.root / "dvc.yaml").write_text(yaml.dump({"stages": content}))
    (project.root / "dvc.lock").unlink()
    without_git(project)


def without_git(project):
    (project.root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")


def test_only_what_was_asked_for_runs_in_the_runners_own_interpreter(project):
    other = project.root / "other"
    other.mkdir()
    (other / "python").write_text("#!/bin/sh\nexit 9\n")
    (other / "python").chmod(0o755)
    small_pipeline(
        project, z=["python -c 1 && echo z > z"], m=("cat z > m", "z"), b=("cat z > b", "z")
    )
    path = f"{other}:{os.environ['PATH']}"
    project.run("stages", "m", "--jobs", "1", "--times", "times.json", PATH=path)
    assert {name for name in "zmb" if (project.root / name).exists()} == {"z", "m"}
    times = json.loads((project.root / "times.json").read_text())
    assert (times["jobs"], set(times["stages"])) == (1, {"z", "m"})
    assert times["total"] >= max(times["stages"].values()) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_lock_is_that_of_plain_dvc_repro(project):
    lock = project.root / "dvc.lock"
    small_pipeline(
        project,
        z=["echo z > z"],
        m=("sleep 1; cat z > m", "z"),
        b=("cat z > b", "z"),
        a=("cat m b > a", "m", "b"),
    )
    project.run("stages", "--jobs", "3")
    ours = lock.read_text()
    lock.unlink()
    project.run("dvc", "repro", "--force")
    assert ours == lock.read_text()
    again = project.run("stages", "--jobs", "3")
    assert "running" not in again.stdout.lower()
    # As a kill leaves it; and of one stage alone DVC puts the entry at the end
    content = yaml.safe_load(ours)
    content["stages"] = dict(reversed(content["stages"].items()))
    for lost in ("none", "m"):
        content["stages"].pop(lost, None)
        lock.write_text(yaml.safe_dump(content, sort_keys=False))
        project.run("stages", "--jobs", "3")
        assert ours == lock.read_text()


NO = "error: dvc.yaml has no stage"
UNREAD = "warning: params.yaml is used, and conf/ composes to something else: `make params` "
WRONG = {  # what is asked for, edits, and the lines that are said
    "near": (["trian_network"], {}, [f"{NO} trian_network; did you mean train_network?"]),
    "cell": (["fit_classifier@rleu"], {}, [f"{NO} fit_classifier@rleu; did you mean fit_classif"]),
    "far": (["n"], {}, [f"{NO} n; there are classify_features, evaluate, extract_features, "]),
    "conf": (["n"], {"conf/network/study.yaml": ("patience: null", "patience: 21")}, [UNREAD, NO]),
    "damaged conf": (
        ["n"], {"conf/network/study.yaml": ("patience: null", "patience: [")},
        ["warning: conf/: while parsing a flow sequence", NO]),
    "jobs": (["--jobs", "0"], {}, ["error: --jobs=0: should be 1 or more"]),
    "value": (
        ["--jobs", "2"], {"params.yaml": ("patience: null", "patience: -1")},
        ["error: params.yaml: network.patience=-1: should be greater than or equal to 1"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*_NoneStep:DeprecationWarning")  # of DVC's own
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_a_line_each_before_any_work(project, case):
    arguments, edits, said = WRONG[case]
    for name, (old, new) in edits.items():
        project.edit(name, old, new)
    without_git(project)
    result = project.call("stages", *arguments, check=False)
    assert result.returncode == 1
    for line, expected in zip(result.stderr.splitlines(), said, strict=True):
        assert line.startswith(expected)
    assert result.stdout == ""


def test_a_lock_in_another_order_is_put_in_order_and_keeps_every_byte_of_its_entries(project):
    lock = project.root / "dvc.lock"
    small_pipeline(project, a=["cat params.yaml > a"], b=("cat a > b", "a"))
    project.run("dvc", "repro")
    ordered = lock.read_text()
    head, first, second = re.split(r"^(?=  [ab]:$)", ordered, flags=re.MULTILINE)
    lock.write_text(head + second + first)
    with contextlib.chdir(project.root), Repo() as repo:
        side_by_side.order_lock(repo, ["a", "b"])
        assert lock.read_text() == ordered
        side_by_side.order_lock(repo, ["b"])  # as after the grid was narrowed
    assert lock.read_text() == head + second + first


def test_a_failing_stage_is_named_and_ends_with_an_error(project):
    small_pipeline(project, good=["echo 1 > good"], bad=["echo no >&2; exit 3"])
    result = project.run("stages", "--jobs", "2", check=False)
    assert result.returncode == 1
    assert "error: failed: bad" in result.stderr


RUNNER = sys.executable, "-m", "stages", "--jobs", "2"
MARK = f"sleep 98{os.getpid()}"
"""The command of a stage that sleeps, in words that no other test's has."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "times", "deaf"),
    [(signal.SIGTERM, 1, ""), (signal.SIGHUP, 1, ""), (signal.SIGINT, 5, "trap '' INT; ")],
)
def test_signals_end_the_stages_too_and_further_ones_do_not_break_that(
    project, start, number, times, deaf
):
    commands = {name: [f"{deaf}{MARK}; {MARK}; echo > {name}"] for name in ("one", "two")}
    small_pipeline(project, **commands)
    process = start(*RUNNER, of=project)
    wait_for(lambda: count(MARK) == 2)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.2)
    assert process.wait(60) == 128 + number
    assert count(MARK) == 0
    assert not (project.root / "one").exists()


@pytest.mark.slow
def test_a_signal_after_a_failure_ends_what_still_runs(project, start):
    failed = project.root / "failed"
    bad = f"sleep 1; touch {shlex.quote(str(failed))}; exit 3"
    small_pipeline(project, bad=[bad], long=[f"{MARK}; echo > long"])
    process = start(*RUNNER, of=project)
    wait_for(lambda: failed.exists() and count(MARK) == 1)
    wait_for(lambda: count(f"{sys.executable} -m dvc --wait-for-lock repro -s bad") == 0)
    time.sleep(0.5)  # for the runner to learn of it
    process.terminate()
    assert process.wait(60) == 143
    assert count(MARK) == 0


@pytest.mark.slow
def test_under_nohup_a_hangup_changes_nothing(project, start):
    small_pipeline(project, **{name: [f"sleep 3; echo > {name}"] for name in ("one", "two")})
    process = start("nohup", *RUNNER, of=project)
    wait_for(lambda: count("sleep 3") >= 1)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert (project.root / "two").exists()


@pytest.mark.slow
def test_an_interrupted_run_leaves_the_committed_lock_and_ends_clean_when_run_again(project, start):
    slow = project.root / "slow"
    small_pipeline(
        project,
        a=["echo a > a"],
        b=(f"test -e slow && {MARK}; cat a > b", "a", "more"),
        c=("cat a > c", "a"),
    )
    (project.root / "more").write_text("1")
    project.run("stages", "--jobs", "2")
    committed = (project.root / "dvc.lock").read_text()
    (project.root / "more").write_text("2")
    slow.touch()
    process = start(*RUNNER, of=project)
    wait_for(lambda: count(MARK) == 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert (project.root / "dvc.lock").read_text() == committed
    slow.unlink()
    (project.root / "more").write_text("1")
    project.run("stages", "--jobs", "2")
    assert (project.root / "dvc.lock").read_text() == committed
    assert (project.root / "b").read_text() == "a\n"


def test_the_number_of_jobs_heeds_the_cores_that_the_process_may_use(project):
    result = project.call("stages", "--help", LOKY_MAX_CPU_COUNT="1", COLUMNS="200")
    assert "may use: 1)" in result.stdout


def count(mark):
    """Count the processes whose command line holds `mark`."""
    listing = subprocess.check_output(["ps", "axww", "-o", "args"], text=True)
    return sum(line.startswith(mark) for line in listing.splitlines())


def test_only_one_at_a_time_holds_the_pipeline(tmp_path):
    lock, refused = tmp_path / "new" / "lock", pytest.raises(RetraceError, match="is at work here")
    with side_by_side.alone(lock, ""), refused, side_by_side.alone(lock, "it is at work here"):
        pytest.fail("both hold it")
    with side_by_side.alone(lock, ""):
        pass
