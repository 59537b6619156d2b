"""Every kind of check finds the fault that it is there for, and CI runs them all."""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_config
import test_pipeline
import test_requirements
import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
CI = ("bash", ".ci/run")
LINT = ("make", "-o", ".venv/ready", "lint")  # -o: the environment is there, whatever its age
COVERAGE = ("make", "-o", ".venv/ready", "coverage", "JOBS=0")

pytestmark = [
    pytest.mark.xdist_group("gates"),  # they share the cache of mypy
    pytest.mark.usefixtures("unmeasured"),
]


# Contracts: the test of each, called on a copy with a fault in it


def test_a_dependency_that_dvc_yaml_does_not_name_is_found(monkeypatch):
    stages = copy.deepcopy(test_pipeline.STAGES)
    stages["fetch"]["deps"].remove("mlcore/data/sources.py")
    monkeypatch.setattr(test_pipeline, "STAGES", stages)
    graph = test_pipeline.grimp.build_graph("mlcore", "stages", cache_dir=None)
    with pytest.raises(AssertionError, match=r"mlcore/data/sources\.py"):
        test_pipeline.test_code_dependencies_are_the_imports(graph, "fetch")


def test_a_number_edited_by_hand_is_found(clone):
    append(clone / "metrics" / "headline.json", "\n")
    with Repo(str(clone)) as repo, pytest.raises(AssertionError, match=r"headline\.json"):
        test_pipeline.test_the_results_in_git_have_the_hashes_that_the_lock_says(repo)


def test_an_edit_of_conf_that_is_not_composed_is_found(clone, monkeypatch):
    path = clone / "conf" / "network" / "study.yaml"
    path.write_text(path.read_text().replace("patience: null ", "patience: 21 "))
    monkeypatch.setattr(test_config, "CONF", clone / "conf")
    with pytest.raises(AssertionError, match="patience: 21"):
        test_config.test_params_yaml_is_what_conf_composes_to()


def test_a_pin_without_a_hash_is_found(clone, monkeypatch):
    append(clone / "requirements.lock", "planted==1.0\n")
    monkeypatch.setattr(test_requirements, "ROOT", clone)
    check = test_requirements.test_the_lock_holds_nothing_but_exact_versions_with_hashes
    with pytest.raises(AssertionError, match="planted"):
        check("requirements.lock")


# Lint, coverage and what checks leave behind: the command, in a copy with a fault in it


def append(path, text):
    with path.open("a") as file:
        file.write(text)


UNTYPED = '\n\ndef planted(x):\n    """Do."""\n    return x\n'
UPWARDS = (
    '\n\ndef planted() -> None:\n    """Do."""\n    import stages.fetch as up\n\n    print(up)\n'
)
LEAVES_BEHIND = "help: planted\nplanted:\n\techo edited >> README.md; touch new\n"


@pytest.fixture
def clone(tmp_path, copy_at):
    """A clone with all changes that are not committed yet, and this environment."""
    root = tmp_path / "clone"
    copy_at(root)
    (root / ".venv").symlink_to(sys.prefix)
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, project_at):
    """Runs a command in a clone; gives its exit code and all that it says."""
    cache = tmp_path_factory.mktemp("cache") / "mypy"
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", cache)

    def run(clone, command, **variables):
        env = project_at.environment(MYPY_CACHE_DIR=str(cache), **variables)
        said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, cwd=clone, env=env, check=False, timeout=300, **said)
        return done.returncode, done.stdout

    return run


FAULTS = {  # what lint finds, each by another program, and what it says
    "stages/fetch.py": (lambda text: text + UNTYPED, "missing a type annotation"),
    "mlcore/errors/__init__.py": (lambda text: text + UPWARDS, "mlcore.errors -> stages.fetch"),
    ".github/workflows/ci.yml":
        (lambda text: re.sub("checkout@[0-9a-f]+", "checkout@v4", text), "unpinned action"),
    ".github/dependabot.yml":
        (lambda text: text.replace("interval", "intervall"), "dependabot.yml::$.updates"),
}  # fmt: skip


@pytest.mark.slow
def test_each_fault_is_found_and_named(clone, run):
    for path, (change, _) in FAULTS.items():
        (clone / path).write_text(change((clone / path).read_text()))
    assert run(clone, LINT)[0] != 0  # ends at the first; -i goes on
    _, said = run(clone, (*LINT, "-i"))
    assert [says for _, says in FAULTS.values() if says not in said] == [], said
    assert said.count("(ignored)") == len(FAULTS)


@pytest.mark.slow
def test_what_checks_leave_behind_is_found_whatever_was_there_before(clone, run):
    append(clone / "README.md", "edited before\n")
    code, said = run(clone, (*CI, "help"))
    assert code == 0, said
    append(clone / "Makefile", LEAVES_BEHIND)
    code, said = run(clone, (*CI, "help"))
    assert code != 0
    expected = "the checks changed or left behind", "?? new", "+edited"
    assert [part for part in expected if part not in said] == [], said


@pytest.mark.slow
def test_what_tests_leave_out_is_counted(clone, run):
    for path in (clone / "tests").rglob("test_*.py"):
        if path.name != "test_statistics.py":
            path.unlink()
    code, said = run(clone, COVERAGE)
    assert code != 0
    assert "% of the branches of mlcore" in said
    assert "error: it should be 95 %" in said


CHECKS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["checks"]
(STEP,) = [s["run"] for s in CHECKS["steps"] if ".ci/run" in str(s)]


def test_the_workflow_checks_all_on_one_python_and_the_fast_part_on_each():
    cells = CHECKS["strategy"]["matrix"]["include"]
    fast = [("lint test", python) for python in ("3.11", "3.12", "3.13")]
    others = [(target, "3.11") for target in ("coverage", "smoke", "verify")]
    assert [(cell["targets"], cell["python"]) for cell in cells] == fast + others


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "targets"),
    [
        (CI, ["coverage", "-j3", "smoke", "verify", "lint"]),
        (("bash", "-c", STEP), ["lint", "test"]),
        (("pre-commit", "run", "--all-files"), ["lint", "contracts"]),
    ],
    ids=["by hand", "workflow", "before a commit"],
)
def test_all_ways_to_check_run_the_targets(tmp_path, clone, run, command, targets):
    notes, script = tmp_path / "targets", tmp_path / "bin" / "make"
    script.parent.mkdir()
    asked = 'test "$1" = --help && exit'  # what this make can do
    variables = {
        "PATH": f"{script.parent}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PRE_COMMIT_HOME": str(tmp_path / "pre-commit"),
        "TARGETS": "lint test",
    }
    stopped = targets if "pre-commit" in command else targets[:1]  # CI stops at a failure
    for end, expected in ((f'test "$1" != {targets[0]}', stopped), ("true", targets)):
        script.write_text(f'#!/bin/sh\n{asked}\necho "$@" >> "{notes}"\n{end}\n')
        script.chmod(0o755)
        notes.write_text("")
        code, said = run(clone, command, **variables)
        assert (code == 0) == (end == "true"), said
        assert notes.read_text().split() == expected
