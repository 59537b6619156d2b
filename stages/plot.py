"""Draw the study's figures from the results of the other stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlcore import plotting
from mlcore.artifacts import load_arrays, load_mlp, read_json, read_table
from mlcore.autoencoder import reconstruct
from mlcore.datasets import FASHION_CLASSES, from_arrays
from mlcore.nn.diagnostics import explain
from mlcore.runtime import derive_seed

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/figures."""
    images = image_figures(config, workspace)
    lines = {
        **network_figures(config, workspace),
        **classifier_figures(config, workspace),
        "verdict": verdict_figure(workspace),
    }
    for name, figure in (lines | images).items():
        plotting.save(figure, workspace.output(f"metrics/figures/{name}.png"))
    for name, figure in lines.items():  # for the page
        plotting.save_svg(figure, workspace.output(f"metrics/svg/{name}.svg"))


def network_figures(config: Config, workspace: Workspace) -> dict[str, Any]:
    """Draw the loss curves of each cell (report, figure 5), the heatmap, and why cells fail."""
    activations, inits = config.grid.activation, config.grid.init
    summary = read_json(workspace.input("metrics/summary.json"))["mnist_grid"]["test_accuracy"]
    cells: list[tuple[str, str]] = [
        (activation, init) for activation in activations for init in inits
    ]
    histories = _by_cell(read_table(workspace.input("metrics/history/network.csv")), cells)
    diagnostics = _by_cell(read_table(workspace.input("metrics/diagnostics.csv")), cells)

    metrics = {
        cell: read_json(workspace.input(f"metrics/network/{'-'.join(cell)}.json")) for cell in cells
    }

    def table(value: Any) -> pd.DataFrame:
        return pd.DataFrame({i: {a: value(a, i) for a in activations} for i in inits})

    return {
        **{
            f"network/{activation}-{init}": plotting.loss_curves(
                history, f"{plotting.display(activation)}, {plotting.display(init)} init"
            )
            for (activation, init), history in histories.items()
        },
        "diagnostics": plotting.diagnostic_grid(
            diagnostics,
            {cell: explain(rows.iloc[-1].to_dict()) for cell, rows in diagnostics.items()},
        ),
        "network": plotting.grid_curves(histories, "MNIST: validation loss of the grid"),
        "heatmap": plotting.accuracy_heatmap(
            table(lambda a, i: metrics[a, i]["test_accuracy"]),
            table(lambda a, i: summary.get(a, {}).get(i, {}).get("published", np.nan)),
            "MNIST test accuracy of the network from scratch (%)",
        ),
    }


def _by_cell(table: pd.DataFrame, cells: list[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    return {cell: table[table["run"] == "-".join(cell)] for cell in cells}


def classifier_figures(config: Config, workspace: Workspace) -> dict[str, Any]:
    """Draw the losses of scikit-learn's MLPs (report, figures 7 and 8) and the search."""

    def panels(part: str, names: list[Any], unit: str) -> Any:
        table = read_table(workspace.input(f"metrics/history/{part}.csv"))
        return plotting.loss_panels({n: table[table["run"] == n] for n in names}, unit)

    grid = config.grid
    entropy = "cross-entropy (nats)"
    return {
        "classifier": panels("classifier", grid.classifier_activation, entropy),
        "autoencoder": panels(
            "autoencoder", grid.autoencoder_activation, "half mean squared error"
        ),
        "feature_classifier": panels("feature_classifier", grid.autoencoder_activation, entropy),
        "search": plotting.search_heatmaps(
            read_table(workspace.input("metrics/search.csv")),
            "Fashion-MNIST: grid search, cross-validated accuracy (%)",
        ),
    }


def image_figures(config: Config, workspace: Workspace) -> dict[str, Any]:
    """Draw random test images (report, figure 6) and their reconstructions (figure 9)."""
    data = workspace.input("data/fashion_mnist.npz")
    test = from_arrays(load_arrays(data), str(data))["test"]
    rng = np.random.default_rng(derive_seed(config.figures.seed, "figures"))
    chosen = rng.choice(len(test.X), config.figures.n_images, replace=False)
    versions: dict[str, Any] = {
        activation: reconstruct(
            test.X[chosen],
            *load_mlp(workspace.input(f"models/autoencoder/{activation}.npz")),
        )
        for activation in config.grid.autoencoder_activation
    }
    return {
        "samples": plotting.image_samples(
            test.X[chosen],
            [FASHION_CLASSES[label] for label in test.y[chosen]],
            "Fashion-MNIST: random test images",
        ),
        "reconstructions": plotting.reconstructions(
            test.X[chosen], versions, "Fashion-MNIST: test images and their reconstructions"
        ),
    }


GROUPS = {
    "mnist_grid.test_accuracy": ("MNIST: test accuracy, %", 100, 2),
    "fashion_classifier.test_accuracy": ("Fashion-MNIST: test accuracy, %", 100, 2),
    "fashion_classifier.test_loss": ("Fashion-MNIST: test loss", 1, 4),
    "fashion_classifier.val_loss": ("Fashion-MNIST: validation loss", 1, 4),
    "fashion_search.cv_accuracy": ("Grid search: accuracy over the folds, %", 100, 2),
    "bottleneck_probe.train_accuracy": ("32-d codes: training accuracy, %", 100, 1),
    "bottleneck_probe.test_accuracy": ("32-d codes: test accuracy, %", 100, 1),
}
"""Beginnings of the figures' paths, with a heading, and the unit and digits they are printed in."""


def verdict_figure(workspace: Workspace) -> Any:
    """Draw the printed figures of trained models against the intervals of ours."""
    table = read_table(workspace.input("metrics/verdict.csv"))
    groups = {}
    for path, (heading, unit, digits) in GROUPS.items():
        rows = table[table["path"].str.startswith(path)]
        printed = rows["published"].astype(float)
        names = rows["path"].str.removeprefix(path).str.strip(".").str.split(".")
        labels = [
            f"{' '.join(map(plotting.display, name))}\N{EN SPACE}{unit * value:.{digits}f}"
            for name, value in zip(names, printed, strict=True)
        ]
        groups[heading] = rows.assign(label=labels, published=printed)
    return plotting.verdict_chart(groups, "What the study printed, against runs of ours")


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
