"""Published numbers beside ours."""

from pathlib import Path

import pytest
import yaml

from mlcore.judging.numbers import numbers_of
from mlcore.judging.study import compare

PUBLISHED = yaml.safe_load((Path(__file__).parents[1] / "metrics" / "published.yaml").read_text())


def pair(ours, published):
    return {"ours": ours, "published": published}


def count_numbers(value):
    if isinstance(value, dict):
        return sum(map(count_numbers, value.values()))
    return sum(map(count_numbers, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize(
    ("published", "ours", "expected"),
    [
        (0.5, 0.25, pair(0.25, 0.5)),
        ("adam", "sgd", pair("sgd", "adam")),
        (0, None, pair(None, 0)),
        (
            {"a": {"b": 1, "c": {"d": 2}}, "e": 3},
            {"e": 30, "a": {"c": {"d": 20}, "b": 10}},
            {"a": {"b": pair(10, 1), "c": {"d": pair(20, 2)}}, "e": pair(30, 3)},
        ),
        ([1, [2, 3]], [10, [20, 30]], [pair(10, 1), [pair(20, 2), pair(30, 3)]]),
        ([{"a": 1}], [{"a": 2}], [{"a": pair(2, 1)}]),
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
    [
        ({"a": 1, "b": 2}, {"a": 1}, r"numbers: ours are \['a'\], published \['a', 'b'\]"),
        ({"x": {"y": {"a": 1}}}, {"x": {"y": {"b": 1}}}, r"x\.y: ours are \['b'\]"),
        ({"x": [1, 2]}, {"x": []}, r"x: ours are 0 values, published 2"),
        ({"x": [1, 2]}, {"x": [1, 2, 3]}, r"x: ours are 3 values, published 2"),
        ({"x": [[1], [2, 3]]}, {"x": [[1], [2]]}, r"x\[1\]: ours are 1 values, published 2"),
        ({"x": [1, {"a": 2}]}, {"x": [1, {"b": 2}]}, r"x\[1\]: ours are \['b'\]"),
        ({1: 1, "a": 2}, {2: 1, "b": 2}, r"numbers: ours are \[2, 'b'\], published \[1, 'a'\]"),
        ({"a": 1}, 5, r"numbers: ours are no such values, published \['a'\]"),
        *(({"x": {"a": 1}}, {"x": ours}, "x: ") for ours in (5, 0, ["a"])),
        *(({"x": [1]}, {"x": ours}, "x: ") for ours in (5, "a", {"a": 1})),
        *(({"x": 1}, {"x": ours}, "x: ") for ours in ([1], {"a": 1})),
    ],
)
def test_layouts_that_differ(published, ours, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        compare(published, ours)


@pytest.mark.parametrize("ours", [PUBLISHED, None])
def test_every_published_number_is_there_once(ours):
    compared = list(numbers_of(compare(PUBLISHED, ours)))
    assert len({path for path, _, _ in compared}) == len(compared) == count_numbers(PUBLISHED) > 40
    assert all(value == (published if ours else None) for _, published, value in compared)
