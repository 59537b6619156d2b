"""Published numbers beside ours."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from mlcore.judging.published import compare, numbers_of, printed_in
from mlcore.study.comparison import our_numbers

PUBLISHED = yaml.safe_load((Path(__file__).parents[1] / "metrics" / "published.yaml").read_text())


def pair(ours, published):
    return {"ours": ours, "published": published}


@pytest.mark.parametrize(
    ("published", "ours", "expected"),
    [
        ("adam", "sgd", pair("sgd", "adam")),
        (0, None, pair(None, 0)),
        (
            {"a": {"b": 1, "c": {"d": 2}}, "e": 3},
            {"e": 30, "a": {"c": {"d": 20}, "b": 10}},
            {"a": {"b": pair(10, 1), "c": {"d": pair(20, 2)}}, "e": pair(30, 3)},
        ),
        (
            [1, [2, {"a": 3}]],
            [10, [20, {"a": 30}]],
            [pair(10, 1), [pair(20, 2), {"a": pair(30, 3)}]],
        ),
        # Zero and false are numbers
        ({"a": 1, "b": [2]}, {"a": 0, "b": [False]}, {"a": pair(0, 1), "b": [pair(False, 2)]}),
        *(
            ({"a": {"c": 1}, "b": [2]}, ours, {"a": {"c": pair(None, 1)}, "b": [pair(None, 2)]})
            for ours in (None, {"a": None, "b": None}, {"a": {"c": None}, "b": [None]})
        ),
    ],
)
def test_each_number_is_put_beside_ours(published, ours, expected):
    before = repr(published), repr(ours)
    assert compare(published, ours) == expected
    assert (repr(published), repr(ours)) == before


@pytest.mark.parametrize(
    ("published", "ours", "message"),
    [({"a": 1, "b": 2}, {"a": 1}, r"only ours: \['b'\]"),
     ({"x": {"y": {"a": 1}}}, {"x": {"y": {"b": 1}}}, r"only ours: \['a', 'b'\]"),
     ({"x": [[1], [2, 3]]}, {"x": [[1], [2]]}, "shorter")],
)  # fmt: skip
def test_layouts_that_differ(published, ours, message):
    with pytest.raises(ValueError, match=message):
        compare(published, ours)


@pytest.mark.parametrize("ours", [PUBLISHED, None])
def test_every_published_number_is_there_once(ours):
    compared = list(numbers_of(compare(PUBLISHED, ours)))
    assert [n.path for n in compared] == [n.path for n in printed_in(PUBLISHED)]
    assert len({n.path for n in compared}) == len(compared) > 40
    assert all(n.ours == (n.value if ours else None) for n in compared)


GRID = {
    "activation": ["tanh", "relu"],
    "init": ["zero", "normal", "he"],
    "classifier_activation": ["relu"],
    "autoencoder_activation": ["relu"],
    "method": ["fit", "partial_fit"],
}
FILES = {
    "worked_examples.json": {"by hand": 1},
    "mnist.json": {
        "train": {"n_samples": 5, "class_counts": [2, 3, 0]},
        "val": {"n_samples": 4, "class_counts": [0, 3, 0]},  # one without a label
        "test": {"n_samples": 2, "class_counts": [1, 1, 0]},
    },
    "fashion_mnist.json": {
        "full": {"n_samples": 9, "class_counts": [4, 5, 0]},
        "train": {"n_samples": 8, "class_counts": [4, 4, 0]},  # of those above
        "val": {"n_samples": 1, "class_counts": [0, 1, 0]},
        "test": {"n_samples": 3, "class_counts": [1, 1, 1]},
    },
    "search/best.json": {"val_accuracy": 0.75},
}
CANDIDATES = pd.DataFrame(
    {
        "solver": ["sgd", "adam", "adam"],
        "learning_rate": [0.5, 0.25, 0.5],
        "batch_size": [7, 8, 9],
        "fold_1": 0.5,
        "fold_2": 0.75,
    }
)


@pytest.fixture
def ours():
    def results(file):
        return FILES.get(file) or dict.fromkeys(
            ("train_accuracy", "test_accuracy", "test_loss", "val_loss"), 0.5
        )

    return our_numbers(PUBLISHED, results, CANDIDATES, GRID, 4)


def test_sizes_are_counted(ours):
    assert ours["mnist_grid"]["data"] == {"images": 11, "classes": 2, "missing": 1}
    assert ours["mnist_grid"]["split"] == {"train": 5, "val": 4, "test": 2}
    assert ours["mnist_grid"]["configurations"] == 6
    assert ours["fashion_classifier"]["data"] == {"classes": 3, "missing": 0}
    assert ours["fashion_classifier"]["subset"] == {"train": 9, "test": 3}
    assert ours["fashion_search"]["size"] == {"candidates": 3, "folds": 2, "fits": 6}
    best = {"solver": "sgd", "learning_rate_init": 0.5, "batch_size": 7}
    assert ours["fashion_search"]["best"] == best
    assert ours["autoencoder"] == {"shown_samples": 4}


def test_what_the_report_repeats_is_compared_with_what_it_said_before(ours):
    repeated = {"tanh": 0.8355, "relu": 0.834, "identity": 0.825}
    assert ours["bottleneck_probe"]["compared"] == repeated
    assert ours["bottleneck_probe"]["test_accuracy"] == {"relu": 0.5, "identity": None}
