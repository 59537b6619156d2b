"""Put every figure that the study printed beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlcore.artifacts import read_json, read_yaml, write_json
from mlcore.runtime import fingerprint
from mlcore.study import compare

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/summary.json and, beside it, what its bits depend on."""
    grid = config.grid
    published = read_yaml(workspace.input("metrics/published.yaml"))

    def read(name: str) -> Any:
        return read_json(workspace.input(f"metrics/{name}.json"))

    def figure(part: str, figure: str, layout: dict[str, Any], ran: list[str]) -> dict[str, Any]:
        """Collect one figure of a part's runs; None for what this grid leaves out."""
        return {name: read(f"{part}/{name}")[figure] if name in ran else None for name in layout}

    mnist, fashion, search = read("mnist"), read("fashion_mnist"), read("search")
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
        "fashion_search": {"best": search["best"], "cv_accuracy": search["cv_accuracy"]},
        "autoencoder": {"shown_samples": config.figures.n_images},
        "bottleneck_probe": {
            name: figure("feature_classifier", name, layout, list(grid.autoencoder_activation))
            for name, layout in published["bottleneck_probe"].items()
        },
    }
    write_json(workspace.output("metrics/summary.json"), compare(published, ours))
    write_json(workspace.output("metrics/environment.json"), fingerprint())


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
