"""Every check of CI finds the fault that it is there for, and passes without it."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CI = ("bash", ".ci/run")
LINT = ("make", "-o", ".venv/ready", "lint")  # -o: the environment is there, whatever its age
HELP = (*CI, "help")

pytestmark = [
    pytest.mark.xdist_group("gates"),  # they share the cache of mypy
    pytest.mark.usefixtures("unmeasured"),
]


def contract(*tests):
    return ("python", "-m", "pytest", *(f"tests/test_{test}" for test in tests))


PARAMS = contract("config.py::test_params_yaml_is_what_conf_composes_to")
LOCK = contract("pipeline.py::test_the_lock_fits_code_and_parameters")
DEPS = contract("pipeline.py::test_code_dependencies_are_the_imports")
NUMERIC = contract(
    "pipeline.py::test_what_computes_depends_on_the_versions_of_what_it_computes_with"
)
RESULTS = contract("pipeline.py::test_the_results_in_git_have_the_hashes_that_the_lock_says")
STRAYS = contract("pipeline.py::test_every_file_of_metrics_is_made_or_read_by_a_stage")
REQUIREMENTS = contract("requirements.py")
WARNINGS = contract("statistics.py")
ORDER = contract("planted.py")
COVERAGE = ("make", "-o", ".venv/ready", "coverage", "JOBS=1")


def append(name, text):
    def plant(copy):
        with (copy / name).open("a") as file:
            file.write(text)

    return plant


def replace(name, old, new):
    def plant(copy):
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1))

    return plant


def delete(name):
    return lambda copy: (copy / name).unlink()


def delete_tests_but(*kept):
    def plant(copy):
        for path in (copy / "tests").rglob("test_*.py"):
            if path.name not in kept:
                path.unlink()

    return plant


IN_ORDER = """
import pytest

before = []


@pytest.mark.parametrize("number", range(10))
def test_planted(number):
    assert before == list(range(number))
    before.append(number)
