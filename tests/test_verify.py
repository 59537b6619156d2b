"""`make verify`: it runs for real, finds what does not come out again, and says what may differ."""

import os
import re
import subprocess
import sys

import psutil
import pytest
import yaml
from servers import wait_for

from mlcore.errors import RetraceError
from mlcore.files import write_json
from mlcore.process import fingerprint
from mlcore.review import verify

STAGE = "worked_examples"  # a second of work, and no data
RESULT = "metrics/worked_examples.json"


def lock(**files):
    return {"train": {"deps": {}, "outs": files}}


def test_a_file_that_differs_is_missing_or_is_new_is_a_difference():
    known, found = lock(same="1", other="2", gone="3"), lock(same="1", other="4", new="5")
    other, gone, new = ("other", "2", "4"), ("gone", "3", None), ("new", None, "5")
    assert verify.differences(known, found) == [("train", *d) for d in (other, gone, new)]
    known["not run"] = lock(a="6")["train"]
    lost = ("train", "other", "2", None)
    assert verify.differences(known, lock(same="1")) == [lost, ("train", *gone)]
    assert verify.differences({}, lock(a="6")) == [("train", "a", None, "6")]
    known, found = ({"train": {"deps": {"code.py": md5}, "outs": {}}} for md5 in "12")
    assert verify.differences(known, found) == [("train", "code.py", "1", "2")]


def test_values_without_a_tolerance_are_not_compared_and_missing_ones_are_far():
    known = {"test_accuracy": 0.97, "val_accuracy": 0.96, "note": "x"}
    path = "metrics/network/tanh-normal.json"
    near, missing = verify.distances(path, known, {"test_accuracy": 0.9701})
    assert near == (path, "test_accuracy", 0.97, 0.9701, 0.001, "")
    assert (missing[1], missing[-1]) == ("val_accuracy", "too far")
    (far,) = verify.distances(path, {"test_accuracy": 0.97}, {"test_accuracy": 0.5})
    assert far[-1] == "too far"
    # What is counted is the same on every machine
    one, other = ({"n_samples": 7000, "class_counts": [685, n]} for n in (820, 819))
    (far,) = verify.distances("metrics/mnist.json", {"test": one}, {"test": other})
    assert (far[1], far[-1]) == ("test.class_counts", "too far")


def test_what_bits_depend_on_and_what_may_differ_from_another_machine():
    here = {"python": "3.12.1", "numpy": "2.4.6", "blas": ["openblas Haswell"]}
    assert verify.other_machine({**here, "python": "3.11.7"}, here) == []
    (line,) = verify.other_machine({**here, "blas": ["openblas SkylakeX"]}, here)
    assert line == "blas: ['openblas SkylakeX'] there, ['openblas Haswell'] here"
    assert verify.may_differ(here, here) == ()
    assert verify.may_differ(here | {"python": "3.99.0"}, here) == verify.NAME_PYTHON
    assert verify.may_differ(here | {"numpy": "9.9.9"}, here) == verify.COMPUTED


@pytest.fixture
def committed(project):
    """A project whose last commit can be verified, with results as if made on this machine."""
    write_json(project.root / verify.ENVIRONMENT, fingerprint())
    return project


def test_a_run_inherits_no_setting_but_the_data(monkeypatch, tmp_path):
    """RETRACE_DASK_ADDRESS would have a cluster compute, with code of its own."""
    for name in ("RETRACE_DASK_ADDRESS", "RETRACE_FORCE", "RETRACE_SWEEP", "RETRACE_TRACKING",
                 "MLFLOW_TRACKING_URI", "DVC_STAGE"):  # fmt: skip
        monkeypatch.setenv(name, "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RETRACE_DATA", "data")
    kept = verify.environment()
    prefixes = ("DVC_", "MLFLOW_", "RETRACE_")
    assert [name for name in kept if name.startswith(prefixes)] == ["RETRACE_DATA"]
    assert kept["RETRACE_DATA"] == str(tmp_path / "data")
    assert kept["PATH"] == os.environ["PATH"]


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_what_comes_out_again_holds(committed):
    committed.commit()
    (committed.root / RESULT).write_text("{}")  # not committed, so no part of it
    done = committed.run("mlcore.review.verify", STAGE, RETRACE_DASK_ADDRESS="tcp://no.where:1")
    assert "1 stages ran" in done.stdout
    assert "The committed results hold." in done.stdout
    assert (committed.root / RESULT).read_text() == "{}"


