"""Pictures: what they show, in the same bytes each time."""

import io
import re
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as MplPath
from PIL import Image

from mlcore import plotting
from mlcore.nn.activations import ACTIVATIONS
from mlcore.plotting import style
from mlcore.plotting.rows import MARKS


@pytest.fixture
def history():
    epochs = np.arange(1, 6)
    return pd.DataFrame({"epoch": epochs, "train_loss": 2.0 / epochs, "val_loss": 2.2 / epochs})


def words(texts):
    return [text.get_text() for text in texts]


def test_loss_curves_show_both_losses_whole(history):
    (axes,) = plotting.loss_curves(history, "title").axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {"training": [*history["train_loss"]], "validation": [*history["val_loss"]]}
    low, high = axes.get_ylim()
    assert 0 == low < 1.05 * history["val_loss"].max() < high
    (axes,) = plotting.loss_curves(history.drop(columns="val_loss"), "title").axes
    assert [line.get_label() for line in axes.lines] == ["training"]


def test_losses_that_coincide_are_enlarged_where_they_do():
    epochs = np.arange(1, 101)
    falling = 2 * np.exp(-epochs / 10)
    history = pd.DataFrame({"epoch": epochs, "train_loss": falling, "val_loss": falling + 0.01})
    (axes,) = plotting.loss_curves(history, "t", top=2.4).axes
    (inset,) = axes.child_axes
    shown = inset.lines[1]
    assert shown.get_xdata()[0] == 13  # before, they are above a quarter of the scale
    np.testing.assert_array_equal(shown.get_ydata(), history["val_loss"][12:])
    (axes,) = plotting.loss_curves(history.assign(val_loss=falling + 1), "t", top=3.0).axes
    assert not axes.child_axes
    assert axes.get_ylim() == (0, 3.0)


def test_panels_share_one_scale(history):
    scaled = history.assign(val_loss=10 * history["val_loss"])
    figure = plotting.loss_panels({"relu": history, "tanh": scaled}, "nats", "t")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ReLU", "tanh"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[1] > 22


def test_the_heatmap_writes_our_number_and_the_studys():
    ours = pd.DataFrame([[0.1171, 0.95], [0.2, 0.97]], ["tanh", "relu"], ["zero", "normal"])
    study = pd.DataFrame([[0.11, 0.9], [np.nan, 0.9733]])
    axes = plotting.accuracy_heatmap(ours, study, "t").axes[0]
    written = "11.71|study 11.00|95.00|study 90.00|20.00|97.00|study 97.33"
    assert "|".join(words(axes.texts)) == written
    cells = axes.collections[0]
    below, near, *_, best = cells.to_rgba(cells.get_array().ravel())
    np.testing.assert_array_equal(below, cells.to_rgba([20.0])[0])  # one hue for all that is low
    assert np.abs(near - best).max() > 0.2  # and 2 % above it are told apart
    assert words(axes.get_yticklabels()) == ["tanh", "ReLU"]


def test_the_grid_has_a_panel_per_scheme_and_tells_activations_apart(history):
    cells = {
        (a, i): history.assign(val_loss=history["val_loss"] * 2**k)
        for i in ("zero", "random", "normal")
        for k, a in enumerate(("sigmoid", "tanh", "relu", "leaky_relu"))
    }
    figure = plotting.grid_curves(cells, "grid")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        curves = axes.lines[:4]
        assert len({line.get_color() for line in curves}) == 4
        assert len({str(line._dash_pattern) for line in curves}) == 4
        assert words(axes.texts) == ["sigmoid 0.44", "tanh 0.88", "ReLU 1.76", "leaky ReLU 3.52"]
        heights = [text.get_position()[1] for text in axes.texts]
        assert min(np.diff(sorted(heights))) > 0.07
    # Every activation that there is can be drawn with one more
    names = [*ACTIVATIONS, "one more"]
    figure = plotting.grid_curves({(name, "normal"): history for name in names}, "all")
    assert words(figure.axes[0].texts) == [f"all {len(names)}: 0.44"]


def test_curves_that_coincide_have_one_name(history):
    other = history.assign(val_loss=history["val_loss"] / 2)
    cells = {("tanh", "zero"): history, ("relu", "zero"): history, ("sigmoid", "zero"): other}
    (axes,) = plotting.grid_curves(cells, "grid").axes
    assert words(axes.texts) == ["tanh, ReLU 0.44", "sigmoid 0.22"]


