"""Sweeps: what is in the table is not run again, and what is, is what the stages would give."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import yaml
from filelock import FileLock
from servers import wait_for

from mlcore.errors import RetraceError
from mlcore.study.replicates import CURVES, KEY, METRICS, Table, read_replicates, read_runs
from mlcore.sweeps.jobs import jobs_of, read_sweeps, todo
from mlcore.sweeps.run import chosen
from stages import train_network

ROOT = Path(__file__).parents[1]
SMALL = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]"]
NETWORKS = {"stages": ["train_network"], "overrides": ["network.activation=tanh,relu", *SMALL]}
FILE = {
    "table": "metrics/t.csv",
    "curves": "metrics/curves.csv",
    "sweeps": {
        "networks": NETWORKS,
        "codes": {
            "stages": ["train_autoencoder", "extract_features", "classify_features"],
            "overrides": ["autoencoder.seed=${seed}", "autoencoder.max_epochs=2",
                          "feature_classifier.max_epochs=2"],
        },
        "search": {
            "stages": ["search_classifier"],
            "overrides": ["search.seed=${seed}", "search.solver=[adam]",
                          "search.learning_rate=[0.01]", "search.batch_size=[32],[64]",
                          "search.max_epochs=1"],
        },
    },
}  # fmt: skip
ALONE = FILE | {"sweeps": {"networks": NETWORKS}}

ITEMS = {
    "train_network": "@relu-normal",
    "train_autoencoder": "@relu-fit",
    "extract_features": "@relu",
    "classify_features": "@relu",
    "search_classifier": "",
}
"""Stages of FILE, and one of each one's runs."""


