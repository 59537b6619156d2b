"""Sweeps: what is in the table is not run again, and what is, is what the stages would give."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from filelock import FileLock
from mlcore.sweeps.confirm import Finished, Group

from mlcore.errors import RetraceError
from mlcore.judging.replicates import CURVES, FIGURES, KEY, Table, read_replicates, read_runs
from mlcore.pipeline.digests import changed_code
from mlcore.sweeps.jobs import check_code, jobs_of, read_sweeps, todo
from mlcore.tracking.store import default_uri
from mlcore.training.models import load_network

ROOT = Path(__file__).parents[1]
SMALL = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]"]
FILE = {
    "table": "metrics/t.csv",
    "curves": "metrics/curves.csv",
    "sweeps": {
        "networks": {
            "stages": ["train_network"],
            "overrides": ["network.activation=tanh,relu", *SMALL],
        },
        "codes": {
            "stages": ["train_autoencoder", "extract_features", "classify_features"],
            "overrides": ["autoencoder.max_epochs=2", "feature_classifier.max_epochs=2"],
        },
        "search": {
            "stages": ["search_classifier"],
            "overrides": [
                "search.fold_seed=${seed}",
                "search.solver=[adam]",
                "search.learning_rate=[0.01]",
                "search.batch_size=[32],[64]",
                "search.max_epochs=1",
            ],
        },
    },
}


def write(project, content=None):
    (project.root / "s.yaml").write_text(yaml.safe_dump(content or FILE), encoding="utf-8")


def sweep(project, *arguments, check=True):
    return project.run("stages.sweep", "s.yaml", "tracking=off", *arguments, check=check)


def table(project, name="t"):
    return pd.read_csv(project.root / "metrics" / f"{name}.csv")


def edit(project, name, change=lambda text: text + "\n"):
    path = project.root / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_a_sweep_fills_its_table_and_is_not_run_twice(project):
    write(project)
    first = sweep(project, "--seeds", "2")
    assert "0 of 10 jobs stand in metrics/t.csv" in first.stdout
    rows = table(project)
    # Two networks, an autoencoder, a classifier on its codes and two candidates, of two seeds
    assert len(rows) == 12
    assert sorted(set(zip(rows["part"], rows["name"], strict=True))) == [
        ("autoencoder", "relu"),
        ("feature_classifier", "relu"),
        ("network", "relu-normal"),
        ("network", "tanh-normal"),
        ("search", "adam-0.01-32"),
        ("search", "adam-0.01-64"),
    ]
    assert rows["digest"].is_unique
    assert set(rows["overrides"][rows["part"] == "search"]) == {
        f"search.fold_seed=${{seed}} search.solver=[adam] search.learning_rate=[0.01] "
        f"search.batch_size=[{size}] search.max_epochs=1"
        for size in (32, 64)
    }
    seeds = rows.pivot_table("test_loss", ["part", "name"], "seed")
    assert (seeds[1] != seeds[2]).all()

    before = {path: path.read_bytes() for path in (project.root / "metrics").glob("*.csv")}
    again = sweep(project, "--seeds", "2")
    assert again.stdout.strip() == "10 of 10 jobs stand in metrics/t.csv"
    more = sweep(project, "--seeds", "3")
    assert "10 of 15 jobs stand in metrics/t.csv" in more.stdout
    assert len(table(project)) == 18
    for name in ("t", "curves"):
        lines = before[project.root / "metrics" / f"{name}.csv"].decode().splitlines()
        kept = (project.root / "metrics" / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        assert set(lines) < set(kept)


def test_its_figures_are_those_of_the_stage_run_by_hand(project):
    write(project)
    sweep(project, "--seeds", "1")
    project.run("stages.train_network", "seed=1", "network.activation=tanh", *SMALL, "tracking=off")
    (metrics,) = (project.root / "outputs").rglob("network/tanh-normal.json")
    row = table(project).query("name == 'tanh-normal'").iloc[0]
    for name, value in json.loads(metrics.read_text(encoding="utf-8")).items():
        assert row[name] == value
    (model,) = (project.root / "outputs").rglob("*.pkl")
    network = load_network(model)
    with np.load(project.root / "data" / "mnist.npz") as arrays:
        X, y = arrays["X_val"] / np.float32(255), arrays["y_val"]
    losses = -network.predict_log_proba(X)[np.arange(len(y)), y]
    assert row["val_loss_sd"] == pytest.approx(losses.std(), rel=1e-5)
    assert np.exp(network.predict_log_proba(X)).sum(axis=1) == pytest.approx(1, rel=1e-5)

    curve = table(project, "curves").query(f"digest == '{row['digest']}'")
    assert curve["epoch"].tolist() == [1, 2]
    last = curve.iloc[-1]
    for name in ("test_loss", "test_accuracy", "val_loss", "val_accuracy"):
        assert last[name] == pytest.approx(row[name], rel=1e-5)
    assert curve["test_loss"].iloc[0] != last["test_loss"]


def test_what_a_job_depends_on_makes_its_digest(project):
    write(project)
    file = read_sweeps(project.root / "s.yaml")

    def digests(*overrides):
        jobs = jobs_of(file, project.root, 1, overrides)
        return {f"{j.sweep} {j.config.network.activation}": j.digests for j in jobs}

    before = digests()
    # What another part uses changes nothing
    assert digests("classifier.max_epochs=7", "tracking=off") == before
    learning = digests("network.learning_rate=0.5")
    changed = {name for name in before if before[name] != learning[name]}
    assert changed == {"networks tanh", "networks relu"}
    # A stage's digest holds what the stages before it depend on
    stopping = digests("autoencoder.early_stop=true")["codes tanh"]
    assert [a == b for a, b in zip(before["codes tanh"], stopping, strict=True)] == [False] * 3
    layer = digests("features.layer=2")["codes tanh"]
    assert [a == b for a, b in zip(before["codes tanh"], layer, strict=True)] == [
        True, False, False
    ]  # fmt: skip
    edit(project, "mlcore/nn/losses.py")
    edited = digests()
    assert edited["networks tanh"] != before["networks tanh"]
    assert edited["search tanh"] == before["search tanh"]
    data = project.root / "data" / "fashion_mnist.npz"
    data.write_bytes(data.read_bytes() + b" ")
    assert digests()["search tanh"] != before["search tanh"]
    assert digests()["networks tanh"] == edited["networks tanh"]


def test_a_job_whose_code_changed_replaces_its_row(project):
    write(project, FILE | {"sweeps": {"networks": FILE["sweeps"]["networks"]}})
    sweep(project, "--seeds", "1")
    before = table(project)
    edit(project, "mlcore/nn/losses.py")
    sweep(project, "--seeds", "1")
    after = table(project)
    assert len(after) == len(before)
    assert not set(after["digest"]) & set(before["digest"])
    assert set(table(project, "curves")["digest"]) == set(after["digest"])


PROBE = """
from pathlib import Path
from mlcore.app import ROOT
from mlcore.sweeps.jobs import check_code, jobs_of, read_sweeps
from stages.sweep import run_job

