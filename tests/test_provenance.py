"""Every number leads back to a stage of the pipeline."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mlcore.config import load
from mlcore.files import read_json, read_yaml
from mlcore.judging.published import numbers_of
from mlcore.study.provenance import provenance, source_of

ROOT = Path(__file__).parents[1]
PATHS = [number.path for number in numbers_of(read_json(ROOT / "metrics" / "summary.json"))]
LOCK = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def outputs(stage):
    return {out["path"]: out["md5"] for out in LOCK[stage]["outs"]}


@pytest.mark.parametrize("path", PATHS)
def test_the_stage_of_a_number_made_its_file(path):
    stage, file, _ = source_of(path)
    assert file in outputs(stage)


@pytest.mark.parametrize(
    ("path", "stage", "chosen"),
    [
        ("mnist_grid.test_accuracy.leaky_relu.random", "train_network@leaky_relu-random",
         {"network": {"activation": "leaky_relu", "init": "random", "learning_rate": 0.02}}),
        ("fashion_classifier.val_loss.logistic", "fit_classifier@logistic-partial_fit",
         {"classifier": {"activation": "logistic", "method": "partial_fit"}}),
        ("fashion_classifier.test_accuracy.tanh", "fit_classifier@tanh-fit",
         {"classifier": {"activation": "tanh", "method": "fit", "learning_rate": 2e-5}}),
        ("bottleneck_probe.train_accuracy.identity", "classify_features@identity",
         {"autoencoder": {"activation": "identity"}, "feature_classifier": {"activation": "tanh"}}),
    ],
)  # fmt: skip
def test_a_number_is_told_with_hash_parameters_and_command(path, stage, chosen):
    params = load(ROOT / "params.yaml").model_dump()
    told = provenance(path, ROOT.joinpath, params)
    assert told["stage"] == stage
    content = (ROOT / told["file"]).read_bytes()
    assert told["md5"] == outputs(stage)[told["file"]] == hashlib.md5(content).hexdigest()
    assert told["command"] == f"dvc repro {stage} && dvc repro --force --single-item {stage}"
    for section, values in chosen.items():
        assert told["params"][section].items() >= values.items()
    assert params["network"]["activation"] == "tanh"  # the parameters given stay as they are


@pytest.mark.parametrize("path", [p for p in PATHS if p.startswith("fashion_search.best.")])
def test_what_the_search_chose_stands_in_the_file_that_is_named(path):
    """By the names that published.yaml has for it."""
    best = pd.read_csv(ROOT / source_of(path)[1]).iloc[0]
    summary = read_json(ROOT / "metrics" / "summary.json")["fashion_search"]["best"]
    key = path.rpartition(".")[2]
    assert best[key.removesuffix("_init")] == summary[key]["ours"]


def test_a_number_that_no_stage_computes_is_an_error():
    with pytest.raises(ValueError, match=r"no stage computes fashion\.new"):
        source_of("fashion.new")


def test_every_source_is_used():
    published = read_yaml(ROOT / "metrics" / "published.yaml")
    assert {path.partition(".")[0] for path in PATHS} == set(published) - {"notebook"}
