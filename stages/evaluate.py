"""Gather the results of all trainings, and put every figure that the study printed beside ours."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlcore.files import read_json, read_table, read_yaml, write_json, write_table
from mlcore.judging.study import compare, headline
from mlcore.process import fingerprint

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace

PARTS = {"classifier": "fashion_classifier", "feature_classifier": "bottleneck_probe"}
"""What the published figures call a part."""

SUBSET = {"train": "full", "test": "test"}
"""Our names, by the published ones, which count what is held out as images to train with."""

LOSSES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def run(config: Config, workspace: Workspace) -> None:
    """Write the comparison, one row of headline figures, and the histories of each part."""
    published = read_yaml(workspace.input("metrics/published.yaml"))
    summary = compare(published, our_figures(config, workspace, published))
    errors = {
        str(name): float(_read(workspace, f"autoencoder/{name}")["test_mse"])
        for name in config.grid.autoencoder_activation
    }
    write_json(workspace.output("metrics/summary.json"), summary)
    write_json(workspace.output("metrics/headline.json"), headline(summary, errors))
    write_json(workspace.output("metrics/environment.json"), fingerprint())
    gather_histories(config, workspace)


def _read(workspace: Workspace, name: str) -> Any:
    return read_json(workspace.input(f"metrics/{name}.json"))


def our_figures(
    config: Config, workspace: Workspace, published: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Give our figures in the layout of the published ones; None for what this grid leaves out."""
    mnist, fashion = _read(workspace, "mnist"), _read(workspace, "fashion_mnist")
    best = read_table(workspace.input("metrics/search.csv")).iloc[0]  # ranked, the best first

    return {
        "worked_examples": _read(workspace, "worked_examples"),
        "mnist_grid": {
            "split": {part: mnist[part]["n_samples"] for part in ("train", "val", "test")},
            "test_accuracy": _grid_accuracies(config, workspace, published),
        },
        "fashion_classifier": {
            "subset": {part: fashion[whole]["n_samples"] for part, whole in SUBSET.items()},
            **_figures_of("classifier", config.grid.classifier_activation, workspace, published),
        },
        "fashion_search": {
            "best": {
                "solver": str(best["solver"]),
                "learning_rate_init": float(best["learning_rate"]),
                "batch_size": int(best["batch_size"]),
            },
            "cv_accuracy": _read(workspace, "search/best")["val_accuracy"],
        },
        "autoencoder": {"shown_samples": config.figures.n_images},
        "bottleneck_probe": _figures_of(
            "feature_classifier", config.grid.autoencoder_activation, workspace, published
        ),
    }


def _figures_of(
    part: str, ran: Collection[str], workspace: Workspace, published: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Collect those figures of a part's runs that are published; None for what did not run."""
    return {
        figure: {
            name: _read(workspace, f"{part}/{name}")[figure] if name in ran else None
            for name in names
        }
        for figure, names in published[PARTS[part]].items()
        if figure != "subset"
    }


def _grid_accuracies(
    config: Config, workspace: Workspace, published: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Collect the published cells' test accuracies by activation and initialisation."""
    activations, inits = config.grid.activation, config.grid.init
    return {
        activation: {
            init: _read(workspace, f"network/{activation}-{init}")["test_accuracy"]
            if activation in activations and init in inits
            else None
            for init in cells
        }
        for activation, cells in published["mnist_grid"]["test_accuracy"].items()
    }


def gather_histories(config: Config, workspace: Workspace) -> None:
    """Write one long table of losses for each part, and one of the networks' diagnostics."""
    grid = config.grid
    runs: dict[str, list[str]] = {
        "network": [f"{a}-{i}" for a in grid.activation for i in grid.init],
        "classifier": [*grid.classifier_activation],
        "autoencoder": [*grid.autoencoder_activation],
        "feature_classifier": [*grid.autoencoder_activation],
    }
    for part, names in runs.items():
        table = pd.concat(
            read_table(workspace.input(f"history/{part}/{name}.csv")).assign(run=name)
            for name in names
        )
        losses = [name for name in table if name in LOSSES]
        rest = [name for name in table if name not in ("run", "epoch", *losses)]
        columns = table[["run", "epoch", *losses]]
        write_table(workspace.output(f"metrics/history/{part}.csv"), columns.to_dict("records"))
        if rest:
            # Four digits tell all there is to tell, and keep the file small
            rounded = table[rest].map(lambda value: float(f"{value:.3e}"))
            rows = pd.concat([table[["run", "epoch"]], rounded], axis=1).to_dict("records")
            write_table(workspace.output("metrics/diagnostics.csv"), rows)


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
