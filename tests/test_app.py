"""Stages as they are started: by DVC, by hand, in a sweep; with the same code."""

import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from hashlib import sha256

import numpy as np
import pytest
import yaml

from mlcore.errors import RetraceError
from mlcore.files import save_arrays
from mlcore.workspace import Workspace

SHORT = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]", "tracking=off"]
EIGHT_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "8")
CELL = ["network.activation=tanh", "network.init=normal"]


def digests(folder):
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parts[-2] != ".hydra" and path.suffix != ".log"
    }


def jobs(folder):
    """The outputs of the only run or sweep below a folder, by job."""
    (run,) = (path for path in folder.glob("*/*") if path.is_dir())
    return [digests(job) for job in sorted(run.glob("[0-9]"))] or [digests(run)]


def test_a_stage_started_by_hand_writes_below_hydras_folder_only(project):
    before = digests(project.root)
    project.run("stages.train_network", *SHORT, *CELL)
    (outputs,) = jobs(project.root / "outputs")
    assert set(outputs) == {
        "models/network/tanh-normal.pkl",
        "metrics/network/tanh-normal.json",
        "history/network/tanh-normal.csv",
    }
    after = {k: v for k, v in digests(project.root).items() if not k.startswith("outputs/")}
    assert after == before


def test_dvc_hydra_and_every_launcher_give_the_same_bytes(project):
    sweep = ["network.activation=relu,tanh"]
    project.run("stages.train_network", "-m", *SHORT, *sweep, **EIGHT_THREADS)
    project.run("stages.train_network", "-m", *SHORT, *sweep, "hydra/launcher=joblib",
                "hydra.sweep.dir=joblib/a/b")  # fmt: skip
    project.run("stages.train_network", "-m", *SHORT, *sweep, "hydra/launcher=dask",
                "hydra.sweep.dir=dask/a/b")  # fmt: skip
    basic, parallel = jobs(project.root / "multirun"), jobs(project.root / "joblib")
    assert basic == parallel == jobs(project.root / "dask")
    assert [json_name(job) for job in basic] == ["relu-normal", "tanh-normal"]

    project.run("mlcore.config", *SHORT)
    project.run("stages.train_network", *CELL, DVC_STAGE="train_network@tanh-normal")
    assert basic[1].items() <= digests(project.root).items()


def json_name(job):
    (name,) = (path for path in job if path.endswith(".json"))
    return name.removeprefix("metrics/network/").removesuffix(".json")


def test_a_sweep_with_one_wrong_job_starts_none(project):
    result = project.run(
        "stages.train_network", "-m", *SHORT, "network.activation=relu,rely", check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: command line: network.activation='rely': should be")
    assert len(result.stderr.splitlines()) == 1
    assert not (project.root / "multirun").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.learning_rate=-1", "network.learning_rate=-1: should be greater than 0"),
        ("network.learnin_rate=1", "did you mean network.learning_rate?"),
        ("network.learning_rate=[", "'['"),
    ],
)
def test_a_wrong_override_ends_in_one_line(project, override, message):
    result = project.run("stages.train_network", override, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: command line: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_sweep_that_the_sweeper_does_not_offer_ends_in_one_line(project):
    sweep = "network.learning_rate=interval(0.1,1)"
    result = project.run("stages.train_network", "-m", *SHORT, sweep, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: command line: BasicSweeper does not support")
    assert len(result.stderr.splitlines()) == 1


SWEEPER = """
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class TwoRates(Sweeper):
    def __init__(self):
        pass
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )
    def sweep(self, arguments):
        fixed = [a for a in arguments if "interval" not in a]
        jobs = [[*fixed, f"network.learning_rate={rate}"] for rate in (0.01, 0.02)]
        return [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)]

ConfigStore.instance().store(
    "two", {"_target_": f"{TwoRates.__module__}.TwoRates"}, group="hydra/sweeper"
)
"""


def test_a_sweeper_other_than_hydras_own_chooses_its_jobs(project):
    plugins = project.root / "plugins" / "hydra_plugins"
    plugins.mkdir(parents=True)
    (plugins / "two.py").write_text(SWEEPER)
    sweep = ["hydra/sweeper=two", "network.learning_rate=interval(0.01,0.02)"]
    result = project.run(
        "stages.train_network", "-m", *SHORT, *sweep, PYTHONPATH=str(plugins.parent)
    )
    assert len(jobs(project.root / "multirun")) == 2, result.stderr


def test_values_that_data_do_not_allow_end_in_one_line(project):
    data = project.root / "data" / "mnist.npz"
    arrays = dict(np.load(data))
    arrays["y_train"] = np.zeros_like(arrays["y_train"])  # one class is nothing to learn
    save_arrays(data, **arrays)
    result = project.run("stages.train_network", *SHORT, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: stages.train_network: ")
    assert len(result.stderr.splitlines()) == 1
    full = project.run("stages.train_network", *SHORT, check=False, HYDRA_FULL_ERROR="1")
    assert "Traceback" in full.stderr


def test_a_missing_input_names_the_file_and_how_to_make_it(project):
    (project.root / "data" / "mnist.npz").unlink()
    result = project.run("stages.train_network", *SHORT, check=False)
    assert result.returncode == 1
    assert result.stderr == (
        "error: data/mnist.npz does not exist yet; `make repro` makes it, "
        "and so does `dvc repro split_mnist`\n"
    )


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("models/network/relu-he.pkl", "train_network"),
        ("metrics/network/relu-he.json", "train_network"),
        ("metrics/summary.json", "evaluate"),
        ("metrics/rules.yaml", None),
    ],
)
def test_what_makes_a_missing_file_is_named_if_a_stage_does(project, path, stage):
    (project.root / path).unlink(missing_ok=True)
    with pytest.raises(RetraceError) as refusal:
        Workspace(project.root, project.root).input(path)
    how = f" yet; `make repro` makes it, and so does `dvc repro {stage}`" if stage else ""
    assert str(refusal.value) == f"{path} does not exist{how}"


@pytest.mark.usefixtures("unmeasured")  # with a tracer Hydra takes itself for debugged
def test_a_sweep_without_its_input_says_so_without_a_traceback(project):
    (project.root / "data" / "mnist.npz").unlink()
    result = project.run("stages.train_network", "-m", *SHORT, check=False)
    assert result.returncode == 1
    assert "error: data/mnist.npz does not exist yet" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_input_ends_in_one_line(project):
    data = project.root / "data" / "mnist.npz"
    data.write_bytes(data.read_bytes()[:1000])
    result = project.run("stages.train_network", *SHORT, check=False)
    assert result.returncode == 1
    assert "is not a valid array file" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_diverging_training_ends_in_one_line_and_leaves_no_file(project):
    result = project.run("stages.train_network", *SHORT, "network.learning_rate=1e30", check=False)
    assert result.returncode == 1
    assert "diverged" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list((project.root / "outputs").rglob("*.pkl"))


def test_dvc_exp_run_composes_overrides_into_the_stages(project):
    study = project.root / "conf" / "network" / "study.yaml"
    text = study.read_text()
    study.write_text(text.replace(": 100", ": 2").replace("[256, 128, 64, 32]", "[8, 6]"))
    # Only the stage at hand: the made-up data come from no stage
    pipeline = project.root / "dvc.yaml"
    stages = yaml.safe_load(pipeline.read_text())["stages"]
    pipeline.write_text(yaml.dump({"stages": {"train_network": stages["train_network"]}}))
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
        subprocess.run(["git", *command.split()], cwd=project.root, check=True)

    overrides = ("network.learning_rate=0.05", "grid.init=[normal]", "grid.activation=[relu,tanh]")
    settings = [word for override in (*overrides, "tracking=off") for word in ("-S", override)]
    project.run("dvc", "exp", "run", *settings)

    assert "learning_rate: 0.05" in (project.root / "params.yaml").read_text()
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]
    epochs = {
        name: stage.get("params", {}).get("params.yaml", {}).get("network.max_epochs")
        for name, stage in lock.items()
    }
    fresh = {name for name, value in epochs.items() if value == 2}
    assert fresh == {"train_network@relu-normal", "train_network@tanh-normal"}
    metrics = project.root / "metrics" / "network" / "relu-normal.json"
    assert json.loads(metrics.read_text())["n_epochs"] == 2


