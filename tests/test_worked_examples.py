"""Section A of the study, against numbers worked by hand."""

import pytest

from mlcore.study.worked_examples import backprop, given_hyperplane, max_margin

POINTS = [[1, 3], [2, 4], [3, 5]]


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("start", "points", "learning_rate", "expected"),
    [
        ({"w1": 0.5, "b1": 1.0, "w2": 0.5, "b2": 1.0}, POINTS, 0.01, {
            "hidden": [1.5, 2.0, 2.5],
            "predictions": [1.75, 2.0, 2.25],
            "loss_before": 4.375,  # ((1.75 - 3)^2 + (2 - 4)^2 + (2.25 - 5)^2) / 3
            "grad_output": -4.0,  # 2 / 3 x (-1.25 - 2 - 2.75)
            "grad": {"w1": -4.5, "b1": -2.0, "w2": -8.5, "b2": -4.0},
            "updated": {"w1": 0.545, "b1": 1.02, "w2": 0.585, "b2": 1.04},
            "hidden_after": [1.565, 2.11, 2.655],  # 0.545 x + 1.02
            "predictions_after": [1.955525, 2.27435, 2.593175],
            "errors_after": [1.044475, 1.72565, 2.406825],
            "loss_after": sum(((0.545 * x + 1.02) * 0.585 + 1.04 - y) ** 2 for x, y in POINTS) / 3,
        }),
        # An inactive hidden unit passes no gradient
        ({"w1": -1.0, "b1": 0.0, "w2": 2.0, "b2": 0.5}, [[1, 3]], 0.1, {
            "hidden": [0.0], "predictions": [0.5], "loss_before": 6.25, "grad_output": -5.0,
            "grad": {"w1": 0.0, "b1": 0.0, "w2": 0.0, "b2": -5.0},
            "updated": {"w1": -1.0, "b1": 0.0, "w2": 2.0, "b2": 1.0}, "loss_after": 4.0,
        }),
        # Whole numbers are numbers
        ({"w1": 1, "b1": 0, "w2": 1, "b2": 0}, [[1, 2]], 0.5,
         {"grad": {"w1": -2, "b1": -2, "w2": -2, "b2": -2}}),
    ],
)  # fmt: skip
def test_one_step_of_gradient_descent(start, points, learning_rate, expected):
    step = backprop(**start, points=points, learning_rate=learning_rate)
    for name, value in expected.items():
        assert step[name] == near(value)


SQUARE = [[1, 0], [0, 1], [1, 1], [2, 0]]


@pytest.mark.parametrize(
    ("points", "labels", "supporting", "w", "b", "scores"),
    [
        (SQUARE, [1, 1, -1, -1], SQUARE, [-2, -2], 3, [1, 1, -1, -1]),
        # A point behind the margin is left out
        *(
            ([far, *SQUARE], [label, 1, 1, -1, -1], SQUARE, [-2, -2], 3, [1, 1, -1, -1])
            for far, label in (([5, 5], -1), ([-4, 0], 1), ([1, 1.5], -1))
        ),
        # At twice the distance the normal is half as long
        ([[2, 0], [0, 2], [2, 2], [4, 0]], [1, 1, -1, -1], [[2, 0], [0, 2], [2, 2], [4, 0]],
         [-1, -1], 3, [1, 1, -1, -1]),
        ([[0, 0], [4, 0], [-3, 1]], [-1, 1, -1], [[0, 0], [4, 0]], [0.5, 0], -1, [-1, 1]),
    ],
)  # fmt: skip
def test_the_line_of_maximum_margin(points, labels, supporting, w, b, scores):
    found = max_margin(points, labels)
    line = {"w": near(w), "b": near(b), "scores": near(scores)}
    assert found == {"support_vectors": supporting, **line}


SAMPLES = [[1, 2], [2, 3], [3, 3], [4, 1]]


@pytest.mark.parametrize(
    ("line", "samples", "query", "expected"),
    [
        (([-2, 0], 5), SAMPLES, [1, 3], {
            "crossing": 2.5, "scores": [3, 1, -1, -3], "margin": 1, "distance": 0.5,
            "support_vectors": [[2, 3], [3, 3]], "query_score": 3, "query_label": 1,
        }),
        (([-2, 0], 5), SAMPLES, [4.5, 0], {"query_score": -4, "query_label": -1}),
        # The margin is two over the length of w
        (([3, 4], 0), [[1, 0], [0, 0.25], [-1, 0.5]], [1, 1], {
            "crossing": 0, "scores": [3, 1, -1], "margin": 0.4, "distance": 0.2,
            "support_vectors": [[0, 0.25], [-1, 0.5]], "query_score": 7, "query_label": 1,
        }),
        # The closest sample need not be on the margin
        (([3, 4], -6), [[0, 0], [2, 1]], [2, 0], {
            "crossing": 2, "scores": [-6, 4], "distance": 0.8, "support_vectors": [],
            "query_label": -1,
        }),
    ],
)  # fmt: skip
def test_points_against_a_given_line(line, samples, query, expected):
    found = given_hyperplane(*line, samples, query)
    assert set(expected) <= set(found)
    for name, value in expected.items():
        assert found[name] == (value if name == "support_vectors" else near(value))
