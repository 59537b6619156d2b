"""Pictures that are tables of numbers, coloured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlcore.plotting.style import ON_DARK, ON_LIGHT, Array, display, frameless, new_figure, panels

LOW = 0.9
"""Accuracies below have a hue of their own: the scale is for those that differ by little."""

PALE_RED = "#f4c7ab"


def _cells(axes: Axes, values: Array, shades: ScalarMappable) -> list[str]:
    """Draw cells from the top, and give the colour of text that is readable on each."""
    low, high = shades.get_clim()
    axes.pcolormesh(values, cmap=shades.cmap, vmin=low, vmax=high, edgecolors="white",
                    linewidth=1.5)  # fmt: skip
    n_rows, n_columns = values.shape
    axes.set(xlim=(0, n_columns), ylim=(n_rows, 0))
    frameless(axes)
    grounds = shades.to_rgba(values).reshape(-1, 4)[:, :3] @ (0.3, 0.59, 0.11)
    return [ON_LIGHT if bright > 0.5 else ON_DARK for bright in grounds]


def _names(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(columns))
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))


def accuracy_heatmap(
    accuracies: pd.DataFrame, published: pd.DataFrame | None = None, title: str = ""
) -> Figure:
    """Draw test accuracy over activation (rows) and initialisation (columns).

    Parameters
    ----------
    accuracies : DataFrame
        Fractions.
    published : DataFrame, optional
        The study's fractions in the same layout, written beside ours in small.
    title : str
    """
    figure = new_figure(6.9, 2.9, title)
    axes = figure.subplots()
    values = 100 * accuracies.to_numpy(float)
    low, high = 100 * LOW, max(98.0, np.nanmax(values))
    shades = ScalarMappable(Normalize(low, high), colormaps["YlGnBu"].with_extremes(under=PALE_RED))
    inks = iter(_cells(axes, values, shades))
    for (row, column), value in np.ndenumerate(values):
        ink, x, y = next(inks), column + 0.5, row + 0.5
        theirs = np.nan if published is None else 100 * published.iloc[row, column]
        known = bool(np.isfinite(theirs))
        axes.text(x - 0.03 * known, y, f"{value:.2f}", ha="right" if known else "center",
                  va="center", color=ink, fontsize=12)  # fmt: skip
        if known:
            axes.text(x + 0.03, y, f"study {theirs:.2f}", va="center", color=ink, fontsize=8.5)
    _names(axes, [f"{display(name)} init" for name in accuracies.columns],
           [display(name) for name in accuracies.index])  # fmt: skip
    bar = figure.colorbar(shades, ax=axes, extend="min", fraction=0.05, label="test accuracy (%)")
    bar.ax.set_title(f"below {low:g}", fontsize=8.5, y=-0.16)
    bar.outline.set_visible(False)
    return figure


def search_heatmaps(
    candidates: pd.DataFrame, title: str, chosen: tuple[str, float, int] | None = None
) -> Figure:
    """Draw cross-validated accuracy over learning rate and batch size, one panel per solver.

    Parameters
    ----------
    candidates : DataFrame
        Columns "solver", "learning_rate", "batch_size", "mean_accuracy" and "rank". A solver whose
        candidates are all the same has one cell.
    title : str
    chosen : (solver, learning rate, batch size), optional
        The study's choice.
    """
    solvers = list(dict.fromkeys(candidates.sort_values("rank")["solver"]))
    one = candidates.groupby("solver")["mean_accuracy"].nunique() == 1
    widths = [0.55 if one[solver] else 1.0 for solver in solvers]
    figure, row = panels(3.3 * len(solvers), 3.2, len(solvers), title, width_ratios=widths)
    accuracies = 100 * candidates["mean_accuracy"]
    low, high = accuracies.quantile(0.2), accuracies.max()
    shades = ScalarMappable(Normalize(low, high), "YlGnBu")
    best = candidates["rank"] == candidates["rank"].min()
    for axes, solver in zip(row, solvers, strict=True):
        of_solver = candidates.assign(best=best)[candidates["solver"] == solver]
        theirs = chosen[1:] if chosen and chosen[0] == solver else None
        _search_panel(axes, of_solver, shades, theirs)
        axes.set_title(solver, loc="left", fontsize=10, fontweight="bold")
    row[0].set_ylabel("learning rate")
    shades.set_array(accuracies)
    bar = figure.colorbar(shades, ax=row, extend="min", fraction=0.05)
    bar.set_label("cross-validated accuracy (%)")
    bar.outline.set_visible(False)
    return figure


def _search_panel(
    axes: Axes, candidates: pd.DataFrame, shades: ScalarMappable, chosen: Any
) -> None:
    if candidates["mean_accuracy"].nunique() == 1 < len(candidates):
        (value,) = 100 * candidates["mean_accuracy"].unique()
        (ink,) = _cells(axes, np.array([[value]]), shades)
        axes.text(0.5, 0.5, f"{value:.1f}\nwith every rate\nand batch size", ha="center",
                  va="center", color=ink)  # fmt: skip
        axes.set(xticks=[], yticks=[])
        return
    table = candidates.pivot(
        index="learning_rate", columns="batch_size", values=["mean_accuracy", "best"]
    )
    values, best = 100 * table["mean_accuracy"].to_numpy(float), table["best"].to_numpy(bool)
    rates, sizes = list(table.index), list(table["mean_accuracy"].columns)
    inks = iter(_cells(axes, values, shades))
    for (i, j), value in np.ndenumerate(values):
        notes = ["best"] * bool(best[i, j])
        if chosen is not None and (rates[i], sizes[j]) == tuple(chosen):
            notes.append("the study's")
            axes.add_patch(Rectangle((j + 0.03, i + 0.03), 0.94, 0.94, fill=False, linewidth=2,
                                     edgecolor="#D55E00"))  # fmt: skip
        words = "\n".join([f"{value:.1f}", *notes])
        axes.text(j + 0.5, i + 0.5, words, ha="center", va="center", color=next(inks), fontsize=9,
                  fontweight="bold" if notes else "normal")  # fmt: skip
    _names(axes, [str(size) for size in sizes], [f"{rate:g}" for rate in rates])
    axes.set_xlabel("batch size")


def confusion_matrices(counts: Mapping[str, Array], classes: Sequence[str], title: str) -> Figure:
    """Draw how often each class is taken for each, one matrix per classifier, two to a row.

    Parameters
    ----------
    counts : mapping of str to ndarray of shape (n_classes, n_classes)
        Rows are the true classes, columns the predicted ones.
    classes : sequence of str
    title : str
    """
    n_rows = -(-len(counts) // 2)
    figure = new_figure(9.0, 3.9 * n_rows + 1.0, title)
    grid = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(counts) :]:
        axes.set_axis_off()
    for axes, (name, matrix) in zip(grid.flat, counts.items(), strict=False):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        inks = iter(_cells(axes, shares, ScalarMappable(Normalize(0, 1), "Blues")))
        for (i, j), count in np.ndenumerate(matrix):
            ink = next(inks)
            if count:
                axes.text(j + 0.5, i + 0.5, str(count), ha="center", va="center", color=ink,
                          fontsize=9)  # fmt: skip
        _names(axes, classes, classes)
        axes.tick_params(axis="x", rotation=45)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
        axes.set_title(display(name), loc="left", fontsize=10, fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("taken for")
    for axes in grid[:, 0]:
        axes.set_ylabel("true class")
    return figure
