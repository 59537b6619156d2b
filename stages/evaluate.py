"""Gather the results of all trainings, and put every figure that the study printed beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mlcore.artifacts import read_json, read_table, read_yaml, write_json, write_table
from mlcore.runtime import fingerprint
from mlcore.study import compare, headline

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config

LOSSES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def run(config: Config, workspace: Workspace) -> None:
    """Write the comparison, one row of headline figures, and the histories of each part."""
    grid = config.grid
    published = read_yaml(workspace.input("metrics/published.yaml"))

    def read(name: str) -> Any:
        return read_json(workspace.input(f"metrics/{name}.json"))

    def figure(part: str, figure: str, layout: dict[str, Any], ran: list[str]) -> dict[str, Any]:
        """Collect one figure of a part's runs; None for what this grid leaves out."""
        return {name: read(f"{part}/{name}")[figure] if name in ran else None for name in layout}

    mnist, fashion, search = read("mnist"), read("fashion_mnist"), read("search/best")
    best = read_table(workspace.input("metrics/search.csv")).iloc[0]  # ranked, the best first
    cells = published["mnist_grid"]["test_accuracy"]
    ours = {
        "worked_examples": read("worked_examples"),
        "mnist_grid": {
            "split": {part: mnist[part]["n_samples"] for part in ("train", "val", "test")},
            "test_accuracy": {
                activation: {
                    init: read(f"network/{activation}-{init}")["test_accuracy"]
                    if activation in grid.activation and init in grid.init
                    else None
                    for init in inits
                }
                for activation, inits in cells.items()
            },
        },
        "fashion_classifier": {
            "subset": {
                "train": fashion["full"]["n_samples"],
                "test": fashion["test"]["n_samples"],
            },
            **{
                name: figure("classifier", name, layout, list(grid.classifier_activation))
                for name, layout in published["fashion_classifier"].items()
                if name != "subset"
            },
        },
        "fashion_search": {
            "best": {
                "solver": str(best["solver"]),
                "learning_rate_init": float(best["learning_rate"]),
                "batch_size": int(best["batch_size"]),
            },
            "cv_accuracy": search["val_accuracy"],
        },
        "autoencoder": {"shown_samples": config.figures.n_images},
        "bottleneck_probe": {
            name: figure("feature_classifier", name, layout, list(grid.autoencoder_activation))
            for name, layout in published["bottleneck_probe"].items()
        },
    }
    summary = compare(published, ours)
    errors = {
        str(name): float(read(f"autoencoder/{name}")["test_mse"])
        for name in grid.autoencoder_activation
    }
    write_json(workspace.output("metrics/summary.json"), summary)
    write_json(workspace.output("metrics/headline.json"), headline(summary, errors))
    write_json(workspace.output("metrics/environment.json"), fingerprint())
    gather_histories(config, workspace)


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