def test_what_is_zero_is_written_and_not_drawn_on_a_logarithms_scale():
    epochs = np.arange(1, 4)
    table = pd.DataFrame({
        "epoch": epochs, "gradient_norm_1": 0.0, "gradient_norm_2": 0.1,
        "unit_spread_1": [3e-13, 2e-13, 1e-13],
    })  # fmt: skip
    figure = plotting.diagnostic_grid({("tanh", "zero"): table}, {("tanh", "zero"): "why"}, "t")
    (axes,) = figure.axes
    first, output, spread = axes.lines
    assert np.isnan(first.get_ydata()).all()
    assert np.isnan(spread.get_ydata()).all()
    assert output.get_ydata().tolist() == [0.1] * 3
    written = "gradient of the first layer: 0\nspread of the units: below 1e-12"
    assert words(axes.texts) == [written, "why"]


def test_the_search_marks_the_best_candidate_and_the_studys():
    rows = [("sgd", 0.1, 32, 0.9), ("adam", 0.1, 32, 0.8), ("adam", 0.2, 64, 0.7),
            ("adam", 0.2, 32, 0.6), ("adam", 0.1, 64, 0.5), ("sgd", 0.2, 32, 0.4),
            ("sgd", 0.1, 64, 0.3), ("sgd", 0.2, 64, 0.2)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["solver", "learning_rate", "batch_size", "mean_accuracy"])
    table["rank"] = range(1, 9)
    sgd, adam = plotting.search_heatmaps(table, "search", ("adam", 0.2, 64)).axes[:2]
    assert (adam.get_title(loc="left"), sgd.get_title(loc="left")) == ("adam", "sgd")
    assert words(adam.texts) == ["80.0", "50.0", "60.0", "70.0\nthe study's"]
    assert words(sgd.texts) == ["90.0\nbest", "30.0", "40.0", "20.0"]
    (frame,) = adam.patches
    assert frame.get_bbox().contains(1.5, 1.5)
    assert not sgd.patches
    # A solver that ignores what is searched has one cell
    table.loc[table["solver"] == "adam", "mean_accuracy"] = 0.75
    _, adam = plotting.search_heatmaps(table, "search", ("adam", 0.2, 64)).axes[:2]
    assert words(adam.texts) == ["75.0\nwith every rate\nand batch size"]


def verdicts(**changed):
    row = {"label": "a", "printed": "97.33", "published": 0.9733, "mean": 0.971, "low": 0.970,
           "high": 0.972, "tolerance": 0.005, "verdict": "differs, immaterially"}  # fmt: skip
    return pd.DataFrame([row, {**row, "label": "b", **changed}])


def dots(axes):
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def test_the_verdicts_picture_places_the_printed_number_in_tolerances():
    groups = {"one": verdicts(low=np.nan, verdict="not testable"), "two": verdicts()[:1],
              "three": verdicts(label="")[1:]}  # fmt: skip
    (axes,) = plotting.verdict_chart(groups, "t").axes
    labels = words(axes.get_yticklabels())
    assert labels == ["one", "a  97.33", "b  97.33", "two", "a  97.33", "three  97.33"]
    assert [dot.get_ydata()[0] for dot in dots(axes)] == [1, 2, 4, 5]
    places = [dot.get_xdata()[0] for dot in dots(axes) if dot.get_marker() == "D"]
    assert places == [pytest.approx(0.46)] * 3
    (written,) = axes.texts
    assert (written.get_position()[1], written.get_text()) == (2, "not testable")
    spans = [line.get_xdata() for line in axes.lines if len(set(line.get_xdata())) == 2]
    assert spans == [pytest.approx([-0.2, 0.2])] * 3
    assert words(axes.get_legend().get_texts()) == ["differs, immaterially (3)", "not testable (1)"]


def test_numbers_that_are_exact_are_listed_side_by_side():
    table = pd.concat([verdicts(), verdicts()], ignore_index=True).assign(verdict="exact")
    (axes,) = plotting.verdict_chart({"one": table}, "t").axes
    assert [dot.get_ydata()[0] for dot in dots(axes)] == [1, 1, 1, 2]
    assert words(axes.texts) == ["a 97.33", "b 97.33", "a 97.33", "b 97.33"]


