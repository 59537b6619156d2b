"""Hydra as its users know it: help, shell completion, groups to choose from, tables of sweeps."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlcore.config import compose, help, sweep_table
from mlcore.config.compose import compose_for_seeds
from mlcore.config.hydra_app import expand
from mlcore.pipeline.dvc_yaml import read_stages
from mlcore.sweeps.jobs import read_sweeps

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TRAIN = "stages.train_network"
SHORT = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]", "tracking=off"]
WORDS = {
    "train_network": [
        "network.activation=tanh  sigmoid, tanh, relu, leaky_relu, softmax, identity",
        "network.patience=null  integer >= 1 or null",
        "network.learning_rate=0.02  number > 0",
        "network.restore_best=false  true, false",
        "network.hidden_layer_sizes=[256,128,64,32]  list of integer >= 1",
        "network.seed=7  integer >= 0 and < 4294967296",
    ],
    "search_classifier": ["search.solver=[adam,sgd,lbfgs]  list of adam, sgd, lbfgs"],
}


@pytest.mark.parametrize(
    "command",
    ["train_network seed=7", "search_classifier seed=7", "fit_classifier", "worked_examples",
     "plot"],
)  # fmt: skip
def test_help_tells_the_stages_own_parameters_what_they_would_be_and_may_be(project, command):
    stage, *overrides = command.split()
    told = project.call(f"stages.{stage}", "--help", *overrides).stdout
    known = read_stages(ROOT)[stage]
    assert told.startswith(known.desc)
    for section in help.SECTIONS:
        names = type(getattr(compose(CONF), section)).model_fields
        shown = set(re.findall(rf"^    {section}\.(\w+)=", told, re.MULTILINE))
        assert shown == (set(names) if section in known.sections else set())
    commands = re.findall(rf"^  python -m stages\.{stage} (.*)$|^  python -m ", told, re.MULTILINE)
    assert len(commands) == 2
    assert not (project.root / "mlruns").exists()
    lines = {re.sub("  +", "  ", line.strip()) for line in told.splitlines()}
    assert set(WORDS.get(stage, [])) <= lines


@pytest.mark.parametrize(
    "question",
    [["--info", "all"], ["--info", "plugins"], ["--cfg", "job"], ["--hydra-help"],
     ["--cfg", "hydra", "--resolve"], ["-sc", "uninstall=bash"]],
    ids=" ".join,
)  # fmt: skip
def test_a_question_is_answered_and_leaves_nothing_behind(project, question):
    before = set(project.root.rglob("*"))
    done = project.call(TRAIN, *question)
    assert done.stdout
    assert ".lock" not in done.stdout + done.stderr
    assert {p for p in project.root.rglob("*") if "__pycache__" not in p.parts} <= before


def test_a_folder_may_be_named_by_what_hydra_knows_when_the_job_runs(project):
    sweep = ["-m", "hydra.sweep.dir=a", "hydra.sweep.subdir='job-${hydra:job.num}'"]
    project.call(TRAIN, *sweep, *SHORT, "network=small")
    assert (project.root / "a" / "job-0" / "models").is_dir()


def rows_of(stdout):
    """The rows of the table that a sweep ends with."""
    lines = stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("job  "))
    return [line.split() for line in (lines[start], *lines[start + 2 :])]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_ends_with_a_table(project, launcher):
    sweep = ["network.learning_rate=0.0001,0.05", f"hydra/launcher={launcher}"]
    done = project.call(TRAIN, "-m", *sweep, *SHORT)
    header, *rows = rows_of(done.stdout)
    assert header == ["job", "overrides", "val_accuracy"]
    assert [row[:2] for row in rows] == [
        ["0", "network.learning_rate=0.0001"], ["1", "network.learning_rate=0.05"]
    ]  # fmt: skip
    accuracies = [float(row[2]) for row in rows]
    assert accuracies[1] > accuracies[0]
    assert [row[3:] for row in rows] == [[], ["best"]]
    assert not list((project.root / "build").iterdir())
    if launcher == "basic":
        assert "network tanh-normal learning_rate=0.05 max_epochs=2" in done.stdout


def test_the_table_has_what_was_done_when_a_job_fails(project):
    done = project.call(TRAIN, "-m", "network.learning_rate=0.05,1e30", *SHORT, check=False)
    assert done.returncode == 1
    assert "training diverged" in done.stderr
    _, *rows = rows_of(done.stdout)
    assert [row[0] for row in rows] == ["0", "1"]
    assert rows[1][2:] == ["failed"]


@pytest.mark.parametrize(
    ("jobs", "name", "best"),
    [
        ([{"val_accuracy": 0.5, "val_loss": 1.0}, {"val_accuracy": 0.4, "val_loss": 0.1}],
         "val_accuracy", 0),
        ([{"val_loss": 1.0}, {"val_loss": 0.1}, {"error": "no"}], "val_loss", 1),
        ([{"test_accuracy": 0.5}, {"test_accuracy": 0.4}], "test_accuracy", None),
        ([{"val_loss": 1.0}], "val_loss", None),
        ([{}, {}], "", None),
    ],
)  # fmt: skip
def test_the_best_is_that_of_validation(tmp_path, jobs, name, best):
    for number, outcome in enumerate(jobs):
        sweep_table.note(tmp_path, number, [f"network.seed={number}", "tracking=off"], outcome)
    header, _, *rows = sweep_table.table(tmp_path).splitlines()
    assert header.split() == ["job", "overrides", *filter(None, [name])]
    marked = [number for number, row in enumerate(rows) if row.endswith("best")]
    assert marked == ([] if best is None else [best])
    assert "tracking" not in "".join(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "whole"),
    [("network.bias_init=w", "network.bias_init=weights"),
     ("-m hydra/launcher=jo", "hydra/launcher=joblib")],
)  # fmt: skip
def test_the_tab_key_completes_in_bash(typed, whole):
    line = f"{sys.executable} -m {TRAIN} {typed}"
    words = f"COMP_WORDS=({line}) COMP_LINE='{line}' COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))"
    ask = (
        f"COMP_WORDBREAKS=:=\n{help.BASH}{words}\n_retrace\necho $COMP_WORDBREAKS ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [":", whole]


SENSITIVITY = read_sweeps(ROOT / "sweeps" / "sensitivity.yaml").sweeps
OWN = ("report", "smoke")


@pytest.mark.parametrize(
    "name", [p.stem for p in (CONF / "experiment").glob("*.yaml") if p.stem not in OWN]
)
def test_an_experiment_sets_what_the_sweep_of_its_name_sets_for_all_its_jobs(name):
    """What differs from job to job, and what the whole pipeline runs over, is left open."""
    overrides = SENSITIVITY[name].overrides
    (first, *_, last) = [*expand(overrides, name, CONF)] * 2
    for job in (first, last):
        varied = [o for o in job if o not in overrides or "seed" in o]
        (swept,) = compose_for_seeds(CONF, job, [1])
        (chosen,) = compose_for_seeds(CONF, [f"experiment={name}", *varied], [1])
        assert chosen.model_dump(exclude={"grid"}) == swept.model_dump(exclude={"grid"})
        (without,) = compose_for_seeds(CONF, varied, [1])
        assert chosen != without


def test_a_group_has_networks_of_three_sizes():
    small, study, wide = (compose(CONF, [f"network={o}"]).network for o in
                          ("small", "study", "wide"))  # fmt: skip
    assert sum(small.hidden_layer_sizes) < sum(study.hidden_layer_sizes)
    assert wide.hidden_layer_sizes == [2 * n for n in study.hidden_layer_sizes]
    assert wide.learning_rate == study.learning_rate
