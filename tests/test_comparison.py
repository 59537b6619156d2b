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


def test_each_number_is_put_beside_ours():
    published = {"a": {"b": 1, "c": [2, [3, {"d": "adam"}]]}, "e": 0}
    ours = {"a.b": 10, "a.c[0]": False, "a.c[1][0]": 30, "a.c[1][1].d": "sgd", "e": None, "f": 5}
    assert compare(published, ours) == {
        "a": {"b": pair(10, 1), "c": [pair(False, 2), [pair(30, 3), {"d": pair("sgd", "adam")}]]},
        "e": pair(None, 0),
    }
    with pytest.raises(ValueError, match=r"^a\.b is published, and nothing of ours is entered"):
        compare(published, {})


def test_every_published_number_is_there_once():
    printed = list(printed_in(PUBLISHED))
    compared = list(numbers_of(compare(PUBLISHED, {one.path: one.value for one in printed})))
    expected = [(one.path, one.value, one.value) for one in printed]
    assert [(n.path, n.value, n.ours) for n in compared] == expected
    assert len({n.path for n in compared}) == len(compared) > 40


GRID = {"activation": ["tanh", "relu"], "init": ["zero", "normal", "he"],
        "classifier_activation": ["relu"], "autoencoder_activation": ["relu"],
        "method": ["fit", "partial_fit"]}  # fmt: skip
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
TRAINED = dict.fromkeys(("train_accuracy", "test_accuracy", "test_loss", "val_loss"), 0.5)
CANDIDATES = pd.DataFrame(
    [("sgd", 0.5, 7), ("adam", 0.25, 8), ("adam", 0.5, 9)],
    columns=["solver", "learning_rate", "batch_size"],
).assign(fold_1=0.5, fold_2=0.75)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("mnist_grid.data", {"images": 11, "classes": 2, "missing": 1}),
        ("mnist_grid.split", {"train": 5, "val": 4, "test": 2}),
        ("mnist_grid", {"configurations": 6}),
        ("fashion_classifier.data", {"classes": 3, "missing": 0}),
        ("fashion_classifier.subset", {"train": 9, "test": 3}),
        ("fashion_search.size", {"candidates": 3, "folds": 2, "fits": 6}),
        ("fashion_search.best", {"solver": "sgd", "learning_rate_init": 0.5, "batch_size": 7}),
        ("autoencoder", {"shown_samples": 4}),
        # What the report repeats is compared with what it said before
        ("bottleneck_probe.compared", {"tanh": 0.8355, "relu": 0.834, "identity": 0.825}),
        ("bottleneck_probe.test_accuracy", {"relu": 0.5, "identity": None}),
    ],
)
def test_our_numbers_go_by_the_paths_of_the_published_ones(section, expected):
    ours = our_numbers(PUBLISHED, lambda file: FILES.get(file, TRAINED), CANDIDATES, GRID, 4)
    assert {name: ours[f"{section}.{name}"] for name in expected} == expected