"""


def import_of(module):
    return f'''

def planted() -> None:
    """Import what must not be imported here."""
    import {module}

    print({module})
'''


class Fault(NamedTuple):
    plant: object
    command: tuple
    says: tuple


FAULTS = {
    "format": Fault(
        append("mlcore/errors.py", "PLANTED = {  }\n"),
        LINT,
        ("would be reformatted", "mlcore/errors.py"),
    ),
    "style": Fault(
        replace("mlcore/files.py", "\nimport ", "\nimport colorsys\nimport "),
        LINT,
        ("F401", "colorsys", "mlcore/files.py"),
    ),
    "a type that only strict mode asks for": Fault(
        append("stages/fetch.py", '\n\ndef planted(x):\n    """Give it back."""\n    return x\n'),
        LINT,
        ("stages/fetch.py", "missing a type annotation"),
    ),
    "the network imports files": Fault(
        append("mlcore/nn/losses.py", import_of("mlcore.files")),
        contract("pipeline.py::test_the_network_imports_nothing_else_of_the_project"),
        ("mlcore.files",),
    ),
    "the network draws": Fault(
        append("mlcore/nn/losses.py", import_of("matplotlib")),
        LINT,
        ("The network knows nothing of configuration, plots", "mlcore.nn.losses -> matplotlib"),
    ),
    "a stage imports another": Fault(
        append("stages/fetch.py", import_of("stages.report")),
        LINT,
        ("Stages do not import each other", "stages.fetch -> stages.report"),
    ),
    "the library imports a stage": Fault(
        append("mlcore/errors.py", import_of("stages.fetch")),
        LINT,
        ("The library does not know the stages", "mlcore.errors -> stages.fetch"),
    ),
    "conf/ edited, params.yaml not composed": Fault(
        replace("conf/network/study.yaml", "patience: 20 ", "patience: 21 "),
        PARAMS,
        ("run `make params`", "patience: 21"),
    ),
    "code edited, results not computed again": Fault(
        append("mlcore/training/run.py", "# planted\n"),
        LOCK,
        ("run `make repro`", "fit_classifier@tanh"),
    ),
    "parameter edited, results not computed again": Fault(
        replace("params.yaml", "patience: 20", "patience: 21"),
        LOCK,
        ("run `make repro`", "train_network@tanh-normal"),
    ),
    "a dependency that dvc.yaml does not name": Fault(
        append("stages/fetch.py", import_of("mlcore.judging.study")),
        DEPS,
        ("test_code_dependencies_are_the_imports[fetch]", "mlcore/judging/study.py"),
    ),
    "a dependency on numeric versions that dvc.yaml does not name": Fault(
        append("mlcore/data/sources.py", import_of("numpy")),
        NUMERIC,
        ("with[fetch]",),
    ),
    "a figure edited by hand": Fault(
        append("metrics/headline.json", "\n"),
        RESULTS,
        ("metrics/headline.json", "modified"),
    ),
    "a picture edited by hand": Fault(
        append("metrics/figures/heatmap.png", "\n"),
        RESULTS,
        ("metrics/figures", "modified"),
    ),
    "a result that is missing": Fault(
        delete("metrics/network/tanh-normal.json"),
        RESULTS,
        ("metrics/network/tanh-normal.json", "deleted"),
    ),
    "a result that no stage makes": Fault(
        append("metrics/planted.json", "{}\n"),
        STRAYS,
        ("metrics/planted.json",),
    ),
    "a requirement that is not pinned": Fault(
        append("requirements.in", "planted>=1\n"),
        REQUIREMENTS,
        ("run `make lock`", "requirements.in needs planted>=1"),
    ),
    "a pin that is too old": Fault(
        append("requirements.in", "numpy>=1000\n"),
        REQUIREMENTS,
        ("run `make lock`", "requirements.in needs numpy>=1000"),
    ),
    "a requirement removed, its pin not": Fault(
        replace("requirements.in", "\npytest-xdist>=", "\n# pytest-xdist>="),
        REQUIREMENTS,
        ("run `make lock`", "pytest-xdist"),
    ),
    "a pin without hashes": Fault(
        append("requirements.lock", "planted==1.0\n"),
        REQUIREMENTS,
        ("run `make lock`", "'planted==1.0'"),
    ),
    "an index in the lock": Fault(
        append("requirements.lock", "--index-url https://example.org\n"),
        REQUIREMENTS,
        ("run `make lock`", "--index-url"),
    ),
    "numeric versions that are not the lock's": Fault(
        replace("requirements.numeric.txt", "numpy==", "numpy==0."),
        REQUIREMENTS,
        ("run `make lock`", "numpy==0."),
    ),
    "a warning": Fault(
        replace("mlcore/judging/statistics.py", "n = len(values)", "n = len(values); np.log(0.0)"),
        WARNINGS,
        ("RuntimeWarning: divide by zero", "mlcore/judging/statistics.py"),
    ),
    "tests that pass in one order only": Fault(
        append("tests/test_planted.py", IN_ORDER),
        ORDER,
        ("in the order of --randomly-seed=", "assert before == list(range(number))"),
    ),
    "code without tests": Fault(
        delete_tests_but("test_statistics.py"),
        COVERAGE,
        ("% of the branches of mlcore", "error: it should be 95 %"),
    ),
    "a check that fails": Fault(
        append("Makefile", "help: planted\nplanted:\n\tfalse\n"),
        HELP,
        ("planted] Error 1",),
    ),
    "a check that leaves a file behind": Fault(
        append("Makefile", "help: planted\nplanted:\n\ttouch left-behind\n"),
        HELP,
        ("error: the checks changed or left behind", "?? left-behind"),
    ),
    "a check that edits a file": Fault(
        append("Makefile", "help: planted\nplanted:\n\techo edited >> README.md\n"),
        HELP,
        ("error: the checks changed or left behind", "+edited"),
    ),
}


@pytest.fixture
def copy(tmp_path, copy_at):
    """A clone with all changes that are not committed yet, and this environment."""
    root = tmp_path / "copy"
    copy_at(root)
    (root / ".venv").symlink_to(sys.prefix)
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, project_at):
    """Runs a command in a copy; gives its exit code and all that it says."""
    cache = tmp_path_factory.mktemp("cache") / "mypy"
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", cache)

    def run(copy, command, **variables):
        done = subprocess.run(
            command,
            cwd=copy,
            env=project_at.environment(MYPY_CACHE_DIR=str(cache), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found_and_named(copy, run, fault):
    fault.plant(copy)
    code, said = run(copy, fault.command)
    assert code != 0
    assert [part for part in fault.says if part not in said] == [], said


CONTRACTS = sorted(
    {
        test
        for fault in FAULTS.values()
        for test in fault.command
        if test.startswith("tests/") and fault.command != ORDER
    }
)


@pytest.mark.parametrize("command", [LINT, HELP, ("python", "-m", "pytest", *CONTRACTS)])
def test_without_a_fault_the_check_passes(copy, run, command):
    code, said = run(copy, command)
    assert code == 0, said


def test_changes_that_were_there_before_the_checks_are_not_laid_to_them(copy, run):
    append("README.md", "edited\n")(copy)
    append("new.txt", "new\n")(copy)
    code, said = run(copy, HELP)
    assert code == 0, said


def test_in_their_order_the_planted_tests_pass(copy, run):
    append("tests/test_planted.py", IN_ORDER)(copy)
    code, said = run(copy, (*ORDER, "-p", "no:randomly"))
    assert code == 0, said


@pytest.fixture
def stand_in(tmp_path):
    """Makes a stand-in for make, that notes its targets and fails on one; gives PATH and notes."""

    def make(environment, failing="none"):
        notes, script = tmp_path / "targets", tmp_path / "bin" / "make"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\necho "$@" >> "{notes}"\ntest "$1" != {failing}\n')
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        return f"{script.parent}:{environment['PATH']}", notes

    return make


WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
COMMIT = ("pre-commit", "run", "--all-files")


def step_of_the_workflow():
    (step,) = [s["run"] for s in WORKFLOW["jobs"]["checks"]["steps"] if ".ci/run" in str(s)]
    return ("bash", "-c", step)


@pytest.mark.parametrize(
    ("command", "targets"),
    [
        (CI, ["lint", "coverage", "smoke", "verify"]),
        (step_of_the_workflow(), ["lint", "coverage", "smoke", "verify"]),
        (COMMIT, ["lint", "contracts"]),
    ],
    ids=["by hand", "workflow", "before a commit"],
)
@pytest.mark.parametrize("failing", ["none", "lint"])
def test_all_ways_to_check_run_the_same_targets(
    tmp_path, copy, run, project_at, stand_in, command, targets, failing
):
    path, notes = stand_in(project_at.environment(), failing)
    code, said = run(copy, command, PATH=path, PRE_COMMIT_HOME=str(tmp_path / "pre-commit"))
    assert (code == 0) == (failing == "none"), said
    ran = notes.read_text().split()
    assert ran == (targets if failing == "none" or command == COMMIT else ["lint"])
    assert set(ran) <= set((ROOT / "Makefile").read_text().partition(".PHONY:")[2].split())
