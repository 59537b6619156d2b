"""The committed results: whole, and where the study's outcome is known to be reproduced, there."""

import json
from pathlib import Path

import pandas as pd
import pytest

METRICS = Path(__file__).parents[1] / "metrics"


def read(name):
    return json.loads((METRICS / f"{name}.json").read_text())


SUMMARY = read("summary")
CELLS = {
    (activation, init): cell
    for activation, row in SUMMARY["mnist_grid"]["test_accuracy"].items()
    for init, cell in row.items()
}


def test_the_test_part_is_the_studys():
    mnist = read("mnist")
    assert {name: part["n_samples"] for name, part in mnist.items()} == {
        "train": 56_000, "val": 7_000, "test": 7_000,
    }  # fmt: skip
    assert mnist["test"]["class_counts"][1] == 820
    assert all(part["constant_images"] == part["repeated_images"] == 0 for part in mnist.values())


@pytest.mark.parametrize("cell", [c for c in CELLS if c[1] == "zero"] + [("sigmoid", "random")])
def test_what_collapses_in_the_study_collapses_to_the_same_share(cell):
    assert CELLS[cell]["ours"] == pytest.approx(820 / 7000, abs=1e-12)


@pytest.mark.parametrize("cell", [c for c in CELLS if c[1] == "normal"])
def test_normal_initialisation_is_within_six_thousandths(cell):
    assert CELLS[cell]["ours"] == pytest.approx(CELLS[cell]["published"], abs=0.006)


def test_random_initialisation_trains_all_but_sigmoid():
    assert CELLS["tanh", "random"]["ours"] == pytest.approx(0.9543, abs=0.01)
    assert CELLS["relu", "random"]["ours"] >= 0.80
    assert CELLS["leaky_relu", "random"]["ours"] >= 0.80


def test_classifiers_are_within_two_points():
    for figures in (
        SUMMARY["fashion_classifier"]["test_accuracy"],
        SUMMARY["bottleneck_probe"]["test_accuracy"],
    ):
        for figure in figures.values():
            assert figure["ours"] == pytest.approx(figure["published"], abs=0.02)


def test_the_search_covers_the_studys_fits_and_its_accuracy():
    table = pd.read_csv(METRICS / "search.csv")
    assert table.filter(like="fold_").size == 108
    assert SUMMARY["fashion_search"]["cv_accuracy"]["ours"] >= 0.850


def test_every_figure_is_there():
    def leaves(tree):
        if isinstance(tree, list):
            return [leaf for value in tree for leaf in leaves(value)]
        if set(tree) == {"ours", "published"}:
            return [tree]
        return [leaf for value in tree.values() for leaf in leaves(value)]

    found = leaves(SUMMARY)
    assert len(found) > 40
    assert all(leaf["ours"] is not None for leaf in found)


def test_the_headline_is_flat_and_of_the_run():
    headline = read("headline")
    assert len(headline) == 12 + 4 + 2 + 1 + 2
    assert all(isinstance(value, float) for value in headline.values())
    assert headline["tanh-normal"] == CELLS["tanh", "normal"]["ours"]
    assert headline["mse-relu"] == read("autoencoder/relu")["test_mse"]