@pytest.mark.parametrize(("published", "marker"), [(0.99, "D"), (0.1, "<"), (1.5, ">")], ids=str)
def test_a_printed_number_beyond_the_picture_points_outwards(published, marker):
    figure = plotting.verdict_chart({"one": verdicts(published=published)[1:]}, "t")
    assert [dot.get_marker() for dot in dots(figure.axes[0])] == [marker]
    told = words(figure.legends[0].get_texts())
    assert ("further away than the axis reaches" in told) == (marker != "D")


def test_verdicts_have_the_glyphs_and_hues_of_the_page():
    root = Path(__file__).parents[1]
    css = (root / "mlcore" / "report" / "style.css").read_text(encoding="utf-8")
    hues = dict(re.findall(r"--(\w+): (#\w+)", css.partition("@media")[0]))
    for verdict, (colour, *_) in MARKS.items():
        rule = rf'\[data-verdict="{verdict}"\][^{{}}]*\{{ color: var\(--(\w+)\)'
        selected = re.findall(rule, css)
        assert colour == hues[selected[0] if selected else "mute"]


def test_the_small_verdict_has_a_dot_per_number_the_best_first():
    parts = {"one": ["consistent", *["exact"] * 40], "two": ["not reproduced"]}
    figure = plotting.verdict_dots(parts, "t")
    (axes,) = figure.axes
    assert words(axes.get_yticklabels()) == ["one  41", "two  1"]
    drawn = dots(axes)
    assert len(drawn) == len({(d.get_xdata()[0], d.get_ydata()[0]) for d in drawn}) == 42
    assert [d.get_fillstyle() for d in drawn[39:41]] == ["full", "left"]
    assert drawn[41].get_marker() == "s"
    shown = words(figure.legends[0].get_texts())
    assert shown == ["exact (40)", "consistent (1)", "not reproduced (1)"]


def test_changes_lead_from_before_to_after_and_say_what_was_not_run():
    rows = [{"label": "tanh", "default": 0.9, "mean": 0.5, "n": 1},
            {"label": "ReLU", "default": None, "mean": 0.7, "n": 3}]  # fmt: skip
    (axes,) = plotting.before_after({"He": rows, "rate": []}, "t").axes
    assert words(axes.get_yticklabels()) == ["", "tanh", "ReLU", "", ""]
    ends = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-"]
    assert ends == [pytest.approx([90, 50])]
    arrow = "90.0 \N{RIGHTWARDS ARROW} 50.0  (1 run)"
    assert words(axes.texts) == ["He", arrow, "70.0  (3 runs)", "rate", "not run yet"]


def test_other_seeds_lie_behind_the_run_and_do_not_set_its_scale(history):
    wild = history.assign(val_loss=100.0)
    longer = pd.DataFrame({"epoch": range(1, 9), "val_loss": np.ones(8)})
    (axes,) = plotting.loss_curves(history, "title", others=[wild, longer]).axes
    behind, beyond, _, *run = axes.lines
    np.testing.assert_array_equal(behind.get_ydata(), wild["val_loss"])
    top = axes.get_ylim()[1]
    assert top < 3
    assert beyond.get_marker() == "^"
    assert list(beyond.get_ydata()) == [top] * len(wild)
    assert [line.get_label() for line in run] == ["training", "validation"]
    assert axes.get_xlim()[1] == 8
    assert words(axes.get_legend().get_texts()) == ["other seeds", "training", "validation"]


def test_rows_of_images_may_differ_in_length():
    images = np.zeros((4, 784))
    titles = {"tanh": ["a", "b", "c"], "ReLU": ["d"]}
    figure = plotting.image_rows({"tanh": images[:3], "ReLU": images[3:4]}, "rows", titles)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0, 0]
    assert figure.axes[3].get_ylabel() == "ReLU"


def test_a_confusion_matrix_has_its_true_classes_from_the_top():
    counts = np.array([[8, 2], [0, 5]])
    matrices = {"tanh": counts, "relu": counts.T}
    first, second = plotting.confusion_matrices(matrices, ["a", "b"], "t").axes
    written = {tuple(t.get_position()): t.get_text() for t in first.texts}
    assert written == {(0.5, 0.5): "8", (1.5, 0.5): "2", (1.5, 1.5): "5"}
    assert first.get_ylim() == second.get_ylim() == (2, 0)
    shares = first.collections[0].get_array()
    np.testing.assert_allclose(shares.ravel(), [0.8, 0.2, 0, 1])