code = ROOT / "mlcore" / "nn" / "losses.py"
before = code.read_text()
for job, text in zip(jobs_of(read_sweeps(Path("s.yaml")), ROOT, 3), (before + "\\n", before, "")):
    outcome = run_job(job, False, ".")
    print(len(outcome.rows), outcome.error, flush=True)
    code.write_text(text)
"""


def test_what_an_editor_leaves_beside_the_code_is_no_change(project):
    losses = project.root / "mlcore" / "nn" / "losses.py"
    assert changed_code(project.root) == set()
    losses.with_name(".#losses.py").symlink_to("somebody@somewhere")  # of Emacs
    losses.with_name("losses.py~").write_text("")
    losses.touch()
    assert changed_code(project.root) == set()
    losses.unlink()
    assert changed_code(project.root) == {"mlcore/nn/losses.py"}


def test_a_process_trains_no_more_once_its_code_has_changed(project):
    """Not even when the file is as before: the process may have imported it in between."""
    networks = {"stages": ["train_network"], "overrides": [*SMALL, "tracking=off"]}
    write(project, FILE | {"sweeps": {"networks": networks}})
    (project.root / "probe.py").write_text(PROBE, encoding="utf-8")
    first, *later = project.run("probe").stdout.splitlines()
    assert first == "1 "
    line = "0 mlcore/nn/losses.py has changed since this process was started"
    assert later == [line, line]


def test_a_worker_with_other_data_refuses_a_job(project):
    networks = {"stages": ["train_network"], "overrides": SMALL}
    write(project, FILE | {"sweeps": {"networks": networks}})
    (job,) = jobs_of(read_sweeps(project.root / "s.yaml"), project.root, 1)
    check_code(project.root, job)
    data = project.root / "data" / "mnist.npz"
    data.write_bytes(data.read_bytes() + b" ")
    with pytest.raises(RetraceError, match="has other code or data than the sweep began with"):
        check_code(project.root, job)


def test_code_that_changes_while_a_job_runs_makes_it_fail(project):
    networks = {"stages": ["train_network"], "overrides": SMALL}
    write(project, FILE | {"sweeps": {"networks": networks}})
    with (project.root / "stages" / "train_network.py").open("a", encoding="utf-8") as file:
        file.write("\nPath = __import__('pathlib').Path\n")
        file.write("Path(__file__).with_name('__init__.py').open('a').write('# changed')\n")
    result = sweep(project, check=False)
    assert result.returncode == 1
    line = "stages/__init__.py has changed since this process was started"
    assert line in result.stdout
    assert "error: 1 of 1 jobs failed" in result.stderr
    assert not (project.root / "metrics" / "t.csv").exists()


@pytest.mark.parametrize("curves", [True, False])
def test_after_a_refactoring_a_sample_confirms_the_rest(project, curves):
    write(project, FILE if curves else {name: FILE[name] for name in ("table", "sweeps")})
    sweep(project, "--seeds", "2")
    before = table(project)
    old_curves = table(project, "curves") if curves else None
    edit(project, "stages/__init__.py")  # every stage depends on it
    result = sweep(project, "--seeds", "3", "--confirm", "2")
    # Two of four networks and searches, of both kinds; the codes of both seeds
    ran = re.findall(r"^\d of 6, .*: (\w+) seed=(.*): done$", result.stdout, re.M)
    assert sorted(name for name, _ in ran) == ["codes"] * 2 + ["networks"] * 2 + ["search"] * 2
    assert {word for _, words in ran for word in words.split() if "activation" in word} == {
        "network.activation=tanh", "network.activation=relu"
    }  # fmt: skip
    for name, n in (("networks", 4), ("codes", 2), ("search", 4)):
        assert f"\n{name}, {n} jobs: the same figures, confirmed\n" in result.stdout
    after = table(project)
    pd.testing.assert_frame_equal(after.drop(columns="digest"), before.drop(columns="digest"))
    assert not set(after["digest"]) & set(before["digest"])
    if curves:
        renamed = dict(zip(before["digest"], after["digest"], strict=True))
        pd.testing.assert_frame_equal(
            table(project, "curves"), old_curves.assign(digest=old_curves["digest"].map(renamed))
        )
    assert "10 of 15 jobs stand in metrics/t.csv" in sweep(project, "--seeds", "3").stdout


def test_what_comes_out_otherwise_is_not_confirmed_however_often_one_asks(project):
    write(project)
    sweep(project, "--seeds", "2")
    before = table(project)
    edit(project, "mlcore/nn/initializers.py", lambda text: text.replace("2.0", "3.0"))
    edit(project, "mlcore/training/mlp.py")
    result = sweep(project, "--seeds", "2", "--confirm", "1", check=False)
    assert result.returncode == 1
    assert re.search(r"\nnetworks seed=1 .*: train_loss of \S+ is \S+, was \S+\n", result.stdout)
    assert "\nnetworks, 4 jobs: not confirmed\n" in result.stdout
    assert "\nsearch, 4 jobs: the same figures, confirmed\n" in result.stdout
    assert len(result.stderr.splitlines()) == 1
    assert "the same command without --confirm" in result.stderr
    after = table(project)
    pd.testing.assert_frame_equal(after.drop(columns="digest"), before.drop(columns="digest"))
    assert set(after["part"][after["digest"] == before["digest"]]) == {"network"}
    for _ in range(2):
        again = sweep(project, "--seeds", "2", "--confirm", "1", check=False)
        assert again.returncode == 1
        assert "networks, 4 jobs: not confirmed" in again.stdout
        assert table(project).equals(after)


def test_trainings_of_different_code_do_not_vouch_for_each_other(project):
    write(project, FILE | {"sweeps": {"networks": FILE["sweeps"]["networks"]}})
    sweep(project, "--seeds", "2")
    edit(project, "mlcore/nn/initializers.py", lambda text: text.replace("2.0", "3.0"))
    sweep(project, "--seeds", "1")  # the first seed alone
    before = table(project)
    edit(project, "mlcore/nn/initializers.py")
    result = sweep(project, "--seeds", "2", "--confirm", "1", check=False)
    assert "networks, 2 jobs: the same figures, confirmed" in result.stdout
    assert "networks, 2 jobs: not confirmed" in result.stdout
    after = table(project)
    assert set(after["seed"][after["digest"] == before["digest"]]) == {2}


def test_what_was_trained_with_other_parameters_cannot_be_confirmed(project):
    write(project, FILE | {"sweeps": {"networks": FILE["sweeps"]["networks"]}})
    sweep(project)
    edit(project, "mlcore/nn/initializers.py")
    edit(
        project, "conf/network/study.yaml", lambda text: re.sub(r"(patience): 20", r"\1: 30", text)
    )
    result = sweep(project, "--confirm", "1", check=False)
    assert "error: t.csv has none of these jobs from other code or data" in result.stderr


def test_a_sample_varies_what_it_can():
    def picked(n, *jobs):
        group = Group("s", [Finished(FakeJob(*job), None) for job in jobs])
        return [(job.config.seed, *job.overrides) for job in group.sample(n)]

    both = [(seed, (f"a={a}", f"b={b}")) for a in "xyz" for b in "pq" for seed in range(3)]
    assert picked(1, *both) == [(0, "a=x", "b=p")]
    assert picked(3, *both) == [(0, "a=x", "b=p"), (1, "a=y", "b=q"), (2, "a=z", "b=p")]
    assert sorted(picked(99, *both)) == sorted((seed, *words) for seed, words in both)
    # However many there are of each
    uneven = [*((seed, ("a=x",)) for seed in range(5)), (0, ("a=y",)), (0, ("a=z",))]
    assert {word for _, word in picked(3, *uneven)} == {"a=x", "a=y", "a=z"}


def test_nothing_to_confirm_is_said(project):
    write(project)
    for number in ("-1", "0"):
        result = sweep(project, "--confirm", number, check=False)
        assert result.stderr == f"error: --confirm {number}: should be 1 or more\n"
    result = sweep(project, "--confirm", "1", check=False)
    assert result.returncode == 1
    assert result.stderr == "error: t.csv has none of these jobs from other code or data\n"
    assert not (project.root / "metrics" / "t.csv").exists()


def test_data_that_a_sweep_makes_are_its_own(project):
    """A stage reads what an earlier one of its job wrote, and the checkout's are not touched."""
    raw = project.root / "data" / "raw" / "fashion_mnist"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 400), ("t10k", 100)):
        y = np.arange(n, dtype=np.uint8) % 10
        X = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        for kind, values in (("images-idx3", X), ("labels-idx1", y)):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(
                size.to_bytes(4, "big") for size in values.shape
            )
            (raw / f"{part}-{kind}-ubyte").write_bytes(header + values.tobytes())
    before = (project.root / "data" / "fashion_mnist.npz").read_bytes()
    sizes = ["fashion_mnist.n_train=300", "fashion_mnist.n_test=50", "classifier.max_epochs=2"]
    split = {
        "stages": ["subset_fashion", "fit_classifier"],
        "overrides": [*sizes, "fashion_mnist.validation_size=0.1,0.3"],
    }
    write(project, {"table": "metrics/t.csv", "sweeps": {"split": split}})
    sweep(project)
    rows = table(project)
    assert rows["val_loss"].nunique() == rows["digest"].nunique() == 2
    assert (project.root / "data" / "fashion_mnist.npz").read_bytes() == before
    assert not (project.root / "metrics" / "curves.csv").exists()


