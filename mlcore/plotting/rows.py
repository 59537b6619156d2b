"""Pictures with one row per number: the verdict, changes, the runs of a sweep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from mlcore.plotting.style import BLUE, FAINT, GROUND, SOFT, frameless, listed, one_panel

MARKS: Mapping[str, tuple[str, str, Any]] = {
    "exact": ("#00664b", "*", "full"),
    "reproduced": ("#00664b", "o", "full"),
    "consistent": ("#855600", "o", "left"),
    "differs, immaterially": ("#17648f", "D", "full"),
    "not reproduced": ("#a83f00", "s", "full"),
    "not testable": ("#5a606b", "o", "none"),
}
"""Colour, shape and filling by verdict, as in mlcore/report/style.css: ★ ● ◐ ◆ ■ ○."""

EDGE = 4.0
"""How many tolerances from the middle the verdict's picture reaches."""

PER_LINE = 3
"""Numbers that are exact stand side by side: they all say the same."""


def glyph(verdict: str, size: float = 7.0) -> dict[str, Any]:
    """Give what matplotlib draws a verdict's glyph with."""
    colour, shape, fill = MARKS[verdict]
    return {"marker": shape, "fillstyle": fill, "color": colour,
            "markersize": size - 1 if shape in "sD" else size, "markeredgewidth": 1.2,
            "markerfacecoloralt": GROUND, "linestyle": "none"}  # fmt: skip


def _key(verdicts: Counter[str]) -> list[Line2D]:
    """Give the entries of a legend: the verdicts that occur, from the best to the worst."""
    return [Line2D([], [], **glyph(v), label=f"{v} ({verdicts[v]})") for v in MARKS if verdicts[v]]