def test_a_map_names_each_class_at_its_points_and_apart_from_others():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [10.0, 10.0], [9.8, 10.0]])
    figure = plotting.class_map({"v": points}, np.array([0, 2, 1, 1]), ["a", "b", "c"], "x", "t")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [t.get_bbox_patch().get_window_extent() for t in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert [tuple(np.round(t.xy, 3)) for t in axes.texts[:2]] == [(0, 0), (9.9, 10)]
    assert (words(axes.texts), axes.get_xlabel()) == (["a", "b", "c"], "x 1")


def test_a_hyperplane_is_drawn_where_its_score_is_zero():
    plane = plotting.Hyperplane([-2, 0], 5, [[1, 2], [2, 3], [3, 3]], [1, 1, -1], [[1, 3]])
    (axes,) = plotting.hyperplanes({"title": plane}).axes
    lines = [line.get_xdata() for line in axes.lines[:3]]
    assert [pytest.approx([x, x]) for x in (2.5, 2, 3)] == [list(line) for line in lines]
    (told,) = axes.texts
    minus, dot = "\N{MINUS SIGN}", "\N{MIDDLE DOT}"
    assert told.get_text() == f"w = ({minus}2, 0), b = 5; at the star (1, 3): w{dot}x + b = 3"
    ringed = next(line for line in axes.lines if line.get_label().startswith("support vector"))
    assert sorted(zip(*ringed.get_data(), strict=True)) == [(2, 3), (3, 3)]


NEEDS = {"a": [], "b": ["a"], "c_d": ["a", "b"], "e": ["a"], "f": [], "g": ["c_d", "e", "f"],
         "h": ["f", "g"]}  # fmt: skip


def test_stages_stand_to_the_right_of_what_they_need():
    (axes,) = plotting.pipeline_graph(NEEDS, {"c_d": 12}).axes
    places = {t.get_text(): t.get_position()[0] for t in axes.texts}
    assert places["a"] < places["b"] < places["c\nd\n\N{MULTIPLICATION SIGN} 12"] < places["g"]
    assert places["e"] == places["b"]
    lines = [p for p in axes.patches if not isinstance(p, FancyBboxPatch)]
    assert len(lines) == 7  # a to c is said by a to b to c, and f to h by f to g to h
    assert len(axes.lines) == 7  # an arrow's head each


@pytest.mark.parametrize("more", [{}, {"i": ["a", "h"], "j": ["b", "h"], "k": ["f", "j"]}])
def test_no_line_runs_through_a_stage(more):
    needs = NEEDS | more
    (axes,) = plotting.pipeline_graph(needs, {}).axes
    boxes = [p.get_extents() for p in axes.patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) == len(needs)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for line in axes.patches:
        if not isinstance(line, FancyBboxPatch):
            (points,) = line.get_path().to_polygons(line.get_transform(), closed_only=False)
            close = MplPath(points).interpolated(50).vertices
            inside = [box.padded(-2).count_contains(close) for box in boxes]
            assert not any(inside)


def test_the_same_figure_is_the_same_bytes_without_a_date(tmp_path, history):
    for name in ("one.png", "two.png"):
        plotting.save(plotting.loss_curves(history, "title"), tmp_path / name)
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    assert Image.open(io.BytesIO(content)).text == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_the_pipelines_picture_does_not_depend_on_the_order_of_sets(tmp_path, monkeypatch):
    """networkx walks through sets of names, whose order changes from process to process."""
    paths = [tmp_path / run / "graph.svg" for run in "12"]
    reduced = nx.transitive_reduction(nx.DiGraph(NEEDS).reverse())
    for path, edges in zip(paths, ([*reduced.edges], [*reduced.edges][::-1]), strict=True):
        monkeypatch.setattr(nx, "transitive_reduction", lambda _, edges=edges: nx.DiGraph(edges))
        plotting.save_svg(plotting.pipeline_graph(NEEDS, {}), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_smaller_svg_draws_the_same():
    """Numbers are rounded, inside of tags alone; what is referred to keeps its name."""
    svg = (
        '<?xml version="1.0"?>\n<g id="axes_1">\n <path id="mab12" d="M 1.23456 2 \nL 3.00001 4.5 '
        '\nz\n"/>\n  <text x="1.2345" transform="rotate(-0 1.2 3)">0.12345 id="a_1"</text>\n</g>\n'
    )
    assert style.compact(svg) == (
        '<?xml version="1.0"?>\n<g>\n<path id="mab12" d="M 1.23 2L3 4.5\nz\n"/>\n'
        '<text x="1.23">0.12345 id="a_1"</text>\n</g>\n'
    )