OTHER = {"blas": ["openblas Nehalem"]}
CODE, RESULTS = "mlcore/x.py", {"backprop": {"loss_before": 4.375}}
CHANGES = {  # what came out, on which machine, and what is said of it
    "nothing": ({}, {}, {}, 0, "2 of 2 files are byte for byte"),
    "value": ({"loss_before": 4.376}, {}, {}, 1, rf"{STAGE} +{RESULT} +1{{32}} +2{{32}}"),
    "near value": (
        {"loss_before": 4.375 + 1e-10}, {}, OTHER, 0, "may round otherwise.*\n.*Nehalem"),
    "far value": ({"loss_before": 4.376}, {}, OTHER, 1, r"loss_before +4.375 +4.376 .* too far"),
    "code": ({}, {CODE: "2" * 32}, OTHER, 1, rf"{STAGE} +{CODE} +1{{32}} +2{{32}}"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_does_not_come_out_again_is_named(committed, monkeypatch, case):
    """With a run that leaves in the clone what it is told to."""
    values, md5s, machine, code, said = CHANGES[case]
    entry = {"deps": [{"path": CODE, "md5": "1" * 32}], "outs": [{"path": RESULT, "md5": "1" * 32}]}
    write_json(committed.root / RESULT, RESULTS)
    (committed.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {STAGE: entry}}))
    committed.commit()

    def made_up(folder, *arguments):
        assert arguments == (STAGE,)
        assert not (folder / "dvc.lock").exists()
        write_json(folder / RESULT, {"backprop": RESULTS["backprop"] | values})
        found = {CODE: "1" * 32, RESULT: ("2" if values else "1") * 32} | md5s
        for file in (*entry["deps"], *entry["outs"]):
            file["md5"] = found[file["path"]]
        (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {STAGE: entry}}))

    monkeypatch.setattr("mlcore.review.verify.run", made_up)
    monkeypatch.setattr("mlcore.review.verify.fingerprint", lambda: fingerprint() | machine)
    done = committed.call("mlcore.review.verify", STAGE, check=False)
    assert done.returncode == code
    assert re.search(said, done.stdout), done.stdout
    end = "error: they do not come out again" if code else "The committed results hold."
    assert end in done.stdout


@pytest.mark.slow
def test_a_signal_ends_what_runs_and_is_no_traceback(committed, start):
    mark = f"sleep 97{os.getpid()}"
    pipeline = committed.root / "dvc.yaml"
    content = yaml.safe_load(pipeline.read_text())
    content["stages"][STAGE]["cmd"] = mark
    pipeline.write_text(yaml.safe_dump(content))
    committed.commit()

    def sleeps():
        lines = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
        return any(mark in " ".join(line or []) for line in lines)

    command = sys.executable, "-m", "mlcore.review.verify", STAGE
    process = start(*command, of=committed, stderr=subprocess.PIPE, text=True)
    wait_for(sleeps, 90)
    process.terminate()  # it alone; a terminal's Ctrl-C reaches all
    _, said = process.communicate(timeout=60)
    assert process.returncode == -2  # SIGINT
    assert "Traceback" not in said
    assert not sleeps()


def test_a_run_that_fails_and_a_folder_without_git_are_one_line(tmp_path, capsys):
    with pytest.raises(RetraceError, match="it did not run to its end; what it made is in "):
        verify.run(tmp_path)
    assert verify.main([], tmp_path) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: git clone: ")
    assert len(said.splitlines()) == 1
