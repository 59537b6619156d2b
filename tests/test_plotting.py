"""Pictures: what they show, in the same bytes each time."""

import io

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlcore import plotting
from mlcore.nn.activations import ACTIVATIONS


@pytest.fixture
def history():
    epochs = np.arange(1, 6)
    return pd.DataFrame({"epoch": epochs, "train_loss": 2.0 / epochs, "val_loss": 2.2 / epochs})


@pytest.fixture
def images():
    return np.random.default_rng(0).random((10, 784))


def candidates():
    rows = [("sgd", 0.1, 32, 0.9), ("adam", 0.1, 32, 0.8), ("adam", 0.2, 64, 0.7),
            ("adam", 0.2, 32, 0.6), ("adam", 0.1, 64, 0.5), ("sgd", 0.2, 32, 0.4),
            ("sgd", 0.1, 64, 0.3), ("sgd", 0.2, 64, 0.2)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["solver", "learning_rate", "batch_size", "mean_accuracy"])
    return table.assign(rank=range(1, 9))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_loss_curves_show_both_losses_whole(history):
    (axes,) = plotting.loss_curves(history, "title").axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {"training": [*history["train_loss"]], "validation": [*history["val_loss"]]}
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > history["val_loss"].max()


def test_a_training_without_validation_has_one_curve_and_a_flat_one_is_inside(history):
    (axes,) = plotting.loss_curves(history.drop(columns="val_loss"), "title").axes
    assert [line.get_label() for line in axes.lines] == ["training"]
    flat = history.assign(train_loss=2.3, val_loss=2.3)
    (axes,) = plotting.loss_curves(flat, "flat").axes
    assert axes.get_ylim()[1] >= 1.05 * 2.3


def test_panels_share_one_scale(history):
    figure = plotting.loss_panels({"relu": history, "tanh": 10 * history}, "nats")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ReLU", "tanh"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[1] > 22


def test_the_heatmap_writes_our_number_and_the_studys():
    ours = pd.DataFrame({"zero": [0.1171, 0.2], "normal": [0.95, 0.97]}, index=["tanh", "relu"])
    study = pd.DataFrame({"zero": [0.11, np.nan], "normal": [0.9, 0.9733]}, index=["tanh", "relu"])
    axes = plotting.accuracy_heatmap(ours, study).axes[0]
    study = ("study 11.00", "study 90.00", "study 97.33")
    assert texts(axes) == ["11.71", study[0], "95.00", study[1], "20.00", "97.00", study[2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tanh", "ReLU"]


def test_the_grid_has_a_panel_per_scheme_and_tells_activations_apart(history):
    activations = ("sigmoid", "tanh", "relu", "leaky_relu")
    cells = {(a, i): history for i in ("zero", "random", "normal") for a in activations}
    figure = plotting.grid_curves(cells, "grid")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert len({line.get_color() for line in axes.lines}) == len(axes.lines) == 4
        assert len({line.get_linewidth() for line in axes.lines}) == 4
    # Every activation that there is can be drawn with one more
    names = [*ACTIVATIONS, "one more"]
    figure = plotting.grid_curves({(name, "normal"): history for name in names}, "all")
    assert len(figure.axes[0].lines) == len(names)


def test_the_search_marks_the_best_candidate_once():
    figure = plotting.search_heatmaps(candidates(), "search")
    adam, sgd = figure.axes[:2]
    assert (adam.get_title(loc="left"), sgd.get_title(loc="left")) == ("adam", "sgd")
    assert texts(adam) == ["80.0", "50.0", "60.0", "70.0"]
    assert texts(sgd) == ["90.0 (best)", "30.0", "40.0", "20.0"]


def verdicts(**changed):
    row = {"label": "a 97.33", "published": 0.9733, "mean": 0.971, "low": 0.970, "high": 0.972,
           "tolerance": 0.005, "verdict": "differs, immaterially"}  # fmt: skip
    return pd.DataFrame([row, {**row, "label": "b", **changed}])


def test_the_verdicts_picture_places_the_printed_number_in_tolerances():
    figure = plotting.verdict_chart({"one": verdicts(low=np.nan), "two": verdicts()[:1]}, "t")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "a 97.33", "b",
                                                                      "two", "a 97.33"]  # fmt: skip
    dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [
        (pytest.approx(0.46), 1), (pytest.approx(0.46), 4)
    ]  # fmt: skip
    assert {dot.get_color() for dot in dots} == {plotting.SKY}
    (written,) = axes.texts
    assert (written.get_position(), written.get_text()) == ((0, 2), "differs, immaterially")
    spans = [line.get_xdata() for line in axes.lines if len(set(line.get_xdata())) == 2]
    assert spans == [pytest.approx([-0.2, 0.2])] * 2
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "differs, immaterially" in shown
    assert "reproduced" not in shown


@pytest.mark.parametrize(("published", "marker"), [(0.99, "o"), (1.5, ">"), (0.1, "<")])
def test_a_printed_number_beyond_the_picture_points_outwards(published, marker):
    table = verdicts(published=published)[1:]
    (axes,) = plotting.verdict_chart({"one": table}, "t").axes
    markers = [line.get_marker() for line in axes.lines if line.get_color() == plotting.SKY]
    assert markers[0] == marker


def test_other_seeds_lie_behind_the_run_and_do_not_set_its_scale(history):
    wild = history.assign(val_loss=100.0)
    longer = pd.DataFrame({"epoch": range(1, 9), "val_loss": np.ones(8)})
    (axes,) = plotting.loss_curves(history, "title", others=[wild, longer]).axes
    behind, run = axes.lines[:2], axes.lines[2:]
    np.testing.assert_array_equal(behind[0].get_ydata(), wild["val_loss"])
    assert [line.get_label() for line in run] == ["training", "validation"]
    assert axes.get_ylim()[1] < 3
    assert axes.get_xlim()[1] == 9
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["validation, other seeds", "training", "validation"]


def test_samples_and_reconstructions_show_the_images_given(images):
    samples = plotting.image_samples(images, [f"name {i}" for i in range(10)], "samples")
    assert [axes.get_title() for axes in samples.axes] == [f"name {i}" for i in range(10)]
    np.testing.assert_array_equal(samples.axes[3].images[0].get_array().ravel(), images[3])
    rows = plotting.reconstructions(images, {"relu": images / 4, "identity": images}, "rows")
    labels = [rows.axes[k].get_ylabel() for k in range(0, 50, 10)]
    assert labels == ["original", "ReLU", "ReLU,\nerror", "identity", "identity,\nerror"]
    shown = [axes.images[0].get_array().ravel() for axes in rows.axes[4::10]]
    for image, expected in zip(shown, (1, 0.25, 0.75, 1, 0), strict=True):
        np.testing.assert_allclose(image, expected * images[4])


def test_rows_of_images_may_differ_in_length(images):
    titles = {"tanh": ["a", "b", "c"], "ReLU": ["d"]}
    figure = plotting.image_rows({"tanh": images[:3], "ReLU": images[3:4]}, "rows", titles)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0, 0]
    assert figure.axes[3].get_ylabel() == "ReLU"