def verdict_chart(groups: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw every printed number against the interval that our runs give for it.

    Numbers of all kinds share an axis: the distance from our mean in units of what would matter.

    Parameters
    ----------
    groups : mapping of str to DataFrame
        By heading. One row per number: "label", empty where the heading says it all; "printed", as
        it is written; "published", "mean", "low", "high", "tolerance" and "verdict". Numbers that
        are exact are listed; without an interval, the verdict is written.
    """
    rows = list(_rows(groups))
    figure, axes = one_panel(8.8, 0.17 * len(rows) + 1.25, title)
    for at, (_, entries) in enumerate(rows):
        for k, entry in enumerate(entries):
            if entry["verdict"] == "exact":
                _words(axes, at, k, entry, f"{entry['label']} {entry['printed']}".strip())
            elif pd.isna(entry["low"]):
                _words(axes, at, k, entry, entry["verdict"], color=SOFT)
            else:
                _interval(axes, at, entry)
    listed(axes, [label for label, _ in rows])
    for tick in axes.get_yticklabels():
        tick.set_fontweight("bold" if tick.get_text().startswith(tuple(groups)) else "normal")
    axes.set_xlim(-EDGE, EDGE)
    axes.set_xlabel("printed lower than our mean \N{LEFTWARDS ARROW}   distance in tolerances   "
                    "\N{RIGHTWARDS ARROW} printed higher", fontsize=9)  # fmt: skip
    _legends(figure, axes, Counter(entry["verdict"] for _, entries in rows for entry in entries))
    return figure


def _legends(figure: Figure, axes: Axes, told: Counter[str]) -> None:
    """Say above what the dots are, and below what else there is."""
    small: dict[str, Any] = {"fontsize": 8.5, "handletextpad": 0.5}
    axes.legend(handles=_key(told), loc="lower right", bbox_to_anchor=(1.0, 1.0),
                ncols=len(told), **small)  # fmt: skip
    interval = "interval of a further run"
    how: list[Artist] = [Patch(color=FAINT, label="would not matter"),
                         Line2D([], [], color=SOFT, linewidth=1.5, label=interval)]  # fmt: skip
    if any(line.get_marker() in "<>" for line in axes.lines):
        how.append(Line2D([], [], marker=">", color=SOFT, linestyle="none",
                          label="further away than the axis reaches"))  # fmt: skip
    figure.legend(handles=how, loc="outside lower left", ncols=len(how), **small)


def _rows(groups: Mapping[str, pd.DataFrame]) -> Any:
    """Give the lines of the picture: what stands on the left, and the numbers of the line."""
    for heading, table in groups.items():
        entries = table.to_dict("records")
        if len(entries) == 1 and not entries[0]["label"]:
            yield f"{heading}  {entries[0]['printed']}", entries
            continue
        yield heading, []
        exact = [entry for entry in entries if entry["verdict"] == "exact"]
        for k in range(0, len(exact), PER_LINE):
            yield "", exact[k : k + PER_LINE]
        for entry in entries:
            if entry["verdict"] != "exact":
                yield f"{entry['label']}  {entry['printed']}", [entry]


def _words(axes: Axes, at: int, k: int, entry: Mapping[str, Any], words: str, **style: Any) -> None:
    """Write what there is to say of a number, the `k`-th of its row."""
    left = -EDGE + 2 * EDGE * k / PER_LINE + 0.08
    axes.plot([left], [at], **glyph(entry["verdict"]))
    axes.text(left + 0.15, at, words, va="center", fontsize=8.5, **style)


def _interval(axes: Axes, at: int, entry: Mapping[str, Any]) -> None:
    """Draw a number and the interval of our runs, in tolerances from our mean."""
    mark = glyph(entry["verdict"])
    axes.add_patch(Rectangle((-1, at - 0.5), 2, 1, color=FAINT, linewidth=0, zorder=0))
    values = np.array([entry["low"], entry["high"], entry["published"]])
    scaled = (values - entry["mean"]) / entry["tolerance"]
    low, high, printed = scaled.clip(-EDGE, EDGE).tolist()
    axes.plot([low, high], [at, at], color=SOFT, linewidth=1.5)
    for end in (low, high):
        if abs(end) < EDGE:  # else it goes on
            axes.plot([end, end], [at - 0.25, at + 0.25], color=SOFT, linewidth=1.5)
    if abs(printed) == EDGE:
        mark |= {"marker": ">" if printed > 0 else "<"}
    axes.plot([printed], [at], zorder=3, clip_on=False, **mark)


DOTS = 30
"""Of a line in the small picture."""


def verdict_dots(parts: Mapping[str, Sequence[str]], title: str) -> Figure:
    """Draw a dot per printed number, one line per part of the study.

    Verdicts by part; the dots are put in order, from the best verdict to the worst.
    """
    order, labels, at = list(MARKS), {}, 0.0
    figure, axes = one_panel(8.3, 3.4, title)
    for name, verdicts in parts.items():
        labels[f"{name}  {len(verdicts)}"] = at
        for k, verdict in enumerate(sorted(verdicts, key=order.index)):
            line, place = divmod(k, DOTS)
            axes.plot([place], [at + 0.6 * line], **glyph(verdict, 9.0))
        at += 1 + 0.6 * ((len(verdicts) - 1) // DOTS)
    axes.set_yticks(list(labels.values()), list(labels))
    axes.set(xticks=[], xlim=(-0.6, DOTS), ylim=(at - 0.5, -0.5))
    frameless(axes)
    told = Counter(verdict for verdicts in parts.values() for verdict in verdicts)
    figure.legend(handles=_key(told), loc="outside lower left", ncols=len(told),
                  handletextpad=0.3, columnspacing=1.0, fontsize=8.5)  # fmt: skip
    return figure


def before_after(groups: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> Figure:
    """Draw shares before and after changes, in per cent: an arrow from one dot to the other.

    By what is changed, a row per number: "label", "default" (None if it is not known), "mean" and
    "n", the number of runs of the changed. A group without rows has not been run.
    """
    n_rows = sum(1 + max(len(rows), 1) for rows in groups.values())
    figure, axes = one_panel(8.3, 0.19 * n_rows + 1.15, title)
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
    listed(axes, labels)
    axes.set(xlim=(0, 100), xlabel="test accuracy (%), mean over runs")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.plot([], [], label="as the study has it", **BEFORE)
    axes.plot([], [], label="changed", **AFTER)
    figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
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


def sweep_dots(values: Mapping[str, float | None], axis: str) -> Figure:
    """Draw one number of each run of a sweep as a dot, the runs one below the other.

    By the run's name, None for a run that has no such number; `axis` says what the number is.
    """
    figure, axes = one_panel(7.0, 0.28 * len(values) + 1.0)
    for row, value in enumerate(values.values()):
        if value is not None:
            axes.plot([value], [row], "o", color=BLUE)
    listed(axes, list(values))
    axes.set_xlabel(axis)
    axes.grid(axis="x")
    return figure
