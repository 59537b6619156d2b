"""Draw the study's pictures from the results of the other stages, and say what each shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlcore import plotting
from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays, read_json, read_table, read_yaml, write_json
from mlcore.judging.parts import PARTS
from mlcore.judging.replicates import read_curves, read_replicates
from mlcore.pipeline.dvc_yaml import outline
from mlcore.process import derive_seed
from mlcore.report.pictures import Picture, fashion, grid, study
from mlcore.training.weights import load_mlp

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/figures, metrics/svg and what the figures show, metrics/figures.json."""
    lines, images = in_lines(config, workspace), as_images(config, workspace)
    told = {}
    for name, (figure, shows) in (lines | images).items():
        plotting.save(figure, workspace.output(f"metrics/figures/{name}.png"))
        if name in lines:  # for the page
            plotting.save_svg(figure, workspace.output(f"metrics/svg/{name}.svg"))
        told[name] = {"shows": shows, "is_image": name in images}
    write_json(workspace.output("metrics/figures.json"), told)


def in_lines(config: Config, workspace: Workspace) -> dict[str, Picture]:
    """Draw what consists of lines and text."""

    def read(name: str) -> Any:
        path = workspace.input(f"metrics/{name}")
        return read_json(path) if path.suffix == ".json" else read_table(path)

    runs = config.grid.model_dump()
    cells, histories = PARTS["network"].names(runs), read("history/network.csv")
    replicates = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = read_curves(workspace.input("metrics/replicates_curves.csv"))
    accuracies = {cell: read(f"network/{cell}.json")["test_accuracy"] for cell in cells}
    losses = {
        part: fashion.losses(part, PARTS[part].names(runs), read(f"history/{part}.csv"))
        for part in ("classifier", "autoencoder", "feature_classifier")
    }
    return losses | {
        "verdict": study.verdict(read("verdict.csv")),
        "hyperplanes": study.hyperplanes(read("worked_examples.json")),
        **grid.losses(cells, histories, replicates, curves),
        "heatmap": grid.heatmap(accuracies, read("summary.json")),
        "network": grid.validation(cells, histories),
        "diagnostics": grid.diagnostics(cells, read("diagnostics.csv")),
        "search": fashion.search(read("search.csv")),
        "pipeline": study.pipeline(outline(read_yaml(workspace.input("dvc.yaml")))),
    }


def as_images(config: Config, workspace: Workspace) -> dict[str, Picture]:
    """Draw what consists of dots, too many to be lines."""
    data, runs = workspace.input("data/fashion_mnist.npz"), config.grid.model_dump()
    parts, features = from_arrays(load_arrays(data), str(data)), {}
    for name in PARTS["autoencoder"].names(runs):
        features[name] = load_arrays(workspace.input(f"data/features/{name}.npz"))
    classifiers, autoencoders = (
        {
            name: load_mlp(workspace.input(f"models/{part}/{name}.npz"))
            for name in PARTS[part].names(runs)
        }
        for part in ("classifier", "autoencoder")
    )
    seed, labels = derive_seed(config.figures.seed, "figures"), np.unique(parts["train"].y)
    return {
        **fashion.images(parts["test"], autoencoders, config.figures.n_images, seed),
        **fashion.confusion(parts["test"], labels, classifiers),
        "codes": fashion.codes(features),
    }


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