def test_a_failing_job_is_named_and_the_others_finish(project):
    overrides = [*SMALL, "network.learning_rate=0.1,1e30"]
    write(project, FILE | {"sweeps": {"a": {"stages": ["train_network"], "overrides": overrides}}})
    result = sweep(project, check=False)
    assert result.returncode == 1
    assert "network.learning_rate=1e+30: failed: training diverged" in result.stdout
    assert "error: 1 of 2 jobs failed" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(table(project)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"table": "t.csv"}, "sweeps"),
        (FILE | {"more": 1}, "more"),
        (FILE | {"sweeps": {"a": {"stages": []}}}, "sweeps.a.stages=[]: "),
        (FILE | {"sweeps": {"a": {}}}, "sweeps.a.stages is missing"),
        (FILE | {"jobs": 2}, "unknown key jobs; known here are table, curves, sweeps"),
        (
            FILE | {"sweeps": {"a": {"stages": ["x"], "seed": 2}}},
            "unknown key sweeps.a.seed; known here are stages, seeds, overrides",
        ),
        (FILE | {"table": 3}, "table=3: should be a valid string"),
        (FILE | {"table": 10**99}, "0000: should be a valid string"),
        (FILE | {"table": [["a" * 99] * 9] * 9}, "...], ...]: should be a valid string"),
        (["a"], "the file should hold keys: table, curves, sweeps"),
        (FILE | {"sweeps": {"a": {"stages": ["train"]}}}, "train should be a stage of dvc.yaml"),
        (
            FILE | {"sweeps": {"a": {"stages": ["fit_classifier"], "overrides": ["x=1"]}}},
            "sweep a: unknown parameter x=1",
        ),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(RetraceError) as caught:
        jobs_of(read_sweeps(path), ROOT, 1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_wrong_number_are_said(project):
    result = project.run("stages.sweep", "none.yaml", check=False)
    assert result.stderr == "error: none.yaml does not exist; sweeps/ has files of sweeps\n"
    write(project)
    result = sweep(project, "--seeds", "0", check=False)
    assert result.stderr == "error: --seeds 0: should be 1 or more\n"
    result = sweep(project, "network.learning_rate=1", check=False)
    assert result.stderr == (
        "error: network.learning_rate=1: only tracking is set for all jobs; the rest is in s.yaml\n"
    )
    for jobs in ("0", "-5"):
        result = sweep(project, "--jobs", jobs, check=False)
        assert result.stderr.startswith(f"error: --jobs {jobs}: should be -1")
    with FileLock(project.root / "build" / "metrics-t.csv.lock"):
        result = sweep(project, check=False)
    assert result.stderr == "error: another command is filling metrics/t.csv\n"


@pytest.mark.usefixtures("unmeasured")  # coverage hangs if interrupted at the wrong moment
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2")])
def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on(project, number, jobs, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    slow = ["network.max_epochs=1,1000000", "network.patience=1000000", "network.batch_size=1"]
    write(project, FILE | {"sweeps": {"a": {"stages": ["train_network"], "overrides": slow}}})
    command = [sys.executable, "-m", "stages.sweep", "s.yaml", "--jobs", jobs, "tracking=off"]
    environment = project.environment(TMPDIR=str(temporary))
    process = subprocess.Popen(
        command, cwd=project.root, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (project.root / "metrics" / "t.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command goes on from here" in errors
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not list(temporary.glob("retrace-*"))
    assert len(table(project)) == 1
    file = read_sweeps(project.root / "s.yaml")
    jobs = jobs_of(file, project.root, 1)
    left = todo(jobs, Table(project.root / file.table, None))
    assert [job.config.network.max_epochs for job in left] == [1_000_000]


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_projects_sweeps_compose(path, project):
    """Every job's overrides fit the schema, and no two jobs are the same."""
    for raw in ("mnist", "fashion_mnist"):
        (project.root / "data" / "raw" / raw).mkdir(parents=True)
    jobs = jobs_of(read_sweeps(path), project.root, 1)
    digests = [job.digests[-1] for job in jobs]
    assert len(set(digests)) == len(digests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_runs_of_a_group_have_a_parent_with_mean_and_spread(project):
    import mlflow

    networks = {"networks": FILE["sweeps"]["networks"]}
    write(project, FILE | {"sweeps": networks})
    project.run("stages.sweep", "s.yaml", "--seeds", "2")
    project.run("stages.sweep", "s.yaml", "--seeds", "3")  # the parent is brought up to date
    store = mlflow.MlflowClient(default_uri(project.root))
    runs = store.search_runs([store.get_experiment_by_name("network").experiment_id])
    parents = {run.info.run_id: run for run in runs if "n" in run.data.metrics}
    assert len(parents) == 2
    assert len(runs) == 8
    rows = table(project)
    for identity, parent in parents.items():
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == identity]
        assert sorted(child.data.params["seed"] for child in children) != []
        (activation,) = {child.data.params["activation"] for child in children}
        expected = rows[rows["name"] == f"{activation}-normal"]["test_accuracy"]
        metrics = parent.data.metrics
        assert metrics["n"] == len(children) == len(expected) == 3
        assert metrics["test_accuracy_mean"] == pytest.approx(np.mean(expected))
        assert metrics["test_accuracy_std"] == pytest.approx(np.std(expected, ddof=1))
        assert metrics["test_accuracy_min"] == min(expected)
        assert metrics["test_accuracy_max"] == max(expected)
        assert parent.info.run_name == f"{activation}-normal, all seeds"
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["origin"] == "sweep"


def row(seed, name="tanh-normal", part="network", overrides="a=1", **figures):
    digest = f"{seed:016d}"
    key = {"sweep": "s", "part": part, "name": name, "overrides": overrides, "seed": seed}
    return {**key, "digest": digest, **dict.fromkeys(FIGURES, 0.5), "n_epochs": 2, **figures}


def curve(seed, n=2):
    return [
        {"digest": f"{seed:016d}", "epoch": epoch, **dict.fromkeys(CURVES, 0.5)}
        for epoch in range(1, n + 1)
    ]


class FakeJob:
    def __init__(self, seed, overrides=("a=1",)):
        self.sweep, self.overrides, self.digests = "s", list(overrides), [f"{seed:016d}"]
        self.config = SimpleNamespace(seed=seed)


def filled(folder, *seeds):
    table = Table(folder / "t.csv", folder / "c.csv")
    for seed in seeds:
        table.add([row(seed)], curve(seed))
    return Table(folder / "t.csv", folder / "c.csv")


def test_digests_that_are_numbers_stay_as_they_are(tmp_path):
    table = filled(tmp_path, 123)
    assert table.rows["digest"].tolist() == table.curves["digest"].unique().tolist() == [
        "0000000000000123"
    ]  # fmt: skip
    assert todo([FakeJob(123), FakeJob(124)], table)[0].digests == ["0000000000000124"]


def test_a_row_without_its_whole_curve_is_run_again(tmp_path):
    filled(tmp_path, 1, 2, 3)
    curves = pd.read_csv(tmp_path / "c.csv", dtype={"digest": str})
    lost = curves[(curves["digest"] != f"{2:016d}") & ~((curves["digest"] == f"{3:016d}")
                                                       & (curves["epoch"] == 2))]  # fmt: skip
    lost.to_csv(tmp_path / "c.csv", index=False)
    table = Table(tmp_path / "t.csv", tmp_path / "c.csv")
    jobs = [FakeJob(seed) for seed in (1, 2, 3)]
    assert [job.digests[0] for job in todo(jobs, table)] == [f"{2:016d}", f"{3:016d}"]
    table.add([row(2)], curve(2))
    assert [job.digests[0] for job in todo(jobs, table)] == [f"{3:016d}"]


def test_rows_that_the_file_no_longer_asks_for_are_forgotten(tmp_path):
    table = filled(tmp_path, 1, 2)
    assert todo([FakeJob(9, ["b=2"])], table)
    table.add([row(9, overrides="b=2")], curve(9))
    assert Table(tmp_path / "t.csv", tmp_path / "c.csv").rows["seed"].tolist() == [9]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("digest", "hash"), "the columns should be sweep, part"),
        (lambda text: "<<<<<<< HEAD\n" + text, "the columns should be|not a valid CSV"),
        (lambda text: text + "<<<<<<< HEAD\n", "should have a seed and a 16-digit digest"),
        (lambda text: text + text.splitlines()[1] + "\n", "tanh-normal with seed 1 is there twice"),
    ],
)
def test_a_damaged_table_is_one_clear_line(tmp_path, damage, message):
    filled(tmp_path, 1)
    path = tmp_path / "t.csv"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RetraceError, match=message):
        read_runs(path)


def test_a_training_stands_once_for_each_seed_among_the_replicates(tmp_path):
    table = Table(tmp_path / "t.csv", None)
    table.add([row(1), row(1, overrides="a=2", digest="f" * 16)], [])
    assert len(read_runs(tmp_path / "t.csv")) == 2
    with pytest.raises(RetraceError, match="tanh-normal with seed 1 is there with different"):
        read_replicates(tmp_path / "t.csv")


def test_an_empty_sweep_of_overrides_keeps_its_key(tmp_path):
    table = Table(tmp_path / "t.csv", None)
    table.add([row(1, overrides="")], [])
    again = Table(tmp_path / "t.csv", None)
    again.add([row(1, overrides="", digest="e" * 16)], [])
    rows = read_runs(tmp_path / "t.csv")
    assert rows["digest"].tolist() == ["e" * 16]
    assert rows[KEY].iloc[0].tolist() == ["s", "network", "tanh-normal", "", 1]