def lock(project, **md5s):
    """Write a dvc.lock of runs that had one result each, with an MD5 of its own or as given."""
    stages = {}
    for name, item in ITEMS.items():
        deps = [{"path": "data/mnist.npz", "md5": "d"}, {"path": "mlcore/x.py", "md5": "code"}]
        outs = [{"path": f"metrics/{name}.json", "md5": md5s.get(name, name)}]
        outs.append({"path": f"models/{name}.npz", "md5": md5s.get("models", "m")})
        stages[f"{name}{item}"] = {"deps": deps, "outs": outs}
    # What DVC keeps of a stage that is no longer there counts for nothing
    gone = [{"path": "metrics/x.json", "md5": str(md5s)}]
    stages["train_network@softmax-normal"] = {"outs": gone}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def write(project, content=FILE):
    (project.root / "s.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def sweep(project, *arguments, check=True):
    given = ["s.yaml", "--jobs", "1", "tracking=off", *arguments]
    return project.call("mlcore.sweeps", *given, check=check)


def table(project, name="t"):
    return pd.read_csv(project.root / "metrics" / f"{name}.csv", dtype={"params": str})


def jobs_in(project, n_seeds=1, overrides=()):
    return jobs_of(read_sweeps(project.root / "s.yaml"), project.root, n_seeds, overrides)


@pytest.mark.usefixtures("up_to_date")
def test_a_sweep_fills_its_table_and_is_not_run_twice(project):
    write(project)
    assert "0 of 10 jobs stand in metrics/t.csv" in sweep(project, "--seeds", "2").stdout
    rows = table(project)
    # Two networks, an autoencoder, a classifier on its codes and two candidates, of two seeds
    assert len(rows) == 12
    assert set(rows["part"] + "/" + rows["name"]) == {
        "autoencoder/relu-fit", "feature_classifier/relu", "network/relu-normal",
        "network/tanh-normal", "search/adam-0.01-32", "search/adam-0.01-64",
    }  # fmt: skip
    assert rows["params"].is_unique
    assert rows["results"].nunique() == 4
    assert set(rows["overrides"][rows["part"] == "search"]) == {
        f"search.seed=${{seed}} search.solver=[adam] search.learning_rate=[0.01] "
        f"search.batch_size=[{size}] search.max_epochs=1"
        for size in (32, 64)
    }
    seeds = rows.pivot_table("test_loss", ["part", "name"], "seed")
    assert (seeds[1] != seeds[2]).all()

    before = {path: path.read_text() for path in (project.root / "metrics").glob("*.csv")}
    assert sweep(project, "--seeds", "2").stdout == "10 of 10 jobs stand in metrics/t.csv\n"
    assert "10 of 15 jobs stand in metrics/t.csv" in sweep(project, "--seeds", "3").stdout
    assert len(table(project)) == 18
    for name in ("t", "curves"):
        path = project.root / "metrics" / f"{name}.csv"
        assert set(before[path].splitlines()) < set(path.read_text().splitlines())


@pytest.mark.usefixtures("up_to_date")
def test_its_numbers_are_those_of_the_stage_run_by_hand(project):
    write(project, ALONE)
    sweep(project)
    project.call(
        "stages.train_network", "seed=1", "network.activation=tanh", *SMALL, "tracking=off"
    )
    (metrics,) = (project.root / "outputs").rglob("network/tanh-normal.json")
    row = table(project).query("name == 'tanh-normal'").iloc[0]
    for name, value in json.loads(metrics.read_text(encoding="utf-8")).items():
        assert row[name] == value
    curve = table(project, "curves").query(f"params == '{row['params']}'")
    assert curve["epoch"].tolist() == [1, 2]
    last = curve.iloc[-1]
    for name in ("test_loss", "test_accuracy", "val_loss", "val_accuracy"):
        assert last[name] == pytest.approx(row[name], rel=1e-5)
    assert curve["test_loss"].iloc[0] != last["test_loss"]


def test_a_job_is_known_by_its_parameters_and_by_what_the_pipeline_made(project):
    one = {
        name: {**sweep, "overrides": [words for words in sweep["overrides"] if "," not in words]}
        for name, sweep in FILE["sweeps"].items()
    }
    write(project, FILE | {"sweeps": one})
    lock(project)

    def digests(kind, *overrides):
        return {job.sweep: getattr(job, kind) for job in jobs_in(project, overrides=overrides)}

    params, results = digests("params"), digests("results")

    def changed(kind, before, *overrides):
        """Of each sweep, which stages have another digest than before."""
        now = digests(kind, *overrides)
        others = {
            name: [a != b for a, b in zip(before[name], now[name], strict=True)] for name in before
        }
        return {name: stages for name, stages in others.items() if any(stages)}

    # What another part uses changes nothing
    assert changed("params", params, "classifier.max_epochs=7", "tracking=off") == {}
    assert changed("params", params, "network.learning_rate=0.5") == {"networks": [True]}
    # A stage's digest holds what the stages before it depend on
    stopping, layer = "autoencoder.early_stop=false", "features.layer=2"
    assert changed("params", params, stopping) == {"codes": [True, True, True]}
    assert changed("params", params, layer) == {"codes": [False, True, True]}
    assert changed("results", results, "network.learning_rate=0.5") == {}
    lock(project, extract_features="other")
    assert changed("results", results) == {"codes": [False, True, True]}
    lock(project, models="other")  # what they hold shows in the metrics
    assert changed("results", results) == {}
    text = (project.root / "dvc.lock").read_text()
    (project.root / "dvc.lock").write_text(text.replace("md5: code", "md5: refactored"))
    assert changed("results", results) == {}
    (project.root / "dvc.lock").write_text(text.replace("md5: d\n", "md5: data\n"))
    assert changed("results", results).keys() == {"networks", "codes", "search"}


@pytest.mark.usefixtures("up_to_date")
def test_other_code_with_the_same_results_leaves_rows_valid_and_other_results_do_not(project):
    sweeps = {name: FILE["sweeps"][name] for name in ("networks", "search")}
    write(project, FILE | {"sweeps": sweeps})
    lock(project)
    sweep(project)
    before = table(project)
    project.edit("mlcore/nn/losses.py", "", "# changed\n")
    assert sweep(project).stdout == "4 of 4 jobs stand in metrics/t.csv\n"
    lock(project, train_network="other")
    told = sweep(project).stdout
    assert "2 of 4 jobs stand in metrics/t.csv" in told
    assert told.count("networks seed=1") == told.count(": done") == 2
    after = table(project)
    pd.testing.assert_frame_equal(after.drop(columns="results"), before.drop(columns="results"))
    other = after["part"][after["results"] != before["results"]]
    assert other.tolist() == ["network", "network"]
    assert set(table(project, "curves")["params"]) == set(after["params"][other.index])


@pytest.mark.filterwarnings("ignore:.*_NoneStep:DeprecationWarning")  # of DVC's own
def test_a_lock_that_is_out_of_date_is_refused(project):
    write(project)
    (project.root / "metrics" / "network" / "tanh-normal.json").write_text("{}")
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    result = sweep(project, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: out of date: ")
    assert line.endswith(" more; run `make repro` first")
    assert line.count(",") == 2
    (project.root / "dvc.lock").unlink()
    result = sweep(project, check=False)
    assert result.stderr == "error: dvc.lock does not exist yet; `make repro` makes it\n"


@pytest.mark.usefixtures("up_to_date")
def test_some_run_again_are_compared_and_nothing_is_written(project):
    write(project, ALONE)
    sweep(project, "--seeds", "2")
    tables = {path: path.read_text() for path in (project.root / "metrics").glob("*.csv")}
    result = sweep(project, "--seeds", "2", "--again", "2")
    assert "4 of 4 jobs stand in metrics/t.csv" in result.stdout
    assert result.stdout.count(": done\n") == 2
    assert result.stdout.endswith("2 jobs came out as they stand in t.csv\n")
    assert tables == {path: path.read_text() for path in tables}

    paths = [project.root / "metrics" / f"{name}.csv" for name in ("t", "curves")]
    for path, problem in zip(paths, ("test_loss of tanh-normal is ", "the curve of "), strict=True):
        rows = pd.read_csv(path, dtype={"params": str, "results": str})
        rows["test_loss"] += 1
        rows.to_csv(path, index=False)
        spoiled = path.read_text()
        result = sweep(project, "--seeds", "2", "--again", "9", check=False)
        assert result.returncode == 1
        assert problem in result.stdout
        assert " jobs did not come out as they stand there" in result.stderr
        assert path.read_text() == spoiled
        path.write_text(tables[path])


def test_jobs_to_run_again_are_spread_over_overrides_and_seeds():
    jobs = [SimpleNamespace(sweep=name, number=n) for name in "ab" for n in range(9)]
    jobs.append(SimpleNamespace(sweep="c", number=0))
    picked = [(job.sweep, job.number) for job in chosen(jobs, 3)]
    assert picked == [(name, n) for name in "ab" for n in (0, 4, 8)] + [("c", 0)]


@pytest.mark.usefixtures("up_to_date")
def test_code_that_changes_while_a_sweep_runs_ends_each_later_job(project, monkeypatch):
    """One that has begun before may have imported either."""
    run = train_network.run

    def meddling(config, workspace):
        project.edit("mlcore/nn/losses.py", "", "\n")
        return run(config, workspace)

    monkeypatch.setattr(train_network, "run", meddling)
    write(project, ALONE)
    result = sweep(project, "--seeds", "2", check=False)
    assert result.returncode == 1
    line = f"failed: the code in {project.root} has changed since the sweep began"
    assert result.stdout.count(line) == 3
    assert result.stderr == "error: 3 of 4 jobs failed, as said above\n"
    assert len(table(project)) == 1


@pytest.mark.usefixtures("up_to_date")
def test_data_that_a_sweep_makes_are_its_own(project, write_idx):
    """A stage reads what an earlier one of its job wrote, and the checkout's are not touched."""
    write_idx(project.root / "data" / "raw" / "fashion_mnist", 250, 100)
    before = (project.root / "data" / "fashion_mnist.npz").read_bytes()
    sizes = ["fashion_mnist.n_train=200", "fashion_mnist.n_test=50", "classifier.max_epochs=2"]
    varied = ["classifier.method=partial_fit", "fashion_mnist.validation_size=0.1,0.3"]
    split = {"stages": ["subset_fashion", "fit_classifier"], "overrides": [*sizes, *varied]}
    write(project, {"table": "metrics/t.csv", "sweeps": {"split": split}})
    sweep(project)
    rows = table(project)
    assert rows["val_loss"].nunique() == rows["params"].nunique() == 2
    assert (project.root / "data" / "fashion_mnist.npz").read_bytes() == before
    assert not (project.root / "metrics" / "curves.csv").exists()


@pytest.mark.usefixtures("up_to_date")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failing_job_is_named_and_the_others_finish(project, jobs):
    overrides = [*SMALL, "network.learning_rate=0.1,1e30"]
    write(project, FILE | {"sweeps": {"a": {"stages": ["train_network"], "overrides": overrides}}})
    result = sweep(project, "--jobs", jobs, check=False)
    assert result.returncode == 1
    assert "network.learning_rate=1e+30: failed: training diverged" in result.stdout
    assert result.stderr == "error: 1 of 2 jobs failed, as said above\n"
    assert len(table(project)) == 1


WRONG = {
    "{table: t.csv}": "s.yaml: sweeps is missing",
    "{table: t.csv, sweeps: {a: {stages: []}}}": "sweeps.a.stages=[]: List should have at least 1",
    "{table: t.csv, sweeps: {a: {stages: [x], seed: 2}}}": "unknown; did you mean sweeps.a.seeds?",
    "{table: t.csv, sweeps: {a: {stages: [plt]}}}": "a: there is no stage plt; did you mean plot?",
    "{table: t.csv, sweeps: {a: {stages: [fit_classifier], overrides: [x=1]}}}":
        "sweep a: x=1 is unknown",
    "{table: [[a]], sweeps: {a: {stages: [x]}}}": "table=[['a']]: should be a valid string",
    "[a]": "s.yaml: it holds ['a']",
}  # fmt: skip


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "s.yaml"
    path.write_text(content)
    with pytest.raises(RetraceError) as caught:
        jobs_of(read_sweeps(path), ROOT, 1)
    assert WRONG[content] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_run_is_one_clear_line(project):
    def refused(*arguments):
        done = sweep(project, *arguments, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        return line.removeprefix("error: ")

    write(project)
    for option, number in (("--seeds", 0), ("--again", -1), ("--jobs", 0), ("--jobs", -1)):
        told = f"argument {option}: {number}: should be 1 or more"
        assert refused(option, str(number)) == told
    rest = "only tracking is set for all jobs; the rest is in s.yaml"
    assert refused("network.learning_rate=1") == f"network.learning_rate=1: {rest}"
    (project.root / "build").mkdir()
    with FileLock(project.root / "build" / "metrics-t.csv.lock"):
        assert refused() == "another command is filling metrics/t.csv"
    missing = project.call("mlcore.sweeps", "none.yaml", check=False)
    assert missing.stderr == "error: none.yaml does not exist; sweeps/ has files of sweeps\n"


# The pipeline is up to date, and the command as it is
STARTED = """
import runpy, sys
from mlcore.sweeps import run

run.stale_stages = lambda *_: []
runpy.run_module("mlcore.sweeps", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2")])
def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on(
    project, number, jobs, tmp_path, start
):
    slow = ["network.max_epochs=1,1000000", "network.patience=1000000", "network.batch_size=1"]
    write(project, FILE | {"sweeps": {"a": {"stages": ["train_network"], "overrides": slow}}})
    command = [sys.executable, "-c", STARTED, "s.yaml", "--jobs", jobs, "tracking=off"]
    env = project.environment(TMPDIR=str(tmp_path))
    process = start(*command, of=project, env=env, stderr=subprocess.PIPE, text=True)
    wait_for((project.root / "metrics" / "t.csv").exists)
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command goes on from here" in errors
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert not list(tmp_path.glob("retrace-*"))
    assert len(table(project)) == 1
    left = todo(jobs_in(project), Table(project.root / "metrics" / "t.csv", None))
    assert [job.config.network.max_epochs for job in left] == [1_000_000]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_projects_sweeps_compose(path, tmp_path):
    """Every job's overrides fit the schema, and of one seed no two jobs are the same."""
    content = yaml.safe_load(path.read_text())
    for sweep in content["sweeps"].values():
        sweep.pop("seeds", None)
    (tmp_path / path.name).write_text(yaml.safe_dump(content))
    digests = [job.params[-1] for job in jobs_of(read_sweeps(tmp_path / path.name), ROOT, 1)]
    assert len(set(digests)) == len(digests)


@pytest.mark.slow
@pytest.mark.mlflow
@pytest.mark.usefixtures("up_to_date")
def test_runs_of_a_group_have_a_parent_with_mean_and_spread(project):
    write(project, ALONE)
    for seeds in ("1", "2"):  # the parent is brought up to date
        project.call("mlcore.sweeps", "s.yaml", "--seeds", seeds)
    runs = project.runs("network")
    parents = {run.info.run_id: run for run in runs if "final/n" in run.data.metrics}
    assert len(parents) == 2
    assert len(runs) == 6
    rows = table(project)
    for identity, parent in parents.items():
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == identity]
        (activation,) = {child.data.params["activation"] for child in children}
        expected = rows[rows["name"] == f"{activation}-normal"]["test_accuracy"]
        metrics = parent.data.metrics
        assert metrics["final/n"] == len(children) == len(expected) == 2
        for kind in ("mean", "std", "min", "max"):
            assert metrics[f"final/test_accuracy_{kind}"] == pytest.approx(expected.agg(kind))
        assert parent.info.run_name == f"{activation}-normal, all seeds"
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["origin"] == "sweep"


# Tables


def row(seed, name="tanh-normal", part="network", overrides="a=1", **more):
    key = {"sweep": "s", "part": part, "name": name, "overrides": overrides, "seed": seed}
    digests = {"params": f"{seed:016d}", "results": f"{7:016d}"}
    return key | digests | dict.fromkeys(METRICS, 0.5) | {"n_epochs": 2} | more


def curve(seed):
    values = {"params": f"{seed:016d}"} | dict.fromkeys(CURVES, 0.5)
    return [values | {"epoch": epoch} for epoch in (1, 2)]


def job(seed, overrides="a=1", results=7):
    digests = {"params": [f"{seed:016d}"], "results": [f"{results:016d}"]}
    return SimpleNamespace(sweep="s", overrides=[overrides], **digests)


def filled(folder, *seeds):
    """What is read of a table to which the results of these seeds are added."""
    table = Table(folder / "t.csv", folder / "c.csv")
    for seed in seeds:
        table.add([row(seed)], curve(seed))
    return Table(folder / "t.csv", folder / "c.csv")


def test_digests_that_are_numbers_stay_as_they_are(tmp_path):
    table = filled(tmp_path, 123)
    digests = table.rows["params"].tolist()
    assert digests == table.curves["params"].unique().tolist() == ["0000000000000123"]
    assert table.rows["results"].tolist() == ["0000000000000007"]
    left = todo([job(123), job(124), job(123, results=8)], table)
    assert [one.params[0][-3:] + one.results[0][-1] for one in left] == ["1247", "1238"]


def test_a_row_without_its_whole_curve_is_run_again(tmp_path):
    filled(tmp_path, 1, 2, 3)
    curves = pd.read_csv(tmp_path / "c.csv", dtype={"params": str})
    of = curves["params"].astype(int)
    curves[(of == 1) | ((of == 3) & (curves["epoch"] == 1))].to_csv(tmp_path / "c.csv", index=False)
    table = filled(tmp_path)
    jobs = [job(seed) for seed in (1, 2, 3)]
    assert todo(jobs, table) == jobs[1:]
    table.add([row(2)], curve(2))
    assert todo(jobs, table) == jobs[2:]


def test_rows_that_the_file_no_longer_asks_for_are_forgotten(tmp_path):
    table = filled(tmp_path, 1, 2)
    assert todo([job(9, "b=2")], table)
    table.add([row(9, overrides="b=2")], curve(9))
    assert filled(tmp_path).rows["seed"].tolist() == [9]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("params", "hash"), "the columns should be sweep, part"),
        (lambda text: "<<<<<<< HEAD\n" + text, "a row has more values"),
        (lambda text: text + "<<<<<<< HEAD\n", "should have a seed and 16-digit digests"),
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
    Table(tmp_path / "t.csv", None).add([row(1), row(1, overrides="a=2", params="f" * 16)], [])
    assert len(read_runs(tmp_path / "t.csv")) == 2
    with pytest.raises(RetraceError, match="tanh-normal with seed 1 is there with different"):
        read_replicates(tmp_path / "t.csv")


def test_an_empty_sweep_of_overrides_keeps_its_key(tmp_path):
    for digest in ("d", "e"):
        Table(tmp_path / "t.csv", None).add([row(1, overrides="", params=digest * 16)], [])
    rows = read_runs(tmp_path / "t.csv")
    assert rows["params"].tolist() == ["e" * 16]
    assert rows[KEY].iloc[0].tolist() == ["s", "network", "tanh-normal", "", 1]
