"""Numbers before and after a change."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from mlcore.plotting.style import BLUE, FAINT, GROUND, SOFT, frameless, new_figure


def before_after(groups: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> Figure:
    """Draw shares before and after changes, in per cent: an arrow from one dot to the other.

    Parameters
    ----------
    groups : mapping of str to sequence of mappings
        By what is changed, a row per number: "label", "default" (None if it is not known), "mean"
        and "n", the number of runs of the changed. A group without rows has not been run.
    title : str
    """
    n_rows = sum(1 + max(len(rows), 1) for rows in groups.values())
    figure = new_figure(8.3, 0.19 * n_rows + 1.15, title)
    axes = figure.subplots()
    labels: list[str] = []
    for heading, rows in groups.items():
        axes.text(0.3, len(labels), heading, va="center", fontsize=8.5, fontweight="bold")
        labels.append("")
        for row in rows:
            _change(axes, len(labels), row)
            labels.append(row["label"])
        if not rows:
            axes.text(0.3, len(labels), "not run yet", va="center", fontsize=8.5, color=SOFT)
            labels.append("")
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.set(
        xlim=(0, 100), ylim=(len(labels) - 0.4, -0.6), xlabel="test accuracy (%), mean over runs"
    )
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    frameless(axes, "top", "right", "left", ticks="y")
    axes.plot([], [], label="as the study has it", **BEFORE)
    axes.plot([], [], label="changed", **AFTER)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)
    return figure


BEFORE: dict[str, Any] = {"marker": "o", "markersize": 8, "color": SOFT,
                          "markerfacecolor": GROUND, "linestyle": "none"}  # fmt: skip
AFTER: dict[str, Any] = {"marker": "o", "markersize": 5, "color": BLUE, "linestyle": "none"}
"""Smaller, so that a number which does not change is seen to stay."""


def _change(axes: Any, at: int, row: Mapping[str, Any]) -> None:
    after = 100 * row["mean"]
    told = f"{after:.1f}"
    if row["default"] is not None:
        before = 100 * row["default"]
        axes.plot([before, after], [at, at], color=SOFT, linewidth=1.2, zorder=1)
        axes.plot([before], [at], **BEFORE)
        told = f"{before:.1f} \N{RIGHTWARDS ARROW} {after:.1f}"
    axes.plot([after], [at], **AFTER)
    axes.text(1.01, at, f"{told}  ({row['n']} run{'s' * (row['n'] != 1)})", fontsize=8.5,
              va="center", transform=axes.get_yaxis_transform())  # fmt: skip
