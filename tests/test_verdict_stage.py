"""The verdict stage on made-up replicates and claims."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlcore.config import load
from mlcore.files import read_json, read_yaml, write_json
from mlcore.judging import claims, numbers
from mlcore.judging.published import compare, numbers_of
from mlcore.judging.rules import read_rules
from mlcore.study.parts import PARTS, group_of
from mlcore.study.provenance import source_of
from mlcore.study.replicates import CURVES, DIGESTS, KEY, METRICS
from mlcore.workspace import Workspace
from stages import verdict as stage

ROOT = Path(__file__).parents[1]
CELL = "mnist_grid.test_accuracy.tanh.normal"
CLAIMS = [
    {"id": "B1", "section": "2.4", "kind": "claim", "text": "Tanh falls as smoothly as ReLU.",
     "statements": ["val_roughness(network/tanh-normal) = val_roughness(network/{relu,tanh}-random)"
                    " within $threshold"], "threshold": 0.1},
    {"id": "B2", "section": "2.4", "kind": "number", "text": "So it prints.",
     "numbers": ["mnist_grid.*"]},
    {"id": "B3", "section": "2.4", "kind": "opinion", "text": "Well done.", "reason": "No test."},
]  # fmt: skip
DISCREPANCIES = [
    {"id": "D1", "section": "3.2", "report": "One model.", "code": "Two models.",
     "difference": [{"left": "test_loss(classifier/tanh-fit)",
                     "right": "test_loss(classifier/tanh-partial_fit)"}]},
]  # fmt: skip


def printed():
    """Numbers of the study that are trained, and one of its arithmetic."""
    known = read_yaml(ROOT / "metrics" / "published.yaml")
    metrics = {"mnist_grid": ["test_accuracy"], "bottleneck_probe": ["test_accuracy"],
               "fashion_classifier": ["test_accuracy", "test_loss", "val_loss"]}  # fmt: skip
    trained = {name: {m: known[name][m] for m in kept} for name, kept in metrics.items()}
    return trained | {"worked_examples": {"backprop": {"loss_before": 4.375}}}


def made_up(summary):
    """Ten replicates of everything that end as the study's did, give or take a little."""
    rng = np.random.default_rng(0)
    trained = {}
    for number in numbers_of(summary):
        path, value = number.path, number.value
        group = group_of(path)
        if PARTS[group.part].varied:
            name = group.training(path)
            trained.setdefault((group.part, name), {})[path.split(".")[1]] = value
    runs = pd.DataFrame(
        {"part": part, "name": name, "seed": seed}
        | {metric: value + rng.normal(scale=1e-4) for metric, value in metrics.items()}
        for (part, name), metrics in trained.items()
        for seed in range(1, 11)
    )
    runs = runs.assign(sweep="made-up", overrides="", results="0" * 16)
    runs["params"] = [f"{number:016x}" for number in runs.index]
    networks = runs[runs["part"] == "network"]["params"]
    curves = pd.DataFrame({"params": params, "epoch": epoch, **dict.fromkeys(CURVES, 1 / epoch)}
                          for params in networks for epoch in (1, 2, 3))  # fmt: skip
    return runs.reindex(columns=[*KEY, *DIGESTS, *METRICS]), curves


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "rules.yaml").write_bytes((ROOT / "metrics" / "rules.yaml").read_bytes())
    for name, content in (("claims", CLAIMS), ("discrepancies", DISCREPANCIES)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    summary = compare(printed(), printed())
    write_json(folder / "summary.json", summary)
    for number in numbers_of(summary):
        write_json(tmp_path / source_of(number.path)[1], {})
    scored = {"networks": {"relu-normal": {"test_accuracy": {"scored": 0.97259}}}}
    write_json(folder / "study_models.json", scored)
    runs, curves = made_up(summary)
    runs.to_csv(folder / "replicates.csv", index=False)
    curves.to_csv(folder / "replicates_curves.csv", index=False)
    runs[:0].to_csv(folder / "sensitivity.csv", index=False)
    return Workspace(tmp_path, tmp_path)


def run(workspace):
    stage.run(load(ROOT / "params.yaml"), workspace)
    metrics = workspace.root / "metrics"
    return read_json(metrics / "verdict.json"), read_json(metrics / "verdict_words.json")


def test_every_number_and_claim_gets_a_word(workspace):
    whole, words = run(workspace)
    metrics = workspace.root / "metrics"
    table = pd.read_csv(metrics / "verdict.csv").set_index("path")
    counted = sum(sum(whole["numbers"][kind].values()) for kind in ("arithmetic", "trained"))
    assert counted == len(whole["by_number"]) == len(table) == 12 + 3 * 4 + 2 + 1
    judged = whole["by_number"] | whole["by_claim"]
    assert words == {name: about["verdict"] for name, about in judged.items()}
    assert [words[name] for name in ("B1", "B3")] == [claims.SUPPORTED, claims.OPINION]
    cells = [words[path] for path in table.index if path.startswith("mnist")]
    assert words["B2"] == max(cells, key=numbers.VERDICTS.index)
    assert words["mnist_grid.test_accuracy.relu.normal"] == numbers.EXACT
    for path, number in whole["by_number"].items():
        assert table.loc[path, "verdict"] == number["verdict"]
        if number["interval"]:
            assert table.loc[path, ["low", "high"]].tolist() == pytest.approx(number["interval"])
        assert number["provenance"]["stage"]
    read = (metrics / "rules.yaml").read_bytes() + (metrics / "claims.yaml").read_bytes()
    assert whole["rules_sha256"] == hashlib.sha256(read).hexdigest()
    rules = read_rules(metrics / "rules.yaml")
    assert (set(whole["joint"]), whole["joint"]["3.2"]["df"]) == (set(rules.joint), 12)
    first = whole["protocols"][0]
    assert (first["protocol"], first["n"], first["df"]) == ("the study's code", 10, 12)
    assert pd.read_csv(metrics / "protocols.csv")["protocol"].tolist() == [
        protocol["protocol"] for protocol in whole["protocols"]
    ]
    assert whole["discrepancies"][0]["differences"][0]["n"] == 0  # fit has no losses here


def change_cell(workspace, **values):
    summary = read_json(workspace.root / "metrics" / "summary.json")
    summary["mnist_grid"]["test_accuracy"]["tanh"]["normal"].update(values)
    write_json(workspace.root / "metrics" / "summary.json", summary)


def test_a_number_that_changes_changes_its_verdict_and_its_claim_alone(workspace):
    whole, before = run(workspace)
    assert run(workspace) == (whole, before)
    change_cell(workspace, published=whole["by_number"][CELL]["ours"] + 0.1)
    _, after = run(workspace)
    changed = dict.fromkeys((CELL, "B2"), numbers.NOT_REPRODUCED)
    assert after == before | changed != before


def test_what_a_narrowed_grid_leaves_out_is_judged_by_replicates(workspace):
    change_cell(workspace, ours=None)
    (workspace.root / "metrics" / "network" / "tanh-normal.json").unlink()
    number = run(workspace)[0]["by_number"][CELL]
    assert (number["verdict"], number["difference"]) == (numbers.REPRODUCED, None)
    assert "provenance" not in number
