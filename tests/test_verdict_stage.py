"""The verdict stage on the study's own files, and on a summary that is changed."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from mlcore.config import load
from mlcore.files import read_json, read_yaml, write_json
from mlcore.judging.numbers import NOT_REPRODUCED
from mlcore.pipeline.workspace import Workspace
from stages import verdict as stage

ROOT = Path(__file__).parents[1]
METRICS = ROOT / "metrics"
CELL = "mnist_grid.test_accuracy.tanh.normal"


@pytest.fixture
def run(tmp_path):
    def run_stage():
        stage.run(load(ROOT / "params.yaml"), Workspace(ROOT, tmp_path))
        metrics = tmp_path / "metrics"
        return read_json(metrics / "verdict.json"), read_json(metrics / "verdict_words.json")

    return run_stage


def test_every_number_and_claim_gets_the_word_that_is_committed(run, tmp_path):
    whole, words = run()
    assert words == read_json(METRICS / "verdict_words.json")
    judged = whole["by_number"] | whole["by_claim"]
    assert words == {name: about["verdict"] for name, about in judged.items()}
    assert all(words.values())
    for name in ("verdict.csv", "protocols.csv"):
        made = pd.read_csv(tmp_path / "metrics" / name)
        pd.testing.assert_frame_equal(made, pd.read_csv(METRICS / name))
    counted = sum(sum(whole["numbers"][kind].values()) for kind in ("arithmetic", "trained"))
    assert counted == len(whole["by_number"]) == len(pd.read_csv(METRICS / "verdict.csv"))
    assert all(number["provenance"]["stage"] for number in whole["by_number"].values())
    read = (METRICS / "rules.yaml").read_bytes() + (METRICS / "claims.yaml").read_bytes()
    # What is known without it: the study's own networks give its twelve accuracies
    assert (whole["numbers"]["trained"]["exact"], len(whole["by_claim"])) == (12, 122)
    assert (whole["joint"]["3.2"]["df"], whole["joint"]["3.2"]["n"]) == (12, 20)
    assert whole["rules_sha256"] == hashlib.sha256(read).hexdigest()
    assert set(whole["joint"]) == set(read_yaml(METRICS / "rules.yaml")["joint"])
    protocols = pd.read_csv(METRICS / "protocols.csv")["protocol"].tolist()
    assert [row["protocol"] for row in whole["joint"]["3.2"]["protocols"]] == protocols
    points = read_yaml(METRICS / "discrepancies.yaml")
    assert [point["id"] for point in whole["discrepancies"]] == [point["id"] for point in points]


def test_a_number_that_changes_changes_its_verdict_and_its_claims_alone(run, tmp_path):
    summary = read_json(METRICS / "summary.json")
    cells = summary["mnist_grid"]["test_accuracy"]
    cells["tanh"]["normal"]["published"] += 0.1
    cells["relu"]["normal"]["ours"] = None  # as in a narrowed grid
    write_json(tmp_path / "metrics" / "summary.json", summary)
    whole, after = run()
    before = read_json(METRICS / "verdict_words.json")
    of_it = {name for name, claim in whole["by_claim"].items() if CELL in claim["verdicts"]}
    assert {name for name, word in after.items() if word != before[name]} == {CELL, *of_it}
    assert of_it
    assert after[CELL] == NOT_REPRODUCED
    left_out = whole["by_number"][CELL.replace("tanh", "relu")]
    assert left_out["verdict"] == "exact"
    assert "provenance" not in left_out
