"""What changes over epochs."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import setp
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from mlcore.plotting.style import (
    BLUE,
    CURVE_COLOURS,
    DASHES,
    GREEN,
    MUTE,
    ONE_SCALE,
    SOFT,
    VERMILION,
    Array,
    display,
    one_panel,
    panels,
    plain,
)

PALE = "#e5b99a"
"""Of curves in the background: vermilion, paler."""

LOSSES = {"training": ("train_loss", BLUE, 2.4), "validation": ("val_loss", VERMILION, 1.1)}
"""Column, colour and width: the thinner one lies on the wider, both show."""

NEAR = 0.12
"""Losses that end nearer to each other than this part of the scale are drawn again, enlarged."""


def _losses(axes: Axes, history: pd.DataFrame) -> None:
    for label, (column, colour, width) in LOSSES.items():
        if column in history:
            axes.plot(history["epoch"], history[column], color=colour, label=label, linewidth=width)


def loss_curves(
    history: pd.DataFrame,
    title: str,
    unit: str = "cross-entropy (nats)",
    others: Sequence[pd.DataFrame] = (),
    top: float | None = None,
) -> Figure:
    """Draw training and validation loss over epochs, and enlarged where they coincide.

    Parameters
    ----------
    history : DataFrame
        Columns "epoch", "train_loss" and, if there was a validation set, "val_loss".
    others : sequence of DataFrame
        The same training with other seeds; their "val_loss" is drawn faintly behind, with a mark
        at the upper edge where it leaves the scale.
    top : float, optional
        Where the scale ends; by default just above the run's own losses.
    """
    figure, axes = one_panel(3.5, 2.6)
    losses = history.filter(like="_loss")
    top = top or 1.08 * float(losses.max().max())
    for number, other in enumerate(others):
        _behind(axes, other, top, "_" if number else "other seeds")
    longest = max(table["epoch"].max() for table in (history, *others))
    _losses(axes, history)
    axes.set(xlim=(0, longest), ylim=(0, top), xlabel="epoch")
    axes.set_title(f"{title}\n", fontweight="bold")
    axes.set_ylabel(unit, fontsize=9)
    plain(axes)
    axes.tick_params(labelsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=3, fontsize=8,
                handlelength=1.4, columnspacing=1.0, borderpad=0.2)  # fmt: skip
    late = losses[history["epoch"] > longest / 2]
    if len(losses.columns) == 2 and len(late) > 1 and np.ptp(late, axis=1).max() < NEAR * top:
        _enlarged(axes, history, top)
    return figure


def _behind(axes: Axes, other: pd.DataFrame, top: float, label: str) -> None:
    """Draw another training's validation loss, and mark where it leaves the scale."""
    axes.plot(other["epoch"], other["val_loss"], color=PALE, linewidth=0.8, label=label)
    beyond = other[other["val_loss"] > top]
    if len(beyond):
        axes.plot(beyond["epoch"], [top] * len(beyond), "^", color=PALE, markersize=4,
                  clip_on=False, label="_")  # fmt: skip


def _enlarged(axes: Axes, history: pd.DataFrame, top: float) -> None:
    """Draw where two curves coincide on a scale of their own, where there is room.

    That is from a tenth of the epochs on, but not before the losses are low, if they ever are.
    """
    highest = history.filter(like="_loss").max(axis=1)
    high = bool(highest.iloc[-1] > top / 4)
    start = history["epoch"].max() / 10
    if not high:
        start = max(start, history["epoch"][highest > top / 4].max())
    late = history[history["epoch"] > start]
    inset = axes.inset_axes((0.5, 0.16 if high else 0.52, 0.48, 0.4))
    _losses(inset, late)
    inset.set_title("enlarged", fontsize=8, color=SOFT, pad=2)
    inset.tick_params(labelsize=8, length=2)
    inset.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    inset.yaxis.set_major_locator(MaxNLocator(3))
    inset.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    inset.spines[:].set(color=MUTE, visible=True)


def loss_panels(histories: Mapping[str, pd.DataFrame], unit: str, title: str) -> Figure:
    """Draw one panel of loss curves per name, side by side on a common scale."""
    n = len(histories)
    figure, (row,) = panels(2.5 * n + 0.6, 2.9, 1, n, title, **ONE_SCALE)
    for axes, (name, history) in zip(row, histories.items(), strict=True):
        _losses(axes, history)
        axes.set_title(display(name))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        plain(axes)
    row[0].set(ylabel=unit, xlim=(0, None), ylim=(0, None))
    if len(row[-1].lines) > 1:
        row[-1].legend()
    return figure


