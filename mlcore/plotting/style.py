"""What all figures share: colours, names, and how a figure becomes a file."""

from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlcore.files import atomic_path

Array = NDArray[Any]

Picture = tuple[Figure, str]
"""A figure, and a sentence that says what it shows."""

ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CURVE_COLOURS = (ORANGE, BLUE, VERMILION, GREEN, PURPLE, SKY)

DISPLAY = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}
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


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make a figure of this size in inches, whose parts do not overlap."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def panels(
    width: float, height: float, n: int, title: str = "", **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `n` panels side by side; `sharex` and `sharey` give them one scale."""
    figure = new_figure(width, height, title)
    return figure, list(figure.subplots(1, n, squeeze=False, **shared)[0])


def image(axes: Axes, pixels: Array) -> None:
    """Draw an image of 784 pixels in [0, 1], dark on light."""
    axes.imshow(pixels.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)


def frameless(axes: Axes, *sides: str, ticks: Literal["x", "y", "both"] = "both") -> None:
    """Leave out sides of the frame, all if none is named, and the marks of ticks."""
    axes.spines[list(sides) if sides else slice(None)].set_visible(False)
    axes.tick_params(axis=ticks, length=0)


def plain(axes: Axes) -> None:
    """Leave of a frame two sides and faint lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
