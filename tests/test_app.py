"""Stages as they are started: by DVC, by hand, in a sweep; with the same code."""

import json
import re
import signal
import sys
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import mlcore
from mlcore.errors import RetraceError
from mlcore.files import save_arrays, write_json
from mlcore.pipeline.workspace import Workspace
from stages import train_network

TRAIN = "stages.train_network"
SHORT = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]", "tracking=off"]
CELL = ["network.activation=tanh", "network.init=normal"]


def digests(folder):
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parts[-2] != ".hydra" and path.suffix != ".log"
    }


OUTPUTS = {
    "models/network/tanh-normal.pkl",
    "metrics/network/tanh-normal.json",
    "history/network/tanh-normal.csv",
}


@pytest.fixture(scope="module")
def under_dvc(project_at, tmp_path_factory):
    """The outputs of a stage as DVC runs it, by their paths."""
    project = project_at(tmp_path_factory.mktemp("dvc") / "project")
    project.call("mlcore.config", *SHORT)
    project.call(TRAIN, *CELL, dvc="train_network@tanh-normal")
    return {name: md5 for name, md5 in digests(project.root).items() if name in OUTPUTS}


def test_a_stage_started_by_hand_makes_the_bytes_of_dvcs_below_hydras_folder_only(
    project, under_dvc
):
    before = digests(project.root)
    project.call(TRAIN, *SHORT, *CELL)
    (folder,) = project.root.glob("outputs/*/*")
    assert digests(folder) == under_dvc
    made = {f"{folder.relative_to(project.root)}/{name}": md5 for name, md5 in under_dvc.items()}
    assert digests(project.root) == before | made


@pytest.mark.parametrize(
    "launcher", ["basic", "joblib", pytest.param("dask", marks=pytest.mark.slow)]
)
def test_a_job_of_a_sweep_has_the_bytes_of_dvcs(project, under_dvc, launcher):
    # Dask's workers find the code by the folder they start in, which a process of its own has
    start = project.run if launcher == "dask" else project.call
    sweep = ["network.activation=relu,tanh", f"hydra/launcher={launcher}", "hydra.sweep.dir=a/b"]
    start(TRAIN, "-m", *sweep, *SHORT)
    assert digests(project.root / "a/b/1") == under_dvc
    assert {path.name for path in (project.root / "a/b").iterdir() if path.is_dir()} == {"0", "1"}


def one_class(data):
    arrays = dict(np.load(data))
    save_arrays(data, **arrays | {"y_train": np.zeros_like(arrays["y_train"])})


