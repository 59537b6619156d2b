"""Diagrams: lines between points, and the pipeline's stages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlcore.plotting.style import BLUE, VERMILION, new_figure, panels


class Hyperplane(NamedTuple):
    """A line w x + b = 0 in the plane, and points on its two sides."""

    w: ArrayLike  # of shape (2,)
    b: float
    points: ArrayLike  # of shape (n_points, 2)
    labels: ArrayLike  # of shape (n_points,), 1 or -1
    query: ArrayLike  # of shape (n_queries, 2): points to be classified


def hyperplanes(planes: Mapping[str, Hyperplane]) -> Figure:
    """Draw lines with their margins and points; support vectors are ringed."""
    figure, row = panels(4.2 * len(planes), 3.8, len(planes))
    for axes, (title, plane) in zip(row, planes.items(), strict=True):
        _hyperplane(axes, plane)
        axes.set_title(title, loc="left")
    row[0].legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def _hyperplane(axes: Axes, plane: Hyperplane) -> None:
    w, b, points, labels, query = map(np.asarray, plane)
    everything = np.vstack([points, query])
    low, high = everything.min(axis=0) - 0.8, everything.max(axis=0) + 0.8
    along = np.array([-w[1], w[0]]) / np.linalg.norm(w)
    for score, style in ((0, "-"), (1, ":"), (-1, ":")):
        foot = w * (score - b) / (w @ w)  # the point of the line that is nearest to the origin
        ends = foot + np.outer([-20, 20], along)
        axes.plot(*ends.T, style, color="#555555", linewidth=1.2)
    axes.plot(*points[labels == 1].T, "o", color=BLUE, label="+1")
    axes.plot(*points[labels == -1].T, "s", color=VERMILION, label="\N{MINUS SIGN}1")
    on_margin = points[np.isclose(np.abs(points @ w + b), 1)]
    axes.plot(*on_margin.T, "o", color="black", markersize=13, fillstyle="none",
              label="support vector", linestyle="none")  # fmt: skip
    if len(query):
        axes.plot(*query.T, "*", color=BLUE if query[0] @ w + b > 0 else VERMILION, markersize=13)
        axes.annotate("query", query[0], xytext=(8, 6), textcoords="offset points")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set(xlabel="x\N{SUBSCRIPT ONE}", ylabel="x\N{SUBSCRIPT TWO}")
    axes.spines[["top", "right"]].set_visible(False)


def pipeline_graph(needs: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the stages of a pipeline from left to right, each after those whose results it takes.

    `needs` names each stage with those that it takes results of.
    """
    graph = nx.DiGraph([(before, stage) for stage, all_ in needs.items() for before in all_])
    graph.add_nodes_from(needs)
    reduced = nx.transitive_reduction(graph)
    for layer, stages in enumerate(nx.topological_generations(graph)):
        for stage in stages:
            reduced.add_node(stage, layer=layer)
    places: dict[str, Any] = _ordered(reduced)
    figure = new_figure(11.5, 4.2)
    axes = figure.subplots()
    for stage, (x, y) in sorted(places.items()):
        box = {"boxstyle": "round", "facecolor": "#eef3f8", "edgecolor": BLUE}
        name = stage.replace("_", "\n", 1)
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box)
    for before, stage in sorted(reduced.edges):  # networkx has them in no fixed order
        axes.annotate("", places[stage], places[before], zorder=0,
                      arrowprops={"arrowstyle": "-|>", "color": "#777777",
                                  "shrinkA": 26, "shrinkB": 26})  # fmt: skip
    xs, ys = zip(*places.values(), strict=True)
    axes.set(xlim=(-0.6, max(xs) + 0.6), ylim=(min(ys) - 0.6, max(ys) + 0.6))
    axes.set_axis_off()
    return figure


def _ordered(graph: "nx.DiGraph[str]") -> dict[str, tuple[float, float]]:
    """Place stages in columns, in each near what they need."""
    columns: dict[int, list[str]] = {}
    for stage, layer in sorted(graph.nodes(data="layer")):
        columns.setdefault(layer, []).append(stage)
    places: dict[str, tuple[float, float]] = {}
    for layer in sorted(columns):

        def height(stage: str) -> tuple[float, str]:
            before = sorted(places[b][1] for b in graph.predecessors(stage) if b in places)
            return (-float(np.mean(before)) if before else 0.0, stage)

        stages = sorted(columns[layer], key=height)
        for k, stage in enumerate(stages):
            places[stage] = (1.15 * layer, 1.15 * ((len(stages) - 1) / 2 - k))
    return places
