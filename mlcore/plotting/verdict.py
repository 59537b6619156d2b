"""The verdict as a picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlcore.plotting.style import BLUE, GREEN, ORANGE, SKY, VERMILION, frameless, new_figure

VERDICT_COLOURS = {
    "exact": BLUE,
    "reproduced": GREEN,
    "consistent": ORANGE,
    "differs, immaterially": SKY,
    "not reproduced": VERMILION,
    "not testable": "#8c8c8c",
}

EDGE = 4.0
"""How many tolerances from the middle the verdict's picture reaches."""


def verdict_chart(groups: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw every printed number against the interval that our runs give for it.

    Numbers of all kinds share an axis: the distance from our mean in units of what would matter.

    Parameters
    ----------
    groups : mapping of str to DataFrame
        By heading. One row per number: "label", "published", "mean", "low", "high", "tolerance"
        and "verdict". Without an interval, the verdict is written.
    title : str
    """
    n_rows = sum(len(table) + 1 for table in groups.values())
    figure = new_figure(8.2, 0.22 * n_rows + 1.1)
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#ececec", linewidth=0, label="would not matter")
    labels, row = [], 0
    for heading, table in groups.items():
        labels.append((row, heading, True))
        for entry in table.to_dict("records"):
            row += 1
            labels.append((row, entry["label"], False))
            _verdict_row(axes, row, entry)
        row += 1
    for verdict, colour in VERDICT_COLOURS.items():
        if any((table["verdict"] == verdict).any() for table in groups.values()):
            axes.plot([], [], "o", color=colour, label=verdict)
    axes.plot([], [], color="#555555", linewidth=1.5, label="95 % interval of a further run")
    axes.set_yticks([at for at, *_ in labels], [label for _, label, _ in labels], fontsize="small")
    for tick, (_, _, is_heading) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if is_heading else "normal")
    axes.set(xlim=(-EDGE, EDGE), ylim=(row - 0.4, -0.6))
    axes.set_xlabel("printed number, in tolerances from the mean of our runs")
    frameless(axes, "top", "right", "left", ticks="y")
    axes.set_title(title, loc="left")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _verdict_row(axes: Axes, row: int, entry: Mapping[str, Any]) -> None:
    colour = VERDICT_COLOURS[entry["verdict"]]
    if pd.isna(entry["low"]):
        axes.text(0, row, entry["verdict"], color=colour, ha="center", va="center")
        return

    def scaled(value: float) -> float:
        return float(np.clip((value - entry["mean"]) / entry["tolerance"], -EDGE, EDGE))

    low, high, printed = (scaled(entry[name]) for name in ("low", "high", "published"))
    axes.plot([low, high], [row, row], color="#555555", linewidth=1.5)
    for end in (low, high):
        if abs(end) < EDGE:  # else it goes on
            axes.plot([end, end], [row - 0.25, row + 0.25], color="#555555", linewidth=1.5)
    beyond = abs(printed) == EDGE
    marker = "o" if not beyond else ">" if printed > 0 else "<"
    axes.plot([printed], [row], marker, color=colour, markersize=7, zorder=3, clip_on=False)
