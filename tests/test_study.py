"""Published numbers beside ours."""

from pathlib import Path

import pytest
import yaml

from mlcore.judging.study import compare, headline

PUBLISHED = Path(__file__).parents[1] / "metrics" / "published.yaml"


def pair(ours, published):
    return {"ours": ours, "published": published}


def leaves(comparison):
    if isinstance(comparison, list):
        return [leaf for value in comparison for leaf in leaves(value)]
    if set(comparison) == {"ours", "published"}:
        return [comparison]
    return [leaf for value in comparison.values() for leaf in leaves(value)]


def count_numbers(value):
    if isinstance(value, dict):
        return sum(map(count_numbers, value.values()))
    return sum(map(count_numbers, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize(("published", "ours"), [(0.5, 0.25), ("adam", "sgd"), (0, None)])
def test_single_number(published, ours):
    assert compare(published, ours) == pair(ours, published)


def test_nested_mappings():
    published = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    ours = {"e": 30, "a": {"c": {"d": 20}, "b": 10}}
    assert compare(published, ours) == {
        "a": {"b": pair(10, 1), "c": {"d": pair(20, 2)}},
        "e": pair(30, 3),
    }


def test_lists_keep_their_order():
    assert compare([1, [2, 3]], [10, [20, 30]]) == [pair(10, 1), [pair(20, 2), pair(30, 3)]]


def test_lists_of_mappings():
    assert compare([{"a": 1}], [{"a": 2}]) == [{"a": pair(2, 1)}]


def test_zero_and_false_are_numbers():
    assert compare({"a": 1, "b": [2]}, {"a": 0, "b": [False]}) == {
        "a": pair(0, 1),
        "b": [pair(False, 2)],
    }


@pytest.mark.parametrize("ours", [None, {"a": None, "b": None}, {"a": {"c": None}, "b": [None]}])
def test_numbers_we_do_not_have(ours):
    published = {"a": {"c": 1}, "b": [2]}
    assert compare(published, ours) == {"a": {"c": pair(None, 1)}, "b": [pair(None, 2)]}


def test_arguments_stay_as_they_are():
    published, ours = {"a": [1, {"b": 2}]}, {"a": [3, {"b": 4}]}
    compare(published, ours)
    assert published == {"a": [1, {"b": 2}]}
    assert ours == {"a": [3, {"b": 4}]}


@pytest.mark.parametrize(
    ("published", "ours", "message"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, r"numbers: ours are \['a'\], published \['a', 'b'\]"),
        ({"a": 1}, {}, r"numbers: ours are \[\], published \['a'\]"),
        ({"x": {"a": 1}}, {"x": {"a": 1, "b": 2}}, r"x: ours are \['a', 'b'\]"),
        ({"x": {"y": {"a": 1}}}, {"x": {"y": {"b": 1}}}, r"x\.y: ours are \['b'\]"),
        ({"x": [1, 2]}, {"x": [1]}, r"x: ours are 1, published 2"),
        ({"x": [1, 2]}, {"x": []}, r"x: ours are 0, published 2"),
        ({"x": [1, 2]}, {"x": [1, 2, 3]}, r"x: ours are 3, published 2"),
        ({"x": [[1], [2, 3]]}, {"x": [[1], [2]]}, r"x\[1\]: ours are 1, published 2"),
        ({"x": [1, {"a": 2}]}, {"x": [1, {"b": 2}]}, r"x\[1\]: ours are \['b'\]"),
        ({"X": {"a": 1}}, {"X": {"b": 2}}, r"X: ours are \['b'\]"),
        ({1: 1, "a": 2}, {2: 1, "b": 2}, r"numbers: ours are \[2, 'b'\], published \[1, 'a'\]"),
        ({"a": 1}, 5, r"numbers: ours is 5, published {'a': 1}"),
    ],
    ids=[
        "lacking",
        "empty",
        "more",
        "other",
        "short list",
        "empty list",
        "long list",
        "inner list",
        "in list",
        "capital",
        "keys of two types",
        "one number",
    ],
)
def test_layouts_that_differ(published, ours, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        compare(published, ours)


def test_published_numbers_equal_themselves():
    published = yaml.safe_load(PUBLISHED.read_text())
    compared = leaves(compare(published, published))
    assert len(compared) == count_numbers(published)
    assert len(compared) > 40
    assert all(leaf["ours"] == leaf["published"] for leaf in compared)


def test_published_numbers_without_ours():
    published = yaml.safe_load(PUBLISHED.read_text())
    compared = leaves(compare(published, None))
    assert len(compared) == count_numbers(published)
    assert all(leaf["ours"] is None for leaf in compared)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ({"x": {"a": 1}}, {"x": 5}),
        ({"x": {"a": 1}}, {"x": 0}),
        ({"x": {"a": 1}}, {"x": ["a"]}),
        ({"x": [1]}, {"x": 5}),
        ({"x": [1]}, {"x": {"a": 1}}),
        ({"x": [1]}, {"x": "a"}),
        ({"x": 1}, {"x": {"a": 1}}),
        ({"x": 1}, {"x": [1]}),
    ],
)
def test_kinds_that_differ(published, ours):
    with pytest.raises(ValueError, match=r"^x: "):
        compare(published, ours)


def test_the_headline_names_each_number_that_there_is():
    summary = {
        "mnist_grid": {"test_accuracy": {
            "tanh": {"zero": pair(0.1, 0.2), "normal": pair(0.9, 0.8)},
            "relu": {"zero": pair(None, 0.2)},
        }},
        "fashion_classifier": {"test_accuracy": {"tanh": pair(0.84, 0.85)},
                               "val_loss": {"tanh": pair(0.4, 0.5)}},
        "bottleneck_probe": {"test_accuracy": {"identity": pair(0.7, 0.75), "relu": pair(None, 1)}},
        "fashion_search": {"cv_accuracy": pair(0.86, 0.87)},
    }  # fmt: skip
    assert headline(summary, {"relu": 0.02}) == {
        "tanh-zero": 0.1,
        "tanh-normal": 0.9,
        "fashion-tanh": 0.84,
        "codes-identity": 0.7,
        "search-cv": 0.86,
        "mse-relu": 0.02,
    }
