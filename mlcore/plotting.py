"""Every figure. The only module that imports matplotlib.

Functions take arrays and tables and return a Figure; `save` writes the same bytes for the same
figure. Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from mlcore.artifacts import atomic_path

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

DIAGNOSTIC_FLOOR = 1e-9
"""Smallest norm that is drawn."""

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


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _losses(axes: Axes, history: pd.DataFrame) -> None:
    # The thinner line lies on the wider one: both show where they coincide
    curves = {"training": ("train_loss", BLUE, 2.8), "validation": ("val_loss", VERMILION, 1.3)}
    for label, (column, colour, width) in curves.items():
        if column in history:
            axes.plot(history["epoch"], history[column], color=colour, label=label, linewidth=width)
            axes.set_ylim(0, max(axes.get_ylim()[1], 1.08 * history[column].max()))
    axes.set_xlabel("epoch")
    axes.set_xlim(0, history["epoch"].max() + 1)
    _plain(axes)


def loss_curves(history: pd.DataFrame, title: str, unit: str = "cross-entropy (nats)") -> Figure:
    """Draw training and validation loss over epochs.

    Parameters
    ----------
    history : DataFrame
        Columns "epoch", "train_loss" and, if there was a validation set, "val_loss".
    title : str
    unit : str
        What the loss is; labels the vertical axis.
    """
    figure = _figure(5.6, 3.6)
    axes = figure.subplots()
    _losses(axes, history)
    axes.set_ylabel(unit)
    axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    return figure


def loss_panels(histories: Mapping[str, pd.DataFrame], unit: str) -> Figure:
    """Draw one panel of loss curves per name, side by side on a common scale."""
    figure = _figure(3.0 * len(histories) + 0.6, 3.2)
    row = figure.subplots(1, len(histories), sharey=True, squeeze=False)[0]
    for axes, (name, history) in zip(row, histories.items(), strict=True):
        _losses(axes, history)
        axes.set_title(display(name), loc="left")
    row[0].set_ylabel(unit)
    row[-1].legend(frameon=False)
    return figure


def accuracy_heatmap(
    accuracies: pd.DataFrame, published: pd.DataFrame | None = None, title: str = ""
) -> Figure:
    """Draw test accuracy over activation (rows) and initialisation (columns).

    Parameters
    ----------
    accuracies : DataFrame
        Fractions.
    published : DataFrame, optional
        The study's fractions in the same layout, written below ours in small.
    title : str
    """
    figure = _figure(6.4, 4.6)
    axes = figure.subplots()
    values = 100 * accuracies.to_numpy(float)
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 55 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="bottom", color=colour, fontsize=13)
        theirs = np.nan if published is None else 100 * published.iloc[row, column]
        if np.isfinite(theirs):
            axes.text(
                column,
                row + 0.08,
                f"study {theirs:.2f}",
                ha="center",
                va="top",
                color=colour,
                fontsize=9,
            )
    axes.set_xticks(range(accuracies.shape[1]), [display(name) for name in accuracies.columns])
    axes.set_yticks(range(accuracies.shape[0]), [display(name) for name in accuracies.index])
    axes.set_xlabel("weight initialisation")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="test accuracy (%)", fraction=0.05)
    axes.set_title(title, loc="left")
    return figure


def grid_curves(histories: Mapping[tuple[str, str], pd.DataFrame], title: str) -> Figure:
    """Draw the validation loss of all cells, one panel per scheme and one colour per activation.

    Parameters
    ----------
    histories : mapping of (activation, init) to DataFrame
        Columns "epoch" and "val_loss".
    title : str
    """
    activations = list(dict.fromkeys(activation for activation, _ in histories))
    inits = list(dict.fromkeys(init for _, init in histories))
    # Cells that collapse coincide: later ones are thinner, so that all of them show
    widths = dict(zip(activations, np.linspace(5.0, 1.2, len(activations)), strict=True))
    colours = dict(zip(activations, CURVE_COLOURS, strict=False))
    figure = _figure(3.4 * len(inits) + 1.2, 4.0)
    row = figure.subplots(1, len(inits), sharex=True, sharey=True, squeeze=False)[0]
    for axes, init in zip(row, inits, strict=True):
        for activation in activations:
            history = histories[activation, init]
            axes.plot(
                history["epoch"],
                history["val_loss"],
                color=colours[activation],
                linewidth=widths[activation],
                label=display(activation),
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("epoch")
        axes.set_title(f"{display(init)} init", loc="left")
        _plain(axes)
    row[0].set_ylabel("validation loss (nats, log scale)")
    row[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def image_samples(images: Array, labels: Sequence[str], title: str) -> Figure:
    """Draw images with their class names, five to a row.

    Parameters
    ----------
    images : ndarray of shape (n_images, 784)
        In [0, 1].
    labels : sequence of str
    title : str
    """
    n_rows = -(-len(images) // 5)
    figure = _figure(7.0, 1.75 * n_rows + 0.4)
    grid = figure.subplots(n_rows, 5, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(label, fontsize=10)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def reconstructions(originals: Array, versions: Mapping[str, Array], title: str) -> Figure:
    """Draw images above their reconstructions.

    Parameters
    ----------
    originals : ndarray of shape (n_images, 784)
    versions : mapping of str to ndarray of that shape
        One row of images per name.
    title : str
    """
    rows = {"original": originals, **versions}
    figure = _figure(0.95 * len(originals) + 0.9, 1.02 * len(rows) + 0.4)
    grid = figure.subplots(len(rows), len(originals), squeeze=False)
    for (name, images), line in zip(rows.items(), grid, strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(display(name))
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def search_heatmaps(candidates: pd.DataFrame, title: str) -> Figure:
    """Draw cross-validated accuracy over learning rate and batch size, one panel per solver.

    Parameters
    ----------
    candidates : DataFrame
        Columns "solver", "learning_rate", "batch_size", "mean_accuracy" and "rank".
    title : str
    """
    solvers = sorted(candidates["solver"].unique())
    figure = _figure(4.4 * len(solvers) + 1.0, 4.2)
    row = figure.subplots(1, len(solvers), sharey=True, squeeze=False)[0]
    low, high = 100 * candidates["mean_accuracy"].min(), 100 * candidates["mean_accuracy"].max()
    best = candidates.loc[candidates["rank"].idxmin()]
    image: Any = None
    for axes, solver in zip(row, solvers, strict=True):
        table = candidates[candidates["solver"] == solver].pivot(
            index="learning_rate", columns="batch_size", values="mean_accuracy"
        )
        values = 100 * table.to_numpy()
        image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            is_best = (solver, table.index[i], table.columns[j]) == (
                best["solver"],
                best["learning_rate"],
                best["batch_size"],
            )
            axes.text(
                j,
                i,
                f"{value:.1f}" + (" (best)" if is_best else ""),
                ha="center",
                va="center",
                color="black" if value > (low + high) / 2 else "white",
                fontweight="bold" if is_best else "normal",
            )
        axes.set_xticks(range(table.shape[1]), [str(size) for size in table.columns])
        axes.set_yticks(range(table.shape[0]), [f"{rate:g}" for rate in table.index])
        axes.set_xlabel("batch size")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(solver, loc="left")
    row[0].set_ylabel("learning rate")
    figure.colorbar(image, ax=list(row), label="cross-validated accuracy (%)", fraction=0.05)
    figure.suptitle(title, x=0.01, ha="left")
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
    figure = _figure(3.9 * len(columns) + 0.4, 2.9 * len(rows) + 0.5)
    panels = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
    for (activation, init), table in tables.items():
        axes = panels[rows.index(activation)][columns.index(init)]
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
        axes.set_yscale("log")
        axes.set_ylim(DIAGNOSTIC_FLOOR / 2, 1e2)
        axes.set_title(f"{display(activation)}, {display(init)} init", loc="left")
        axes.set_xlabel(f"epoch\n{sentences[activation, init]}", fontsize="small")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
    for row in panels:
        row[0].set_ylabel("norm, or spread")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center",
                  ncols=3, frameon=False)  # fmt: skip
    return figure


VERDICT_COLOURS = {
    "reproduced": GREEN,
    "compatible, too noisy to tell": ORANGE,
    "differs, immaterially": SKY,
    "not reproduced": VERMILION,
    "not testable": "#8c8c8c",
}

EDGE = 4.0
"""How many tolerances from the middle the verdict's picture reaches."""


