"""The networks of the grid. A cell is named as in the files: "tanh-normal"."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcore import plotting
from mlcore.nn.diagnostics import explain
from mlcore.plotting import Picture, display
from mlcore.report.words import capital


def _pair(cell: str) -> tuple[str, str]:
    activation, _, init = cell.partition("-")
    return activation, init


def _words(cell: str) -> str:
    activation, init = map(display, _pair(cell))
    return f"{activation}, {init} init"


def _by_cell(table: pd.DataFrame, cells: Sequence[str]) -> dict[str, pd.DataFrame]:
    return {cell: table[table["run"] == cell] for cell in cells}


def _by_pair(by_cell: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {_pair(cell): value for cell, value in by_cell.items()}


def losses(
    cells: Sequence[str], table: pd.DataFrame, replicates: pd.DataFrame, curves: pd.DataFrame
) -> dict[str, Picture]:
    """Draw the loss curves of each cell (report, figure 5), other seeds behind the run's."""
    top = 1.08 * float(table[["train_loss", "val_loss"]].max().max())
    by_params = dict(list(curves.groupby("params")))
    networks = replicates[replicates["part"] == "network"]
    drawn = {}
    for cell, history in _by_cell(table, cells).items():
        of_cell = networks.loc[networks["name"] == cell, "params"]
        others = [by_params[params] for params in of_cell if params in by_params]
        first, last = history.iloc[0], history.iloc[-1]
        lowest = history.loc[history["val_loss"].idxmin()]
        drawn[f"network/{cell}"] = (
            plotting.loss_curves(history, _words(cell), others=others, top=top),
            f"{_words(cell)}: over {len(history)} epochs the training loss goes from "
            f"{first['train_loss']:.3g} to {last['train_loss']:.3g}, the validation loss from "
            f"{first['val_loss']:.3g} to {last['val_loss']:.3g}; it is lowest, "
            f"{lowest['val_loss']:.3g}, after epoch {lowest['epoch']:g}. {len(others)} seeds.",
        )
    return drawn


def validation(cells: Sequence[str], table: pd.DataFrame) -> Picture:
    """Draw the validation losses of all cells."""
    histories = _by_cell(table, cells)
    last = [f"{_words(c)} {history['val_loss'].iloc[-1]:.3g}" for c, history in histories.items()]
    shows = f"Validation loss after the last epoch: {', '.join(last)}."
    return plotting.grid_curves(_by_pair(histories), "MNIST: validation loss of the grid"), shows


def diagnostics(cells: Sequence[str], table: pd.DataFrame) -> Picture:
    """Draw why cells learn or fail."""
    rows = _by_cell(table, cells)
    reasons = {cell: explain(row.iloc[-1].to_dict()) for cell, row in rows.items()}
    title = "MNIST: why networks learn or fail"
    figure = plotting.diagnostic_grid(_by_pair(rows), _by_pair(reasons), title)
    told = [capital(f"{_words(cell)}: {reason}.") for cell, reason in reasons.items()]
    return figure, " ".join(told)


def heatmap(ours: Mapping[str, float], summary: Mapping[str, Any]) -> Picture:
    """Draw the test accuracies of the grid, by cell, each with the study's beside it.

    `summary` is what `judging.published.compare` made.
    """
    study = summary["mnist_grid"]["test_accuracy"]
    accuracies, published = pd.DataFrame(), pd.DataFrame()
    for (activation, init), accuracy in _by_pair(ours).items():
        accuracies.loc[activation, init] = accuracy
        printed = study.get(activation, {}).get(init, {}).get("published", np.nan)
        published.loc[activation, init] = printed
    best, worst = (pick(ours, key=ours.__getitem__) for pick in (max, min))
    title = "MNIST test accuracy (%): the pipeline's run, and the study's"
    return (
        plotting.accuracy_heatmap(accuracies, published, title),
        f"Test accuracies of {len(ours)} networks of the pipeline's run, each with the study's "
        f"beside it: from {100 * ours[worst]:.2f} % ({_words(worst)}) to {100 * ours[best]:.2f} % "
        f"({_words(best)}).",
    )
