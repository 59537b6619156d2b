"""Diagrams: lines between points, and the pipeline's stages."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MultipleLocator
from numpy.typing import ArrayLike

from mlcore.plotting.style import BLUE, GROUND, INK, SOFT, VERMILION, Array, one_panel, panels


class Hyperplane(NamedTuple):
    """A line w x + b = 0 in the plane, and points on its two sides."""

    w: ArrayLike  # of shape (2,)
    b: float
    points: ArrayLike  # of shape (n_points, 2)
    labels: ArrayLike  # of shape (n_points,), 1 or -1
    query: ArrayLike  # of shape (n_queries, 2): points to be classified


def hyperplanes(planes: Mapping[str, Hyperplane]) -> Figure:
    """Draw lines with their margins and points; support vectors are ringed."""
    figure, (row,) = panels(4.1 * len(planes), 4.0, 1, len(planes))
    for axes, (title, plane) in zip(row, planes.items(), strict=True):
        _hyperplane(axes, plane)
        axes.set_title(title, fontweight="bold", pad=20)
    lines = [line for axes in row for line in axes.get_legend_handles_labels()[0]]
    shown = {str(line.get_label()): line for line in lines}
    figure.legend(handles=shown.values(), fontsize=9, ncols=3, loc="outside lower center")
    return figure


def _hyperplane(axes: Axes, plane: Hyperplane) -> None:
    w, b, points, labels, query = map(np.asarray, plane)
    _lines(axes, w, float(b))
    axes.plot(*points[labels == 1].T, "o", color=BLUE, label="class +1")
    axes.plot(*points[labels == -1].T, "s", color=VERMILION, label="class \N{MINUS SIGN}1")
    on_margin = points[np.isclose(np.abs(points @ w + b), 1)]
    axes.plot(*on_margin.T, "o", color=INK, markersize=13, fillstyle="none",
              label="support vector: on a margin", linestyle="none")  # fmt: skip
    told = f"w = ({', '.join(_number(x) for x in w)}), b = {_number(float(b))}"
    if len(query):
        score = float(query[0] @ w + b)
        axes.plot(*query.T, "*", color=BLUE if score > 0 else VERMILION, markersize=14,
                  label="point to classify, in its side's colour")  # fmt: skip
        at = ", ".join(_number(x) for x in query[0])
        told += f"; at the star ({at}): w\N{MIDDLE DOT}x + b = {_number(score)}"
    axes.text(0, 1.03, told, transform=axes.transAxes, fontsize=9)
    everything = np.vstack([points, query])
    middle = (everything.min(axis=0) + everything.max(axis=0)) / 2
    half = np.ptp(everything, axis=0).max() / 2 + 0.6
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set(aspect="equal", xlabel="x\N{SUBSCRIPT ONE}", ylabel="x\N{SUBSCRIPT TWO}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(1))


def _lines(axes: Axes, w: Array, b: float) -> None:
    """Draw where w x + b is 0, and where it is 1 or -1."""
    along = np.array([-w[1], w[0]]) / np.linalg.norm(w)
    score_is = "w\N{MIDDLE DOT}x + b ="
    names = {0: f"{score_is} 0", 1: f"margins: {score_is} \N{PLUS-MINUS SIGN}1", -1: "_"}
    for score, label in names.items():
        foot = w * (score - b) / (w @ w)  # the point of the line that is nearest to the origin
        ends = foot + np.outer([-20, 20], along)
        axes.plot(*ends.T, ":" if score else "-", color=SOFT, linewidth=1.2, label=label)


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def pipeline_graph(needs: Mapping[str, Sequence[str]], times: Mapping[str, int]) -> Figure:
    """Draw the stages of a pipeline from left to right, each after those whose results it takes.

    `needs` are these by stage; what follows from others is left out. `times` says how often a
    stage runs.
    """
    graph = nx.DiGraph([(before, stage) for stage, all_ in needs.items() for before in all_])
    graph.add_nodes_from(needs)
    reduced = nx.transitive_reduction(graph)
    places = _places(reduced)
    columns, rows = np.array(list(places.values())).T
    figure, axes = one_panel(1.25 * columns.max() + 1.3, 0.7 * np.ptp(rows) + 0.8)
    for before, stage in sorted(reduced.edges):  # they come from sets
        (x, y), (to_x, to_y) = places[before], places[stage]
        turn, end = to_x - 1 + HALF, to_x - HALF
        bend = [(x + HALF, y), (turn, y), (to_x - 0.5, y), (to_x - 0.5, to_y), (end, to_y)]
        codes = [Path.MOVETO, Path.LINETO, *[Path.CURVE4] * 3]
        axes.add_patch(PathPatch(Path(bend, codes), fill=False, edgecolor=SOFT, linewidth=1.1))
        axes.plot([end - 0.02], [to_y], ">", color=SOFT, markersize=5)
    for stage in needs:
        x, y = places[stage]
        n = times.get(stage, 1)
        words = stage.split("_", 1) + [f"\N{MULTIPLICATION SIGN} {n}"] * (n > 1)
        axes.text(x, y, "\n".join(words), ha="center", va="center", fontsize=9)
        axes.add_patch(FancyBboxPatch((x - HALF, y - 0.36), 2 * HALF, 0.72,
                                      boxstyle="round,pad=0,rounding_size=0.06",
                                      facecolor=GROUND, edgecolor=BLUE))  # fmt: skip
    axes.set(xlim=(-0.5, columns.max() + 0.5), ylim=(rows.min() - 0.5, rows.max() + 0.5))
    axes.set_axis_off()
    return figure


HALF = 0.36
"""Half the width of a stage's box, in columns."""


def _places(graph: "nx.DiGraph[str]") -> dict[str, tuple[int, int]]:
    """Give a column and a row to each stage, so that no line runs through another stage.

    A line stays in the row of its stage up to the column before the one it leads to, so the row is
    taken up to there. Of the free rows a stage has the one nearest to those of its needs.
    """
    generations = enumerate(nx.topological_generations(graph))
    columns = {stage: column for column, stages in generations for stage in stages}
    places: dict[str, tuple[int, int]] = {}
    taken: set[tuple[int, int]] = set()
    # What leads on from a stage comes before what stands beside it, so that few lines cross
    for stage in nx.lexicographical_topological_sort(graph, lambda name: (-columns[name], name)):
        column = columns[stage]
        end = max([columns[after] for after in graph[stage]], default=column + 1)
        wanted = fmean([places[before][1] for before in graph.predecessors(stage)] or [0])
        for row in sorted(range(-len(columns), len(columns)), key=lambda row: abs(row - wanted)):
            passed = {(k, row) for k in range(column, end)}
            if taken.isdisjoint(passed):
                break
        taken |= passed
        places[stage] = column, row
    return places