def verdict_chart(groups: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw every printed figure against the interval that our runs give for it.

    Figures of all kinds share an axis: the distance from our mean in units of what would matter.

    Parameters
    ----------
    groups : mapping of str to DataFrame
        By heading. One row per figure: "label", "published", "mean", "low", "high", "tolerance"
        and "verdict". Without a mean there is no interval, and the verdict is written.
    title : str
    """
    n_rows = sum(len(table) + 1 for table in groups.values())
    figure = _figure(8.2, 0.22 * n_rows + 1.1)
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#ececec", linewidth=0, label="would not matter")
    labels, row = [], 0
    for heading, table in groups.items():
        labels.append((row, heading, True))
        for entry in table.to_dict("records"):
            row += 1
            labels.append((row, entry["label"], False))
            if pd.notna(entry["mean"]):
                _verdict_row(axes, row, entry)
            else:
                colour = VERDICT_COLOURS[entry["verdict"]]
                axes.text(0, row, entry["verdict"], color=colour, ha="center", va="center")
        row += 1
    for verdict, colour in VERDICT_COLOURS.items():
        if any((table["verdict"] == verdict).any() for table in groups.values()):
            axes.plot([], [], "o", color=colour, label=verdict)
    axes.plot([], [], color="#555555", linewidth=1.5, label="95 % interval of a further run")
    axes.set_yticks([at for at, *_ in labels], [label for _, label, _ in labels], fontsize="small")
    for tick, (_, _, is_heading) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if is_heading else "normal")
    axes.set_ylim(row - 0.4, -0.6)
    axes.set_xlim(-EDGE, EDGE)
    axes.set_xlabel("printed figure, in tolerances from the mean of our runs")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, loc="left")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return figure


def _verdict_row(axes: Axes, row: int, entry: Mapping[str, Any]) -> None:
    def scaled(value: float) -> float:
        return float(np.clip((value - entry["mean"]) / entry["tolerance"], -EDGE, EDGE))

    low, high, printed = (scaled(entry[name]) for name in ("low", "high", "published"))
    axes.plot([low, high], [row, row], color="#555555", linewidth=1.5)
    for end in (low, high):
        if abs(end) < EDGE:  # else it goes on
            axes.plot([end, end], [row - 0.25, row + 0.25], color="#555555", linewidth=1.5)
    beyond = abs(printed) == EDGE
    marker = "o" if not beyond else ">" if printed > 0 else "<"
    colour = VERDICT_COLOURS[entry["verdict"]]
    axes.plot([printed], [row], marker, color=colour, markersize=7, zorder=3, clip_on=False)
