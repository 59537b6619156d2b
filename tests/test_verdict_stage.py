"""The verdict stage on made-up replicates, and what of it is committed."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcore.config import load
from mlcore.files import read_json, write_json
from mlcore.judging import claims, numbers
from mlcore.judging.curves import MEASURES
from mlcore.judging.replicates import CURVES, DIGESTS, KEY, METRICS
from mlcore.judging.rules import read_rules
from mlcore.workspace import Workspace
from stages import verdict as stage

ROOT = Path(__file__).parents[1]
CANDIDATES = ["adam-0.001-64", "adam-0.0005-32", "adam-2e-05-128"]


def made_up(summary):
    """Ten replicates of everything that end as the pipeline's run did, give or take a little."""
    rules = read_rules(ROOT / "metrics" / "rules.yaml", claims.CLAIMS, MEASURES)
    trained = {}
    for path, _, ours in numbers.numbers_of(summary):
        rule = rules.rule_for(path)
        if rule.kind == "trained":
            _, metric, *name = path.split(".")
            trained.setdefault((rule.part, "-".join(name)), {})[metric] = ours
    for place, name in enumerate(CANDIDATES):
        trained["search", name] = {"val_accuracy": 0.86 - 0.01 * place}
    for name, error in (("relu", 0.023), ("identity", 0.021)):
        trained["autoencoder", name] = {"test_mse": error}
    rng = np.random.default_rng(0)
    runs = pd.DataFrame(
        {"part": part, "name": name, "seed": seed, "val_loss_sd": 0.5}
        | {metric: ours + rng.normal(scale=1e-4) for metric, ours in metrics.items()}
        for (part, name), metrics in trained.items()
        for seed in range(1, 11)
    )
    runs = runs.assign(sweep="made-up", overrides="", results="0" * 16)
    runs["params"] = [f"{number:016x}" for number in runs.index]
    curves = pd.DataFrame(
        {"params": params, "epoch": epoch, **dict.fromkeys(CURVES, 1 / epoch)}
        for params in runs[runs["part"] == "network"]["params"]
        for epoch in (1, 2, 3)
    )
    return runs.reindex(columns=[*KEY, *DIGESTS, *METRICS]), curves


@pytest.fixture
def workspace(tmp_path):
    ignored = shutil.ignore_patterns("figures", "history", "svg")
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics", ignore=ignored)
    runs, curves = made_up(read_json(ROOT / "metrics" / "summary.json"))
    runs.to_csv(tmp_path / "metrics" / "replicates.csv", index=False)
    curves.to_csv(tmp_path / "metrics" / "replicates_curves.csv", index=False)
    runs[:0].to_csv(tmp_path / "metrics" / "sensitivity.csv", index=False)
    return Workspace(tmp_path, tmp_path)


def run(workspace):
    stage.run(load(ROOT / "params.yaml"), workspace)
    metrics = workspace.root / "metrics"
    return read_json(metrics / "verdict.json"), read_json(metrics / "verdict_words.json")


def test_every_number_and_claim_gets_a_word(workspace):
    whole, words = run(workspace)
    table = pd.read_csv(workspace.root / "metrics" / "verdict.csv").set_index("path")
    counted = sum(sum(counts.values()) for counts in whole["numbers"].values())
    assert counted == len(whole["by_number"]) == len(table)
    assert sum(whole["claims"].values()) == len(whole["by_claim"]) == 15
    judged = whole["by_number"] | whole["by_claim"]
    assert words == {name: about["verdict"] for name, about in judged.items()}
    assert set(words.values()) <= {*numbers.VERDICTS, *claims.CLAIM_VERDICTS}
    for path, number in whole["by_number"].items():
        assert table.loc[path, "verdict"] == number["verdict"]
        if number["interval"]:
            assert table.loc[path, ["low", "high"]].tolist() == pytest.approx(number["interval"])
        assert number["provenance"]["stage"]
    rules = (ROOT / "metrics" / "rules.yaml").read_bytes()
    assert whole["rules_sha256"] == hashlib.sha256(rules).hexdigest()


def change_cell(workspace, **values):
    summary = read_json(workspace.root / "metrics" / "summary.json")
    summary["mnist_grid"]["test_accuracy"]["tanh"]["normal"].update(values)
    write_json(workspace.root / "metrics" / "summary.json", summary)


CELL = "mnist_grid.test_accuracy.tanh.normal"


def test_a_number_that_changes_changes_its_verdict_alone(workspace):
    whole, before = run(workspace)
    assert run(workspace) == (whole, before)
    change_cell(workspace, published=whole["by_number"][CELL]["ours"] + 0.1)
    _, after = run(workspace)
    assert after == before | {CELL: numbers.NOT_REPRODUCED} != before


def test_what_a_narrowed_grid_leaves_out_is_not_testable(workspace):
    change_cell(workspace, ours=None)
    (workspace.root / "metrics" / "network" / "tanh-normal.json").unlink()
    number = run(workspace)[0]["by_number"][CELL]
    assert (number["verdict"], number["reason"]) == (numbers.NOT_TESTABLE, "it was not run")
    assert "provenance" not in number
