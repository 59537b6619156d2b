"""Diagrams: lines between points, and the pipeline's stages."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MultipleLocator
from numpy.typing import ArrayLike

from mlcore.plotting.style import BLUE, GROUND, INK, SOFT, VERMILION, Array, new_figure, panels


class Hyperplane(NamedTuple):
    """A line w x + b = 0 in the plane, and points on its two sides."""

    w: ArrayLike  # of shape (2,)
    b: float
    points: ArrayLike  # of shape (n_points, 2)
    labels: ArrayLike  # of shape (n_points,), 1 or -1
    query: ArrayLike  # of shape (n_queries, 2): points to be classified


def hyperplanes(planes: Mapping[str, Hyperplane]) -> Figure:
    """Draw lines with their margins and points; support vectors are ringed."""
    figure, row = panels(4.1 * len(planes), 4.0, len(planes))
    for axes, (title, plane) in zip(row, planes.items(), strict=True):
        _hyperplane(axes, plane)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=20)
    shown: dict[str, Artist] = {}
    for axes in row:
        lines, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, lines, strict=True))
    figure.legend(shown.values(), shown.keys(), frameon=False, fontsize=9, ncols=3,
                  loc="outside lower center")  # fmt: skip
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
    axes.spines[["top", "right"]].set_visible(False)


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

    Parameters
    ----------
    needs : mapping of str to sequence of str
        Each stage with those that it takes results of.
    times : mapping of str to int
        How often a stage runs.
    """
    routes, places = _layered(needs)
    columns, lanes = (np.array(list(places.values())).T[k] for k in (0, 1))
    figure = new_figure(1.25 * columns.max() + 1.3, 0.7 * np.ptp(lanes) + 0.8)
    axes = figure.subplots()
    for route in routes:
        axes.add_patch(PathPatch(_curve([places[stop] for stop in route]), fill=False,
                                 edgecolor=SOFT, linewidth=1.1, zorder=1))  # fmt: skip
        x, y = places[route[-1]]
        axes.plot([x - HALF - 0.02], [y], ">", color=SOFT, markersize=5, zorder=2)
    for stage in needs:
        x, y = places[stage]
        n = times.get(stage, 1)
        words = stage.split("_", 1) + [f"\N{MULTIPLICATION SIGN} {n}"] * (n > 1)
        axes.text(x, y, "\n".join(words), ha="center", va="center", fontsize=9, zorder=4)
        axes.add_patch(FancyBboxPatch((x - HALF, y - 0.36), 2 * HALF, 0.72, facecolor=GROUND,
                                      edgecolor=BLUE, zorder=3,
                                      boxstyle="round,pad=0,rounding_size=0.06"))  # fmt: skip
    axes.set(xlim=(-0.5, columns.max() + 0.5), ylim=(lanes.min() - 0.5, lanes.max() + 0.5))
    axes.set_axis_off()
    return figure


HALF = 0.36
"""Half the width of a stage's box, in columns."""


def _layered(
    needs: Mapping[str, Sequence[str]],
) -> tuple[list[list[str]], dict[str, tuple[float, float]]]:
    """Lay out a graph as Sugiyama does: in layers, with a place in each that a line passes.

    What follows from other needs is left out. Gives the routes, as names of the places they go
    through, and the places of stages and of lines.
    """
    graph = nx.DiGraph([(before, stage) for stage, all_ in needs.items() for before in all_])
    graph.add_nodes_from(needs)
    layers = {
        name: k for k, names in enumerate(nx.topological_generations(graph)) for name in names
    }
    routes = []
    for before, stage in sorted(nx.transitive_reduction(graph).edges):
        passed = range(layers[before] + 1, layers[stage])
        stops = [f"{before}>{stage}@{layer}" for layer in passed]
        layers |= dict(zip(stops, passed, strict=True))
        routes.append([before, *stops, stage])
    neighbours: dict[str, list[str]] = {name: [] for name in layers}
    for route in routes:
        for one, other in pairwise(route):
            neighbours[one].append(other)
            neighbours[other].append(one)
    columns: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for name in sorted(layers):
        columns[layers[name]].append(name)
    return routes, _placed(columns, neighbours)


SWEEPS = 12
"""Back and forth over the columns, after which pipelines of this size no longer change."""


def _placed(
    columns: Sequence[list[str]], neighbours: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, float]]:
    """Place names in columns, each as near the mean of its neighbours as there is room."""
    height = {
        name: k - (len(column) - 1) / 2 for column in columns for k, name in enumerate(column)
    }
    layer = {name: k for k, column in enumerate(columns) for name in column}
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        for k in range(len(columns))[:: 1 if forth else -1]:
            side = k - 1 if forth else k + 1
            wanted = {}
            for name in columns[k]:
                on_side = [height[n] for n in neighbours[name] if (layer[n] <= side) == forth]
                wanted[name] = float(np.mean(on_side)) if on_side else height[name]
            height |= _with_gaps(wanted)
    return {name: (float(layer[name]), -at) for name, at in height.items()}


def _with_gaps(wanted: Mapping[str, float]) -> dict[str, float]:
    """Move heights at least 1 apart, in their order and about their mean."""
    names = sorted(wanted, key=lambda name: (wanted[name], name))
    moved: list[float] = []
    for name in names:
        moved.append(max(wanted[name], moved[-1] + 1) if moved else wanted[name])
    shift = np.mean([wanted[name] for name in names]) - np.mean(moved)
    return {name: float(at + shift) for name, at in zip(names, moved, strict=True)}


def _curve(stops: Sequence[tuple[float, float]]) -> Path:
    """Give a line that is level beside and between the places that it goes through."""
    points, codes = [(stops[0][0] + HALF, stops[0][1])], [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(stops):
        start, end = x + HALF, to_x - HALF
        middle = (start + end) / 2
        points += [(start, y), (middle, y), (middle, to_y), (end, to_y)]
        codes += [Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    return Path(points, codes)
