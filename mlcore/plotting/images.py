"""Images, and what models make of them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlcore.plotting.style import CURVE_COLOURS, Array, display, panels


def _image(axes: Axes, pixels: Array, title: str, fontsize: int) -> None:
    """Draw an image of 784 pixels in [0, 1], dark on light."""
    axes.imshow(pixels.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(title, loc="center", fontsize=fontsize)


def image_samples(images: Array, labels: Sequence[str], title: str) -> Figure:
    """Draw images of shape (n_images, 784), in [0, 1], with their class names, five to a row."""
    n_rows = -(-len(images) // 5)
    figure, grid = panels(7.0, 1.75 * n_rows + 0.4, n_rows, 5, title)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, pixels, label in zip(grid.flat, images, labels, strict=False):
        _image(axes, pixels, label, 10)
    return figure


def image_rows(
    rows: Mapping[str, Array], title: str, titles: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Draw a row of images per name, each image with its own of `titles` if there are any.

    Rows are of shape (n_images, 784), in [0, 1], and may differ in length.
    """
    longest = max(map(len, rows.values()))
    height = 1.45 if titles else 1.02
    width = (1.25 if titles else 0.95) * longest
    figure, grid = panels(width + 0.9, height * len(rows) + 0.4, len(rows), longest, title)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for (name, images), line in zip(rows.items(), grid, strict=True):
        for j, pixels in enumerate(images):
            _image(line[j], pixels, titles[name][j] if titles else "", 8)
        line[0].set_ylabel(name)
    return figure


CLASS_COLOURS = (*CURVE_COLOURS, "#000000", "#8c8c8c", "#6a3d9a", "#7f4f24")
"""Ten that differ; each class is named beside its points, too."""


def class_map(
    views: Mapping[str, Array], y: Array, classes: Sequence[str], axis: str, title: str
) -> Figure:
    """Draw points in the plane by class, each class named at its median, one panel per view.

    Views are of shape (n_samples, 2), the labels `y`, numbers of `classes`, of (n_samples,). `axis`
    says what the axes are; "1" and "2" are added.
    """
    figure, (row,) = panels(4.6 * len(views) + 0.2, 4.6, 1, len(views), title)
    labels = np.unique(y)
    for axes, (name, points) in zip(row, views.items(), strict=True):
        middles = np.array([np.median(points[y == label], axis=0) for label in labels])
        extent = np.ptp(points, axis=0)
        widths = np.array([len(classes[label]) + 2 for label in labels]) * 0.02 * extent[0]
        places = _apart(middles, widths, 0.06 * extent[1])
        for label, place in zip(labels, places, strict=True):
            colour = CLASS_COLOURS[label]
            axes.plot(*points[y == label].T, ".", color=colour, markersize=3, alpha=0.55)
            axes.annotate(classes[label], place, fontsize=9, ha="center", va="center",
                          bbox={"boxstyle": "round,pad=0.2", "facecolor": "white",
                                "edgecolor": colour, "linewidth": 1.8})  # fmt: skip
        axes.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2", xticks=[], yticks=[])
        axes.set_title(display(name), fontweight="bold")
    return figure


def _apart(places: Array, widths: Array, height: float) -> Array:
    """Move names of classes up or down, by as few lines as leave none on another."""
    moved = places.copy()
    for k in range(len(places)):
        for line in range(2 * len(places)):
            moved[k, 1] = places[k, 1] + (-1) ** line * ((line + 1) // 2) * height
            over = np.abs(moved[:k, 0] - moved[k, 0]) < (widths[:k] + widths[k]) / 2
            if not (over & (np.abs(moved[:k, 1] - moved[k, 1]) < 0.999 * height)).any():
                break
    return moved
