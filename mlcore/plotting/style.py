"""What all pictures share: colours, names, and how a picture becomes a file."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mlcore.files import atomic_path

Array = NDArray[Any]

Picture = tuple[Figure, str]
"""A figure, and a sentence that says what it shows."""

ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CURVE_COLOURS = (ORANGE, BLUE, VERMILION, GREEN, PURPLE, SKY)

INK, SOFT, MUTE, FAINT, GROUND = "#000000", "#555555", "#8c8c8c", "#e6e6e6", "#ffffff"
"""Text and axes, what is beside them, and the paper. The page turns these, and no other colour,
into its own: so a picture is readable on its dark ground, too."""

DASHES: Sequence[Any] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 3)),
                         (0, (1, 3)))  # fmt: skip
"""Of lines that coincide, as many as `CURVE_COLOURS`."""

rcParams.update({
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
    "axes.titlesize": 10, "grid.color": FAINT, "legend.frameon": False,
})  # fmt: skip

DISPLAY = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}
"""Names that read better than their keys."""


def display(name: str) -> str:
    """Give the name of an activation or initialisation as it is written in text."""
    return DISPLAY.get(name, name)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colours without date or version, atomically."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    pixels = Image.open(content).convert("RGB")
    with atomic_path(path) as temporary:
        pixels.quantize(256, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)


def save_svg(figure: Figure, path: Path) -> None:
    """Write an SVG whose text is text, without date or version, atomically."""
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": path.stem,
        "font.sans-serif": ["DejaVu Sans"],
    }
    content = io.StringIO()
    with rc_context(settings):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    with atomic_path(path) as temporary:
        temporary.write_text(compact(content.getvalue()), encoding="utf-8")


def compact(svg: str) -> str:
    """Leave out of an SVG what matplotlib writes for nothing: half of it.

    Turns by 0 degrees, names of groups that nothing refers to, digits beyond a hundredth of a
    point, line breaks in paths, and indentation.
    """

    def shorter(tag: re.Match[str]) -> str:
        words = re.sub(r' transform="rotate\(-0 [^"]*"| id="[\w.]+_\d+"', "", tag[0])
        words = re.sub(r"\s*\n([LC]) ", r"\1", words)
        return re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), words)

    svg = re.sub(r"<[^>]*>", shorter, svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def panels(
    width: float, height: float, n_rows: int, n_columns: int, title: str = "", **options: Any
) -> tuple[Figure, Array]:
    """Make a figure of this size in inches, whose parts do not overlap, with a grid of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


ONE_SCALE = {"sharex": True, "sharey": True}
"""Of the axes of `panels`."""


def one_panel(width: float, height: float, title: str = "") -> tuple[Figure, Axes]:
    """Make a figure of this size in inches with one pair of axes."""
    figure, grid = panels(width, height, 1, 1, title)
    return figure, grid[0][0]


def frameless(axes: Axes) -> None:
    """Leave out the frame and the marks of ticks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def plain(axes: Axes) -> None:
    """Draw faint lines behind what is to be read at the left axis."""
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def listed(axes: Axes, labels: Sequence[str]) -> None:
    """Name rows at 0, 1 and so on, the first on top."""
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.spines.left.set_visible(False)
    axes.tick_params(axis="y", length=0)
