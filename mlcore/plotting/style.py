"""What all figures share: colours, names, and how a figure becomes a file."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlcore.files import atomic_path

Array = NDArray[Any]

ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
CURVE_COLOURS = (ORANGE, BLUE, VERMILION, GREEN, PURPLE, SKY)

DISPLAY = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
}
"""Names that read better than their keys."""


def display(name: str) -> str:
    """Give the name of an activation or initialisation as it is written in text."""
    return DISPLAY.get(name, name)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without date or version, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def save_svg(figure: Figure, path: Path) -> None:
    """Write an SVG whose text is text, without date or version, atomically."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": path.stem}
    with atomic_path(path) as temporary, rc_context(settings):
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of this size in inches, whose parts do not overlap."""
    return Figure(figsize=(width, height), layout="constrained")


def plain(axes: Axes) -> None:
    """Leave of a frame two sides and faint lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
