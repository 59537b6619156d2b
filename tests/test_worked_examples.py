"""Section A of the study, against numbers worked by hand."""

import pytest

from mlcore.judging.worked_examples import backprop, given_hyperplane, max_margin

POINTS = [[1, 3], [2, 4], [3, 5]]


@pytest.fixture
def step():
    return backprop(w1=0.5, b1=1.0, w2=0.5, b2=1.0, points=POINTS, learning_rate=0.01)


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_predictions(step):
    assert step["predictions"] == near([1.75, 2.0, 2.25])


def test_loss_before(step):
    # ((1.75 - 3)^2 + (2 - 4)^2 + (2.25 - 5)^2) / 3
    assert step["loss_before"] == near(4.375)


def test_gradient(step):
    assert step["grad"] == near({"w1": -4.5, "b1": -2.0, "w2": -8.5, "b2": -4.0})


def test_updated_parameters(step):
    assert step["updated"] == near({"w1": 0.545, "b1": 1.02, "w2": 0.585, "b2": 1.04})


def test_loss_after(step):
    predictions = [(0.545 * x + 1.02) * 0.585 + 1.04 for x, _ in POINTS]
    loss = sum((p - y) ** 2 for p, (_, y) in zip(predictions, POINTS, strict=True)) / 3
    assert loss == near(3.287200842916667)
    assert step["loss_after"] == near(loss)


def test_inactive_hidden_unit_passes_no_gradient():
    step = backprop(w1=-1.0, b1=0.0, w2=2.0, b2=0.5, points=[[1, 3]], learning_rate=0.1)
    assert step["predictions"] == near([0.5])
    assert step["loss_before"] == near(6.25)
    assert step["grad"] == near({"w1": 0.0, "b1": 0.0, "w2": 0.0, "b2": -5.0})
    assert step["updated"] == near({"w1": -1.0, "b1": 0.0, "w2": 2.0, "b2": 1.0})
    assert step["loss_after"] == near(4.0)


def test_max_margin_of_the_study():
    points = [[1, 0], [0, 1], [1, 1], [2, 0]]
    found = max_margin(points, [1, 1, -1, -1])
    assert found == {"support_vectors": points, "w": near([-2, -2]), "b": near(3)}


@pytest.mark.parametrize(("far", "label"), [([5, 5], -1), ([-4, 0], 1), ([1, 1.5], -1)])
def test_max_margin_leaves_out_a_point_behind_the_margin(far, label):
    points = [[1, 0], [0, 1], [1, 1], [2, 0]]
    found = max_margin([far, *points], [label, 1, 1, -1, -1])
    assert found["support_vectors"] == points
    assert found["w"] == near([-2, -2])
    assert found["b"] == near(3)


def test_max_margin_at_twice_the_distance_has_half_the_normal():
    found = max_margin([[2, 0], [0, 2], [2, 2], [4, 0]], [1, 1, -1, -1])
    assert found["w"] == near([-1, -1])
    assert found["b"] == near(3)


def test_max_margin_of_two_points():
    found = max_margin([[0, 0], [4, 0], [-3, 1]], [-1, 1, -1])
    assert found["support_vectors"] == [[0, 0], [4, 0]]
    assert found["w"] == near([0.5, 0])
    assert found["b"] == near(-1)


SAMPLES = [[1, 2], [2, 3], [3, 3], [4, 1]]


def test_given_hyperplane_of_the_study():
    assert given_hyperplane([-2, 0], 5, SAMPLES, [1, 3]) == {
        "scores": near([3, 1, -1, -3]),
        "margin": near(1),
        "support_vectors": [[2, 3], [3, 3]],
        "query_score": near(3),
        "query_label": 1,
    }


def test_given_hyperplane_with_the_query_on_the_other_side():
    found = given_hyperplane([-2, 0], 5, SAMPLES, [4.5, 0])
    assert found["query_score"] == near(-4)
    assert found["query_label"] == -1


def test_given_hyperplane_margin_is_two_over_the_length_of_w():
    found = given_hyperplane([3, 4], 0, [[1, 0], [0, 0.25], [-1, 0.5]], [1, 1])
    assert found["margin"] == near(0.4)
    assert found["scores"] == near([3, 1, -1])
    assert found["support_vectors"] == [[0, 0.25], [-1, 0.5]]
    assert found["query_score"] == near(7)


def test_whole_numbers_are_numbers():
    step = backprop(w1=1, b1=0, w2=1, b2=0, points=[[1, 2]], learning_rate=0.5)
    assert step["grad"] == near({"w1": -2, "b1": -2, "w2": -2, "b2": -2})
    assert step["updated"] == near({"w1": 2, "b1": 1, "w2": 2, "b2": 1})
