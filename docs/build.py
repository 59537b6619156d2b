"""Make what the documents show: the picture of method.md, and tutorial.md as a notebook.

`make docs` runs it; a test says when what it makes is out of date.
"""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from mlcore.judging import statistics
from mlcore.plotting.rows import glyph
from mlcore.plotting.style import BLUE, FAINT, SOFT, one_panel, save_svg

DOCS = Path(__file__).parent

LEVEL, DECIMALS, TOLERANCE = 0.95, 4, 0.01
"""Of the examples in method.md."""

FIRST_CELL = """\
import os

while not os.path.exists("dvc.yaml"):
    os.chdir("..")  # to the top of the checkout
"""


def runs_of(method: str) -> statistics.Series:
    """Give the runs in the first block of method.md."""
    block = method.partition("```text\n")[2].partition("```")[0]
    return pd.Series([float(word) for word in block.split()])


def interval_of(runs: statistics.Series) -> statistics.Interval:
    """Give the interval for one printed number, its rounding included."""
    low, high = statistics.further_run(runs, statistics.spread_of(runs), LEVEL)
    rounding = statistics.half_unit(DECIMALS)
    return statistics.Interval(low - rounding, high + rounding)


def table(text: str, heading: str) -> list[list[str]]:
    """Give the cells of a table by its first column's heading, row by row."""
    body = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body]


def picture(method: str) -> Any:
    """Draw the runs of method.md, both intervals, and the printed numbers with their verdicts."""
    runs = runs_of(method)
    low, high = interval_of(runs)
    figure, axes = one_panel(6.4, 2.3)
    axes.axvspan(low, high, color=FAINT, linewidth=0)
    axes.plot(runs, [0] * len(runs), "o", color=BLUE, markersize=5, alpha=0.7)
    for row, ends in ((1, statistics.mean_interval(runs, LEVEL)), (2, (low, high))):
        axes.plot([ends[0], runs.mean(), ends[1]], [row] * 3, "|-", color=SOFT)
    for printed, tolerance, verdict, _ in table(method, "printed"):
        if float(tolerance) == TOLERANCE:
            axes.plot([float(printed)], [3], **glyph(verdict))
            axes.annotate(verdict, (float(printed), 3), (0, -8), textcoords="offset points",
                          ha="center", va="top", fontsize="x-small")  # fmt: skip
    rows = ["ten runs", "their mean, 95 %", "one further run, 95 %", "printed numbers"]
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylim=(3.6, -0.5), xlabel="accuracy")
    axes.spines.left.set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def notebook(text: str) -> dict[str, Any]:
    """Make a notebook of a document: a block of commands or Python is a cell, text its output.

    A block of text is the output of the cell before it. Servers, which do not end, are left to a
    terminal.
    """
    cells = [_code(FIRST_CELL)]
    words, *blocks = re.split(r"^```(\w+)\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)
    cells.append(_markdown(words))
    for language, block, words in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        if language == "text":
            stdout = {"output_type": "stream", "name": "stdout", "text": block}
            cells[-1]["outputs"] = [stdout]
        elif block.startswith("make ui"):
            cells.append(_markdown(f"```{language}\n{block}```"))
        else:
            cells.append(_code(block if language == "python" else f"%%bash\n{block}"))
        if words.strip():
            cells.append(_markdown(words))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def _code(source: str) -> dict[str, Any]:
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    return {**cell, "source": source.strip("\n")}


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.strip("\n")}


if __name__ == "__main__":
    save_svg(picture((DOCS / "method.md").read_text()), DOCS / "images" / "interval.svg")
    pages = notebook((DOCS / "tutorial.md").read_text())
    (DOCS / "tutorial.ipynb").write_text(json.dumps(pages, indent=1, ensure_ascii=False) + "\n")