def test_ctrl_c_while_a_stage_imports_its_libraries_is_one_line(project, tmp_path):
    (tmp_path / "numpy.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    )
    result = project.run("stages.train_network", check=False, PYTHONPATH=str(tmp_path))
    assert result.returncode == -signal.SIGINT
    assert result.stderr == "interrupted\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["stages.train_network", "-m", "mnist.seed=range(5)"],
            "mnist.seed=range(5) has no effect on train_network, which reads network; ",
        ),
        (
            ["stages.classify_features", "features=bottleneck"],
            "features=bottleneck has no effect on classify_features, which reads autoencoder, "
            "feature_classifier; ",
        ),
        (
            ["stages.worked_examples", "network.seed=1"],
            "network.seed=1 has no effect on worked_examples, which has no parameters; ",
        ),
    ],
)
def test_an_override_without_effect_is_refused_in_one_line(project, command, message):
    result = project.run(*command, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: command line: {message}")


def test_a_stage_takes_a_whole_experiment_and_the_seed(project):
    project.run("stages.train_network", "experiment=smoke", "seed=3", "tracking=off",
                "network.hidden_layer_sizes=[4]", "network.max_epochs=1")  # fmt: skip


CHANGED = "what train_network comes from has changed while it ran: run it again"
EDITS = {
    "code": (
        "mlcore/nn/losses.py", "", "# changed",
        "mlcore/nn/losses.py has changed since this process was started",
    ),
    "parameters": ("params.yaml", "patience: 20", "patience: 3", CHANGED),
    "another dependency": ("requirements.numeric.txt", "", "# changed", CHANGED),
    "other code": ("mlcore/report/__init__.py", "", "# changed", None),
    "other parameters": ("params.yaml", "n_images: 10", "n_images: 5", None),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_what_changes_while_a_stage_runs_is_not_noted_with_its_results(project, edit):
    """DVC would hash it when the stage has ended."""
    name, old, new, changed = EDITS[edit]
    project.run("mlcore.config", "network.max_epochs=1", "network.hidden_layer_sizes=[4]")
    meddling = f"""
inner = run
def run(config, workspace):
    path = workspace.root / {name!r}
    before = path.read_text()
    assert {old!r} in before
    path.write_text(before.replace({old!r}, {new!r}) if {old!r} else before + {new!r})
    return inner(config, workspace)

"""
    stage = project.root / "stages" / "train_network.py"
    stage.write_text(stage.read_text().replace("if __name__", f"{meddling}if __name__"))
    result = project.run("stages.train_network", DVC_STAGE="train_network@tanh-normal", check=False)
    if changed is None:
        assert result.returncode == 0, result.stderr
    else:
        assert result.returncode == 1
        assert result.stderr.splitlines() == [f"error: {changed}"]
        assert not (project.root / "models").exists()
        with closing(sqlite3.connect(project.root / "mlflow.db")) as store:
            (status,) = store.execute("select status from runs")
            (error,) = store.execute("select value from tags where key = 'error'")
        assert (status, error) == (("FAILED",), (changed,))