def grid_curves(histories: Mapping[tuple[str, str], pd.DataFrame], title: str) -> Figure:
    """Draw the validation loss of all cells, one panel per scheme, each curve with its name.

    By activation and init, tables with the columns "epoch" and "val_loss".
    """
    activations, inits = (list(dict.fromkeys(names)) for names in zip(*histories, strict=True))
    styles = dict(zip(activations, cycle(zip(CURVE_COLOURS, DASHES, strict=True))))
    figure, (row,) = panels(3.4 * len(inits), 3.4, 1, len(inits), title, **ONE_SCALE)
    longest = max(history["epoch"].max() for history in histories.values())
    for axes, init in zip(row, inits, strict=True):
        for name in activations:
            history, (colour, dash) = histories[name, init], styles[name]
            axes.plot(history["epoch"], history["val_loss"], color=colour, linestyle=dash,
                      linewidth=1.7)  # fmt: skip
        axes.set(yscale="log", xlim=(0, longest), xlabel="epoch")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(f"{display(init)} init")
        plain(axes)
    row[0].set_ylabel("validation loss (nats, log scale)")
    for axes, init in zip(row, inits, strict=True):  # now that the scale is known
        losses = {name: histories[name, init]["val_loss"].to_numpy() for name in activations}
        _name_ends(axes, losses, styles)
    return figure


def _name_ends(axes: Axes, losses: Mapping[str, Array], styles: Any) -> None:
    """Write beside its end what a curve is, and where it ends; once for curves that coincide."""
    groups: list[list[str]] = []
    for name, curve in losses.items():
        for group in groups:
            same = losses[group[0]]
            if len(same) == len(curve) and np.allclose(same, curve, rtol=0.01, atol=0):
                group.append(name)
                break
        else:
            groups.append([name])
    ends = [losses[group[0]][-1] for group in groups]
    low, high = np.log(axes.get_ylim())
    heights = (np.log(ends) - low) / (high - low)
    places = _apart(heights, 0.075)
    for group, end, height, place in zip(groups, ends, heights, places, strict=True):
        whole = len(group) == len(losses) > 1
        names = f"all {len(group)}:" if whole else ", ".join(map(display, group))
        colour, dash = styles[group[-1]]
        axes.plot([1, 1.1], [height, place], transform=axes.transAxes,
                  color=colour, linestyle=dash, linewidth=1.2, clip_on=False)  # fmt: skip
        axes.text(1.12, place, f"{names} {end:.2f}", transform=axes.transAxes, va="center",
                  fontsize=9)  # fmt: skip


def diagnostic_grid(
    tables: Mapping[tuple[str, str], pd.DataFrame],
    sentences: Mapping[tuple[str, str], str],
    title: str,
) -> Figure:
    """Draw why cells of the grid learn or fail: one panel each, over epochs.

    By activation and init, tables with the columns "epoch", "gradient_norm_{layer}" and
    "unit_spread_{layer}", see `mlcore.nn.diagnostics.diagnose`; and sentences that say what the
    numbers mean, written above the panels.
    """
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*tables, strict=True))
    width, height = 3.3 * len(columns) + 0.3, 2.1 * len(rows) + 0.7
    figure, grid = panels(width, height, len(rows), len(columns), title, **ONE_SCALE)
    lowest, longest = 1e-8, max(table["epoch"].max() for table in tables.values())
    for (activation, init), table in tables.items():
        axes = grid[rows.index(activation)][columns.index(init)]
        _diagnostics(axes, table, lowest)
        axes.set_title(f"{display(activation)}, {display(init)} init", fontweight="bold", pad=17)
        axes.text(0, 1.03, sentences[activation, init], transform=axes.transAxes, fontsize=9)
        axes.set(yscale="log", ylim=(lowest, 1e2), xlim=(0, longest))
        axes.set_yticks(10.0 ** np.arange(-8, 3, 2))
        axes.yaxis.set_minor_locator(NullLocator())
        plain(axes)
    setp(grid[-1], xlabel="epoch")
    for row in grid:
        row[0].set_ylabel("norm of the gradient;\nspread, 0 (all the same) to 1", fontsize=9)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _diagnostics(axes: Axes, table: pd.DataFrame, lowest: float) -> None:
    """Draw two gradients and the spread of units; what is 0 has no place on a logarithm's scale."""
    norms = sorted(table.filter(like="gradient_norm_"), key=lambda n: int(n.split("_")[-1]))
    spread = table.filter(like="unit_spread_").min(axis=1)
    vanished = []
    for label, values, colour, dash in (
        ("gradient of the first layer", table[norms[0]], BLUE, DASHES[0]),
        ("gradient of the output layer", table[norms[-1]], VERMILION, DASHES[0]),
        ("spread of the units", spread, GREEN, DASHES[1]),
    ):
        seen = values.where(values >= lowest)
        axes.plot(table["epoch"], seen, linestyle=dash, color=colour, label=label, linewidth=1.5)
        if seen.isna().all():
            largest = values.max()
            told = f"below {10 ** np.ceil(np.log10(largest)):g}" if largest else "0"
            vanished.append(f"{label}: {told}")
    if vanished:
        axes.text(0.03, 0.06, "\n".join(vanished), transform=axes.transAxes, fontsize=9,
                  in_layout=False)  # fmt: skip


def _apart(values: Array, gap: float) -> Array:
    """Move values in [0, 1] apart, by as little as leaves `gap` between neighbours."""
    order, steps = np.argsort(values, kind="stable"), gap * np.arange(len(values))
    without_gaps = np.maximum.accumulate(values[order] - steps)
    moved = np.empty_like(values)
    moved[order] = np.minimum(without_gaps, 1 - steps[-1]) + steps
    return moved