WRONG = {
    "range": ([TRAIN, "network.learning_rate=-1"], None,
              "command line: network.learning_rate=-1: should be greater than 0"),
    "one job of two": ([TRAIN, "-m", "network.activation=relu,rely"], None,
                       "command line: network.activation='rely': should be"),
    "sweep": ([TRAIN, "-m", "network.learning_rate=interval(0.1,1)"], None,
              "command line: BasicSweeper does not support"),
    "tracking of jobs": ([TRAIN, "-m", "tracking=off,mlflow"], None,
                         "command line: tracking should be the same for all jobs of a sweep"),
    "no effect": ([TRAIN, "-m", "mnist.seed=range(5)"], None,
                  r"command line: mnist.seed=range\(5\) has no effect on train_network, which "
                  "reads network; "),
    "no effect of a group": (
        ["stages.classify_features", "features=bottleneck"], None,
        "command line: features=bottleneck has no effect on classify_features, which reads "
        "autoencoder, feature_classifier; "),
    "no effect of an experiment": (
        [TRAIN, "experiment=unscaled"], None,
        "command line: experiment=unscaled has no effect on train_network, which reads network; "),
    "no effect of one of two": ([TRAIN, "-m", "experiment=he,unscaled"], None,
                                "command line: experiment=unscaled has no effect on train_network"),
    "no equals sign": ([TRAIN, "network.seed", "7"], None,
                       "command line: network.seed: a parameter is set by key=value"),
    "spaces": ([TRAIN, "network.seed = 7"], None,
               "command line: network.seed = 7: a parameter is set by key=value, without spaces"),
    "no parameters": (["stages.worked_examples", "network.seed=1"], None,
                      "command line: network.seed=1 has no effect on worked_examples, which has "
                      "no parameters; "),
    "help": ([TRAIN, "--help", "network.ini=he"], None,
             "command line: network.ini=he is unknown; did you mean network.init"),
    "flags": ([TRAIN, "--run", "--cfg", "job"], None, "command line: Only one of --run"),
    "folder": ([TRAIN, f"hydra.run.dir={'x' * 256}"], None,
               "command line: hydra.run.dir gives a folder whose name has 256 bytes, and may have"),
    "folder of a job": (
        ["stages.fit_classifier", "-m", "hydra.sweep.subdir='ä${hydra.job.override_dirname}'",
         f"classifier.hidden_layer_sizes=[{','.join(['16'] * 90)}]"], None,
        "command line: hydra.sweep.subdir gives a folder whose name has"),
    "data": ([TRAIN], one_class, "stages.train_network: "),
    "no data": ([TRAIN], lambda data: data.unlink(),
                "data/mnist.npz does not exist yet; `make repro` makes it, and so does "
                "`dvc repro split_mnist`"),
    "damaged data": ([TRAIN], lambda data: data.write_bytes(data.read_bytes()[:1000]),
                     ".* is not a valid array file"),
    "divergence": ([TRAIN, "network.learning_rate=1e30"], None,
                   "stages.train_network: training diverged"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(project, case):
    (module, *arguments), damage, message = WRONG[case]
    if damage:
        damage(project.root / "data" / "mnist.npz")
    short = SHORT if module == TRAIN else ["tracking=off"]
    if "tracking=off,mlflow" in arguments:
        short = SHORT[:-1]
    result = project.call(module, *arguments, *short, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert re.match(f"error: {message}", line), line
    assert not (project.root / "multirun").exists()
    assert not list(project.root.glob("outputs/**/*.pkl"))


def test_hydras_switch_shows_where_an_error_is_from(project):
    one_class(project.root / "data" / "mnist.npz")
    with pytest.raises(ValueError, match="unknown to training"):
        project.call(TRAIN, *SHORT, HYDRA_FULL_ERROR="1")


SWEEPER = """
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore

class TwoRates(BasicSweeper):
    def sweep(self, arguments):
        fixed = [a for a in arguments if "interval" not in a]
        jobs = [[*fixed, f"network.learning_rate={rate}"] for rate in (0.01, 0.02)]
        returned = self.launcher.launch(jobs, initial_job_idx=0)
        print("told of", *[job.return_value for job in returned])

node = {"_target_": f"{TwoRates.__module__}.TwoRates", "max_batch_size": None}
ConfigStore.instance().store("two", node, group="hydra/sweeper")
"""


def test_a_sweeper_other_than_hydras_own_chooses_its_jobs(project):
    plugins = project.root / "plugins" / "hydra_plugins"
    plugins.mkdir(parents=True)
    (plugins / "two.py").write_text(SWEEPER)
    sweep = ["hydra/sweeper=two", "network.learning_rate=interval(0.01,0.02)"]
    done = project.run(TRAIN, "-m", *SHORT, *sweep, PYTHONPATH=str(plugins.parent))
    (told,) = re.findall(r"told of (\S+) (\S+)$", done.stdout, re.MULTILINE)
    assert all(0 < float(value) < 1 for value in told)  # the accuracy on the validation part
    assert len(list(project.root.glob("multirun/*/*/[0-9]/models"))) == 2


@pytest.mark.parametrize(
    ("path", "maker"),
    [("models/network/relu-he.pkl", "train_network"), ("metrics/summary.json", "evaluate"),
     ("metrics/rules.yaml", None)],
)  # fmt: skip
def test_what_makes_a_missing_file_is_named_if_a_stage_does(project, path, maker):
    (project.root / path).unlink(missing_ok=True)
    with pytest.raises(RetraceError) as refusal:
        Workspace(project.root, project.root).input(path)
    how = f" yet; `make repro` makes it, and so does `dvc repro {maker}`" if maker else ""
    assert str(refusal.value) == f"{path} does not exist{how}"


@pytest.mark.parametrize("kind", ["metrics", "plots"])
def test_a_stage_may_make_metrics_or_plots_alone(project, monkeypatch, kind):
    def run(config, workspace):
        write_json(workspace.output("metrics/counted.json"), config.network.max_epochs)

    pipeline = project.root / "dvc.yaml"
    stages = yaml.safe_load(pipeline.read_text())
    stages["stages"]["count"] = {
        "cmd": "python -m stages.count",
        "deps": ["data/mnist.npz"],
        "params": ["network"],
        kind: [{"metrics/counted.json": {"cache": False}}],
    }
    pipeline.write_text(yaml.safe_dump(stages))
    project.call("stages.count", run=run, dvc="count")
    assert json.loads((project.root / "metrics/counted.json").read_text()) == 100
    sweep = ["-m", "network.max_epochs=1,2", "hydra.sweep.dir=a/b"]
    project.call("stages.count", *sweep, "tracking=off", run=run)
    made = [json.loads(path.read_text()) for path in project.root.glob("a/b/*/metrics/*")]
    assert sorted(made) == [1, 2]

    monkeypatch.setitem(sys.modules, "stages.count", SimpleNamespace(run=run))
    monkeypatch.setattr("mlcore.sweeps.run.stale_stages", lambda *_: [])
    sweeps = {"table": "metrics/t.csv", "sweeps": {"a": {"stages": ["count"]}}}
    (project.root / "s.yaml").write_text(yaml.safe_dump(sweeps))
    done = project.call("mlcore.sweeps", "s.yaml", "--jobs", "1", "tracking=off")
    assert "a seed=1: done" in done.stdout


@pytest.mark.parametrize("module", [TRAIN, "mlcore.tracking.recorder", "mlcore.review.judge"])
def test_ctrl_c_while_a_command_imports_its_libraries_is_one_line(project, tmp_path, module):
    (tmp_path / "numpy.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    result = project.run(module, check=False, PYTHONPATH=str(tmp_path))
    assert result.returncode == -signal.SIGINT
    assert result.stderr == "interrupted\n"


def test_outside_the_environment_it_is_said_how_to_enter_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    mlcore._in_a_line(ModuleNotFoundError, ModuleNotFoundError("No module named 'joblib'"), None)
    told = "error: No module named 'joblib'; `make setup` installs all, then `source .venv"
    assert capsys.readouterr().err.startswith(told)


EDITS = {
    "code": ("mlcore/nn/losses.py", "", "# changed\n", True),
    "parameters": ("params.yaml", "patience: null", "patience: 3", True),
    "another dependency": ("requirements.numeric.txt", "", "# changed\n", True),
    "other code": ("mlcore/report/__init__.py", "", "# changed\n", False),
    "other parameters": ("params.yaml", "n_images: 10", "n_images: 5", False),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_changes_while_a_stage_runs_is_not_noted_with_its_results(project, edit):
    """DVC would hash it when the stage has ended."""
    name, old, new, refused = EDITS[edit]

    def meddling(config, workspace):
        project.edit(name, old, new)
        return train_network.run(config, workspace)

    project.call("mlcore.config", *SHORT)
    result = project.call(TRAIN, dvc="train_network@tanh-normal", run=meddling, check=False)
    assert result.returncode == refused
    changed = "error: what train_network comes from has changed while it ran: run it again\n"
    assert result.stderr == (changed if refused else "")
    assert (project.root / "models").exists() != refused
