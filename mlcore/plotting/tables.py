"""Pictures that are tables of numbers, coloured."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlcore.plotting.style import ONE_SCALE, VERMILION, Array, display, frameless, one_panel, panels

LOW = 0.9
"""Accuracies below have a hue of their own: the scale is for those that differ by little."""

PALE_RED = "#f4c7ab"

ON_LIGHT, ON_DARK = "#000001", "#fffffe"
"""Text on a coloured ground, which stays as it is."""


def _cells(axes: Axes, table: pd.DataFrame, shades: ScalarMappable) -> Iterator[dict[str, Any]]:
    """Draw a table's cells from the top; gives of each how text in its middle is readable."""
    values = table.to_numpy(float)
    low, high = shades.get_clim()
    axes.pcolormesh(values, cmap=shades.cmap, vmin=low, vmax=high, edgecolors="white",
                    linewidth=1.5)  # fmt: skip
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, list(table.columns))
    axes.set_yticks(np.arange(len(table)) + 0.5, list(table.index))
    axes.set(xlim=(0, len(table.columns)), ylim=(len(table), 0))
    frameless(axes)
    grounds = shades.to_rgba(values)[..., :3] @ (0.3, 0.59, 0.11)
    for (row, column), bright in np.ndenumerate(grounds):
        yield {"x": column + 0.5, "y": row + 0.5, "ha": "center", "va": "center",
               "color": ON_LIGHT if bright > 0.5 else ON_DARK}  # fmt: skip


def _bar(figure: Figure, shades: ScalarMappable, axes: Any, label: str) -> Axes:
    bar = figure.colorbar(shades, ax=axes, extend="min", fraction=0.05, label=label)
    bar.outline.set_visible(False)
    return bar.ax


def accuracy_heatmap(accuracies: pd.DataFrame, published: pd.DataFrame, title: str) -> Figure:
    """Draw test accuracy over activation (rows) and initialisation (columns).

    Ours and the study's, as fractions, in the same layout; NaN where the study has none.
    """
    figure, axes = one_panel(6.9, 2.9, title)
    ours = 100 * accuracies.rename(index=display, columns=lambda name: f"{display(name)} init")
    low, high = 100 * LOW, max(98.0, np.nanmax(ours))
    shades = ScalarMappable(Normalize(low, high), colormaps["YlGnBu"].with_extremes(under=PALE_RED))
    values = zip(ours.to_numpy(float).flat, (100 * published).to_numpy(float).flat, strict=True)
    for text, (value, theirs) in zip(_cells(axes, ours, shades), values, strict=True):
        known, middle = bool(np.isfinite(theirs)), text["x"]
        text |= {"x": middle - 0.03 * known, "ha": "right" if known else "center"}
        axes.text(**text, s=f"{value:.2f}", fontsize=12)
        if known:
            text |= {"x": middle + 0.03, "ha": "left"}
            axes.text(**text, s=f"study {theirs:.2f}", fontsize=8.5)
    bar = _bar(figure, shades, axes, "test accuracy (%)")
    bar.set_title(f"below {low:g}", loc="center", fontsize=8.5, y=-0.16)
    return figure


def search_heatmaps(candidates: pd.DataFrame, title: str, chosen: tuple[str, float, int]) -> Figure:
    """Draw cross-validated accuracy over learning rate and batch size, one panel per solver.

    `candidates` has the columns "solver", "learning_rate", "batch_size", "mean_accuracy" and
    "rank"; a solver whose candidates are all the same has one cell. `chosen` is the study's choice:
    solver, learning rate and batch size.
    """
    solvers = list(dict.fromkeys(candidates.sort_values("rank")["solver"]))
    one = candidates.groupby("solver")["mean_accuracy"].nunique() == 1
    widths = [0.55 if one[solver] else 1.0 for solver in solvers]
    figure, (row,) = panels(3.3 * len(solvers), 3.2, 1, len(solvers), title, width_ratios=widths)
    accuracies = 100 * candidates["mean_accuracy"]
    low, high = accuracies.quantile(0.2), accuracies.max()
    shades = ScalarMappable(Normalize(low, high), "YlGnBu")
    for axes, solver in zip(row, solvers, strict=True):
        of_solver = candidates[candidates["solver"] == solver]
        theirs = chosen[1:] if chosen[0] == solver else None
        _search_panel(axes, of_solver, shades, theirs)
        axes.set_title(solver, fontweight="bold")
    row[0].set_ylabel("learning rate")
    shades.set_array(accuracies)
    _bar(figure, shades, row, "cross-validated accuracy (%)")
    return figure


def _search_panel(
    axes: Axes, candidates: pd.DataFrame, shades: ScalarMappable, chosen: Any
) -> None:
    if candidates["mean_accuracy"].nunique() == 1 < len(candidates):
        value = 100 * candidates["mean_accuracy"].iloc[0]
        (text,) = _cells(axes, pd.DataFrame([value]), shades)
        axes.text(**text, s=f"{value:.1f}\nwith every rate\nand batch size")
        axes.set(xticks=[], yticks=[])
        return
    by_rate = candidates.sort_values(["learning_rate", "batch_size"])
    table = 100 * by_rate.pivot(index="learning_rate", columns="batch_size", values="mean_accuracy")
    texts = _cells(axes, table.rename("{:g}".format, axis=0), shades)
    for text, row in zip(texts, by_rate.to_dict("records"), strict=True):
        notes = ["best"] * (row["rank"] == 1)
        if chosen == (row["learning_rate"], row["batch_size"]):
            notes.append("the study's")
            axes.add_patch(Rectangle((text["x"] - 0.47, text["y"] - 0.47), 0.94, 0.94, fill=False,
                                     linewidth=2, edgecolor=VERMILION))  # fmt: skip
        words = "\n".join([f"{100 * row['mean_accuracy']:.1f}", *notes])
        axes.text(**text, s=words, fontsize=9, fontweight="bold" if notes else "normal")
    axes.set_xlabel("batch size")


def confusion_matrices(counts: Mapping[str, Array], classes: Sequence[str], title: str) -> Figure:
    """Draw how often each class is taken for each, one matrix per classifier, two to a row.

    Matrices are of shape (n_classes, n_classes): rows are true classes, columns predicted ones.
    """
    n_rows = -(-len(counts) // 2)
    figure, grid = panels(9.0, 3.9 * n_rows + 1.0, n_rows, 2, title, **ONE_SCALE)
    for axes in grid.flat[len(counts) :]:
        axes.set_axis_off()
    for axes, (name, matrix) in zip(grid.flat, counts.items(), strict=False):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        table = pd.DataFrame(shares, classes, classes)
        texts = _cells(axes, table, ScalarMappable(Normalize(0, 1), "Blues"))
        for text, count in zip(texts, matrix.flat, strict=True):
            if count:
                axes.text(**text, s=str(count), fontsize=9)
        setp(axes.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
        axes.set_title(display(name), fontweight="bold")
    setp(grid[-1], xlabel="taken for")
    setp(grid.T[0], ylabel="true class")
    return figure
