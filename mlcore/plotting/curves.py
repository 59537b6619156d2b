"""What changes over epochs."""

from collections.abc import Iterable, Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mlcore.plotting.style import (
    BLUE,
    CURVE_COLOURS,
    GREEN,
    VERMILION,
    display,
    frameless,
    new_figure,
    panels,
    plain,
)

DIAGNOSTIC_FLOOR = 1e-9
"""Smallest norm that is drawn."""

FAINT = "#e5b99a"
"""Of curves in the background: vermilion, paler."""


def _losses(axes: Axes, history: pd.DataFrame) -> None:
    # The thinner line lies on the wider one: both show where they coincide
    curves = {"training": ("train_loss", BLUE, 2.8), "validation": ("val_loss", VERMILION, 1.3)}
    for label, (column, colour, width) in curves.items():
        if column in history:
            axes.plot(history["epoch"], history[column], color=colour, label=label, linewidth=width)
            axes.set_ylim(0, max(axes.get_ylim()[1], 1.08 * history[column].max()))
    axes.set(xlabel="epoch", xlim=(0, history["epoch"].max() + 1))
    plain(axes)


def loss_curves(
    history: pd.DataFrame,
    title: str,
    unit: str = "cross-entropy (nats)",
    others: Iterable[pd.DataFrame] = (),
) -> Figure:
    """Draw training and validation loss over epochs.

    Parameters
    ----------
    history : DataFrame
        Columns "epoch", "train_loss" and, if there was a validation set, "val_loss".
    title, unit : str
        `unit` is that of the loss.
    others : iterable of DataFrame
        The same training with other seeds; their "val_loss" is drawn faintly behind. What leaves
        the run's own scale is cut off.
    """
    figure = new_figure(5.6, 3.6)
    axes = figure.subplots()
    label = "validation, other seeds"
    longest = history["epoch"].max()
    for other in others:
        axes.plot(other["epoch"], other["val_loss"], color=FAINT, linewidth=0.9, label=label)
        longest, label = max(longest, other["epoch"].max()), "_"
    axes.set_ylim(0, 1e-9)  # the run's own losses set the scale
    _losses(axes, history)
    axes.set(xlim=(0, longest + 1), ylabel=unit)
    axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    return figure


def loss_panels(histories: Mapping[str, pd.DataFrame], unit: str) -> Figure:
    """Draw one panel of loss curves per name, side by side on a common scale."""
    figure, row = panels(3.0 * len(histories) + 0.6, 3.2, len(histories), sharey=True)
    for axes, (name, history) in zip(row, histories.items(), strict=True):
        _losses(axes, history)
        axes.set_title(display(name), loc="left")
    row[0].set_ylabel(unit)
    row[-1].legend(frameon=False)
    return figure


def grid_curves(histories: Mapping[tuple[str, str], pd.DataFrame], title: str) -> Figure:
    """Draw the validation loss of all cells, one panel per scheme and one colour per activation.

    By activation and init, tables with the columns "epoch" and "val_loss".
    """
    activations = list(dict.fromkeys(activation for activation, _ in histories))
    inits = list(dict.fromkeys(init for _, init in histories))
    # Cells that collapse coincide: later ones are thinner, so that all of them show
    widths = dict(zip(activations, np.linspace(5.0, 1.2, len(activations)), strict=True))
    colours = dict(zip(activations, cycle(CURVE_COLOURS)))
    figure, row = panels(3.4 * len(inits) + 1.2, 4.0, len(inits), title, sharex=True, sharey=True)
    for axes, init in zip(row, inits, strict=True):
        for name in activations:
            history = histories[name, init]
            axes.plot(history["epoch"], history["val_loss"], color=colours[name],
                      linewidth=widths[name], label=display(name))  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("epoch")
        axes.set_title(f"{display(init)} init", loc="left")
        plain(axes)
    row[0].set_ylabel("validation loss (nats, log scale)")
    row[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def diagnostic_grid(
    tables: Mapping[tuple[str, str], pd.DataFrame], sentences: Mapping[tuple[str, str], str]
) -> Figure:
    """Draw why cells of the grid learn or fail: one panel each, over epochs.

    Parameters
    ----------
    tables : mapping of (activation, init) to DataFrame
        Columns "epoch", "gradient_norm_{layer}" and "unit_spread_{layer}", see
        `mlcore.nn.diagnostics.diagnose`.
    sentences : mapping of (activation, init) to str
        What the numbers say; written below the panel.
    """
    rows = list(dict.fromkeys(activation for activation, _ in tables))
    columns = list(dict.fromkeys(init for _, init in tables))
    figure = new_figure(3.9 * len(columns) + 0.4, 2.9 * len(rows) + 0.5)
    grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
    for (activation, init), table in tables.items():
        axes = grid[rows.index(activation)][columns.index(init)]
        norms = sorted(table.filter(like="gradient_norm_"), key=lambda n: int(n.split("_")[-1]))
        spread = table.filter(like="unit_spread_").min(axis=1)
        for label, values, colour, style in (
            ("gradient, first layer", table[norms[0]], BLUE, "-"),
            ("gradient, output layer", table[norms[-1]], VERMILION, "-"),
            ("spread of the units, smallest", spread, GREEN, "--"),
        ):
            # A logarithm has no 0: what is as good as 0 lies on the floor
            axes.plot(table["epoch"], values.clip(lower=DIAGNOSTIC_FLOOR), style, color=colour,
                      label=label)  # fmt: skip
        axes.set(yscale="log", ylim=(DIAGNOSTIC_FLOOR / 2, 1e2))
        axes.set_title(f"{display(activation)}, {display(init)} init", loc="left")
        axes.set_xlabel(f"epoch\n{sentences[activation, init]}", fontsize="small")
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain(axes)
    for row in grid:
        row[0].set_ylabel("norm, or spread")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center",
                  ncols=3, frameon=False)  # fmt: skip
    return figure


def sweep_dots(values: Mapping[str, float | None], axis: str) -> Figure:
    """Draw one number of each run of a sweep as a dot, the runs one below the other.

    By the run's name, None for a run that has no such number; `axis` says what the number is.
    """
    figure = new_figure(7.0, 0.28 * len(values) + 1.0)
    axes = figure.subplots()
    for row, value in enumerate(values.values()):
        if value is not None:
            axes.plot([value], [row], "o", color=BLUE)
    axes.set_yticks(range(len(values)), list(values), fontsize="small")
    axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=axis)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    frameless(axes, "top", "right", "left", ticks="y")
    return figure
