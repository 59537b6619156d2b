"""`make verify`: it runs for real, finds what does not come out again, and says what may differ."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from mlcore.files import read_json, write_json
from mlcore.process import fingerprint
from mlcore.review.verify import (
    COMPUTED,
    ENVIRONMENT,
    NAME_PYTHON,
    Difference,
    differences,
    distances,
    environment,
    main,
    may_differ,
    other_machine,
)

ROOT = Path(__file__).parents[1]

STAGE = "worked_examples"  # a second of work, and no data
RESULT = "metrics/worked_examples.json"


def lock(**files):
    return {"train": {"deps": {}, "outs": files}}


def test_a_file_that_differs_is_missing_or_is_new_is_a_difference():
    known, found = lock(same="1", other="2", gone="3"), lock(same="1", other="4", new="5")
    assert differences(known, found) == [
        Difference("train", "other", "2", "4"),
        Difference("train", "gone", "3", None),
        Difference("train", "new", None, "5"),
    ]
    assert differences({**known, "not run": lock(a="6")["train"]}, lock(same="1")) == [
        Difference("train", "other", "2", None),
        Difference("train", "gone", "3", None),
    ]
    assert differences({}, lock(a="6")) == [Difference("train", "a", None, "6")]


def test_what_a_stage_reads_counts_too():
    known, found = ({"train": {"deps": {"code.py": md5}, "outs": {}}} for md5 in "12")
    assert differences(known, found) == [Difference("train", "code.py", "1", "2")]


def test_values_without_a_tolerance_are_not_compared_and_missing_ones_are_far():
    known = {"test_accuracy": 0.97, "val_accuracy": 0.96, "note": "x"}
    near, missing = distances("metrics/network/tanh-normal.json", known, {"test_accuracy": 0.9701})
    assert (near.name, near.is_near) == ("test_accuracy", True)
    assert (missing.name, missing.is_near) == ("val_accuracy", False)
    (far,) = distances(
        "metrics/network/tanh-normal.json", {"test_accuracy": 0.97}, {"test_accuracy": 0.5}
    )
    assert not far.is_near


def test_counts_of_the_data_are_the_same_on_every_machine():
    path = "metrics/mnist.json"
    known = {"test": {"n_samples": 7000, "class_counts": [685, 820]}}
    assert all(d.is_near for d in distances(path, known, known))
    other = {"test": {"n_samples": 7000, "class_counts": [685, 819]}}
    assert [d.name for d in distances(path, known, other) if not d.is_near] == ["test.class_counts"]


def test_only_the_version_of_python_changes_no_bits():
    here = {"python": "3.12.1", "numpy": "2.4.6", "blas": ["openblas Haswell"]}
    assert other_machine({**here, "python": "3.11.7"}, here) == []
    (line,) = other_machine({**here, "blas": ["openblas SkylakeX"]}, here)
    assert line == "blas: ['openblas SkylakeX'] there, ['openblas Haswell'] here"


@pytest.fixture
def committed(project):
    """A project whose last commit can be verified, with results as if made on this machine."""
    write_json(project.root / ENVIRONMENT, fingerprint())

    def commit():
        for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
            subprocess.run(["git", *command.split()], cwd=project.root, check=True)

    project.commit = commit
    return project


def change_result(project, value):
    """Make the committed result another, as if the code gave that."""
    path = project.root / RESULT
    result = read_json(path)
    result["backprop"]["loss_before"] = value
    write_json(path, result)
    lock = project.root / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    (out,) = content["stages"][STAGE]["outs"]
    out["md5"] = hashlib.md5(path.read_bytes()).hexdigest()
    out["size"] = path.stat().st_size
    lock.write_text(yaml.safe_dump(content))


def test_a_run_inherits_no_setting_but_the_data(monkeypatch, tmp_path):
    """RETRACE_DASK_ADDRESS would have a cluster compute, with code of its own."""
    for name in ("RETRACE_DASK_ADDRESS", "RETRACE_FORCE", "RETRACE_SWEEP", "RETRACE_TRACKING",
                 "MLFLOW_TRACKING_URI", "DVC_STAGE"):  # fmt: skip
        monkeypatch.setenv(name, "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETRACE_DATA", "data")
    kept = environment()
    prefixes = ("DVC_", "MLFLOW_", "RETRACE_")
    assert [name for name in kept if name.startswith(prefixes)] == ["RETRACE_DATA"]
    assert kept["RETRACE_DATA"] == str(tmp_path / "data")
    assert kept["PATH"] == os.environ["PATH"]


@pytest.mark.slow
def test_what_comes_out_again_holds(committed):
    committed.commit()
    (committed.root / RESULT).write_text("{}")  # not committed, so no part of it
    done = committed.run("mlcore.review.verify", STAGE, RETRACE_DASK_ADDRESS="tcp://no.where:1")
    assert "1 stages ran" in done.stdout
    assert "The committed results hold." in done.stdout
    assert (committed.root / RESULT).read_text() == "{}"


@pytest.mark.slow
def test_what_does_not_come_out_again_is_named(committed):
    change_result(committed, 99.0)
    committed.commit()
    done = committed.run("mlcore.review.verify", STAGE, check=False)
    assert done.returncode == 1
    assert f"{STAGE}  {RESULT}" in done.stdout
    assert "error: they do not come out again" in done.stdout


def test_what_may_differ_from_another_machine():
    here = fingerprint()
    assert may_differ(here, here) == ()
    assert may_differ(here | {"python": "3.99.0"}, here) == NAME_PYTHON
    assert may_differ(here | {"numpy": "9.9.9"}, here) == COMPUTED


OTHER_KERNEL = {"OPENBLAS_CORETYPE": "Nehalem"}  # every processor of the kind has it


def needs_other_kernel():
    code = "import json; from mlcore.process import fingerprint; print(json.dumps(fingerprint()))"
    blas = json.loads(
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | OTHER_KERNEL,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )["blas"]
    if not all("Nehalem" in name for name in blas):
        pytest.skip(f"this BLAS has one kernel only: {blas}")


@pytest.mark.slow
def test_on_another_kernel_it_says_so_and_compares_values(committed):
    needs_other_kernel()
    committed.commit()
    done = committed.run("mlcore.review.verify", STAGE, **OTHER_KERNEL)
    assert "This machine may round otherwise" in done.stdout
    assert "blas: " in done.stdout
    assert "Nehalem" in done.stdout
    assert "The committed results hold." in done.stdout


@pytest.mark.slow
def test_on_another_kernel_values_too_far_off_do_not_hold(committed):
    needs_other_kernel()
    change_result(committed, 4.376)  # it is 4.375
    committed.commit()
    done = committed.run("mlcore.review.verify", STAGE, check=False, **OTHER_KERNEL)
    assert done.returncode == 1
    assert re.search(rf"{RESULT} +backprop.loss_before +4.376 +4.375 .* too far", done.stdout)


@pytest.mark.slow
def test_code_and_data_are_the_same_on_every_machine(committed):
    needs_other_kernel()
    lock = committed.root / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    content["stages"][STAGE]["deps"][0]["md5"] = "0" * 32
    lock.write_text(yaml.safe_dump(content))
    committed.commit()
    done = committed.run("mlcore.review.verify", STAGE, check=False, **OTHER_KERNEL)
    assert done.returncode == 1
    assert "0" * 32 in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_and_is_no_traceback(committed, number):
    mark = f"sleep 97{os.getpid()}"
    pipeline = committed.root / "dvc.yaml"
    content = yaml.safe_load(pipeline.read_text())
    content["stages"][STAGE]["cmd"] = mark
    pipeline.write_text(yaml.safe_dump(content))
    committed.commit()

    def sleeps():
        lines = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
        return sum(mark in " ".join(line or []) for line in lines)

    process = subprocess.Popen(
        [sys.executable, "-m", "mlcore.review.verify", STAGE],
        cwd=committed.root,
        env=committed.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not sleeps() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert sleeps()
        process.send_signal(number)  # to it alone; a terminal's Ctrl-C reaches all
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert sleeps() == 0


@pytest.mark.slow
def test_a_stage_that_does_not_exist_is_one_line(committed):
    committed.commit()
    done = committed.run("mlcore.review.verify", "train", check=False)
    assert done.returncode == 1
    assert "dvc.yaml has no stage train; there are " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_git_it_is_one_line(tmp_path, capsys):
    assert main([], tmp_path) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: git clone: ")
    assert len(said.splitlines()) == 1
