"""Figures that are tables of numbers, coloured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mlcore.plotting.style import Array, display, frameless, new_figure, panels


def accuracy_heatmap(
    accuracies: pd.DataFrame, published: pd.DataFrame | None = None, title: str = ""
) -> Figure:
    """Draw test accuracy over activation (rows) and initialisation (columns).

    Parameters
    ----------
    accuracies : DataFrame
        Fractions.
    published : DataFrame, optional
        The study's fractions in the same layout, written below ours in small.
    title : str
    """
    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    values = 100 * accuracies.to_numpy(float)
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 55 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="bottom", color=colour, fontsize=13)
        theirs = np.nan if published is None else 100 * published.iloc[row, column]
        if np.isfinite(theirs):
            axes.text(column, row + 0.08, f"study {theirs:.2f}", ha="center", va="top",
                      color=colour, fontsize=9)  # fmt: skip
    axes.set_xticks(range(accuracies.shape[1]), [display(name) for name in accuracies.columns])
    axes.set_yticks(range(accuracies.shape[0]), [display(name) for name in accuracies.index])
    axes.set_xlabel("weight initialisation")
    frameless(axes)
    figure.colorbar(image, ax=axes, label="test accuracy (%)", fraction=0.05)
    axes.set_title(title, loc="left")
    return figure


def search_heatmaps(candidates: pd.DataFrame, title: str) -> Figure:
    """Draw cross-validated accuracy over learning rate and batch size, one panel per solver.

    Parameters
    ----------
    candidates : DataFrame
        Columns "solver", "learning_rate", "batch_size", "mean_accuracy" and "rank".
    title : str
    """
    solvers = sorted(candidates["solver"].unique())
    figure, row = panels(4.4 * len(solvers) + 1.0, 4.2, len(solvers), title, sharey=True)
    low, high = 100 * candidates["mean_accuracy"].min(), 100 * candidates["mean_accuracy"].max()
    best = candidates["rank"] == candidates["rank"].min()
    image: Any = None
    for axes, solver in zip(row, solvers, strict=True):
        of_solver = candidates.assign(best=best)[candidates["solver"] == solver]
        image = _search_panel(axes, of_solver, low, high)
        axes.set_title(solver, loc="left")
    row[0].set_ylabel("learning rate")
    figure.colorbar(image, ax=row, label="cross-validated accuracy (%)", fraction=0.05)
    return figure


def _search_panel(axes: Axes, candidates: pd.DataFrame, low: float, high: float) -> AxesImage:
    table = candidates.pivot(
        index="learning_rate", columns="batch_size", values=["mean_accuracy", "best"]
    )
    values, best = 100 * table["mean_accuracy"].to_numpy(float), table["best"].to_numpy(bool)
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        note, weight = (" (best)", "bold") if best[i, j] else ("", "normal")
        colour = "black" if value > (low + high) / 2 else "white"
        axes.text(j, i, f"{value:.1f}{note}", ha="center", va="center", color=colour,
                  fontweight=weight)  # fmt: skip
    sizes = table["mean_accuracy"].columns
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_yticks(range(len(table)), [f"{rate:g}" for rate in table.index])
    axes.set_xlabel("batch size")
    frameless(axes)
    return image


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
    figure = new_figure(9.6, 4.4 * n_rows + 1.1, title)
    grid = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(counts) :]:
        axes.set_axis_off()
    for axes, (name, matrix) in zip(grid.flat, counts.items(), strict=False):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.pcolormesh(shares, cmap="cividis", vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(matrix):
            if count:
                colour = "black" if shares[i, j] > 0.55 else "white"
                axes.text(j + 0.5, i + 0.5, str(count), ha="center", va="center", color=colour,
                          fontsize=7)  # fmt: skip
        middles = np.arange(len(classes)) + 0.5
        axes.set_xticks(middles, classes, rotation=90)
        axes.set_yticks(middles, classes)
        axes.set_ylim(len(classes), 0)
        frameless(axes)
        axes.set_title(display(name), loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("taken for")
    for axes in grid[:, 0]:
        axes.set_ylabel("true class")
    return figure