def test_a_confusion_matrix_has_its_true_classes_from_the_top():
    counts = np.array([[8, 2], [0, 5]])
    figure = plotting.confusion_matrices({"tanh": counts, "relu": counts.T}, ["a", "b"], "t")
    first, second = figure.axes
    written = {tuple(t.get_position()): t.get_text() for t in first.texts}
    assert written == {(0.5, 0.5): "8", (1.5, 0.5): "2", (1.5, 1.5): "5"}
    assert first.get_ylim() == second.get_ylim() == (2, 0)
    shares = first.collections[0].get_array()
    np.testing.assert_allclose(shares.ravel(), [0.8, 0.2, 0, 1])


def test_a_map_names_each_class_at_its_points():
    points = np.array([[0.0, 0.0], [0.2, 0.0], [10.0, 10.0], [9.8, 10.0]])
    figure = plotting.class_map({"relu": points}, np.array([1, 1, 0, 0]), ["a", "b"], "axis", "t")
    (axes,) = figure.axes
    assert {t.get_text(): tuple(np.round(t.xy, 3)) for t in axes.texts} == {
        "b": (0.1, 0.0), "a": (9.9, 10.0)
    }  # fmt: skip
    assert axes.get_xlabel() == "axis 1"


def test_names_of_classes_that_coincide_are_moved_apart():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [10.0, 10.0]])
    figure = plotting.class_map({"v": points}, np.array([0, 1, 2]), ["a", "b", "c"], "x", "t")
    heights = {t.get_text(): t.xy[1] for t in figure.axes[0].texts}
    assert abs(heights["a"] - heights["b"]) == pytest.approx(0.35)
    assert heights["c"] == 10


def test_a_hyperplane_is_drawn_where_its_score_is_zero():
    plane = plotting.Hyperplane(
        np.array([-2, 0]), 5, np.array([[1, 2], [2, 3], [3, 3]]), np.array([1, 1, -1]),
        np.array([[1, 3]]),
    )  # fmt: skip
    (axes,) = plotting.hyperplanes({"title": plane}).axes
    lines = [line.get_xdata() for line in axes.lines[:3]]
    assert [pytest.approx([x, x]) for x in (2.5, 2, 3)] == [list(line) for line in lines]
    ringed = next(line for line in axes.lines if line.get_label() == "support vector")
    assert sorted(zip(*ringed.get_data(), strict=True)) == [(2, 3), (3, 3)]


def test_stages_stand_to_the_right_of_what_they_need():
    needs = {"a": [], "b": ["a"], "c_d": ["a", "b"], "e": ["a"]}
    (axes,) = plotting.pipeline_graph(needs).axes
    places = {t.get_text(): t.get_position()[0] for t in axes.texts if t.get_text()}
    assert places["a"] < places["b"] < places["c\nd"]
    assert places["e"] == places["b"]
    arrows = [t for t in axes.texts if not t.get_text()]
    assert len(arrows) == 3  # a to c is said by a to b to c


def test_the_same_figure_is_the_same_bytes_without_a_date(tmp_path, history):
    for name in ("one.png", "two.png"):
        plotting.save(plotting.loss_curves(history, "title"), tmp_path / name)
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    assert Image.open(io.BytesIO(content)).text == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_the_pipelines_picture_does_not_depend_on_the_order_of_sets(tmp_path, monkeypatch):
    """networkx walks through sets of names, whose order changes from process to process."""
    needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["a", "d"], "f": ["b", "c"]}
    reduction, generations = nx.transitive_reduction, nx.topological_generations
    plotting.save_svg(plotting.pipeline_graph(needs), tmp_path / "1" / "graph.svg")

    def reversed_reduction(graph):
        reduced = nx.DiGraph()
        reduced.add_nodes_from(reversed(list(graph)))
        reduced.add_edges_from(reversed(list(reduction(graph).edges)))
        return reduced

    def reversed_generations(graph):
        return [stages[::-1] for stages in generations(graph)]

    monkeypatch.setattr(nx, "transitive_reduction", reversed_reduction)
    monkeypatch.setattr(nx, "topological_generations", reversed_generations)
    plotting.save_svg(plotting.pipeline_graph(needs), tmp_path / "2" / "graph.svg")
    one, two = ((tmp_path / run / "graph.svg").read_bytes() for run in "12")
    assert one == two
