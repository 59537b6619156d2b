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
    import pandas as pd

    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/figures, metrics/svg and what the figures show, metrics/figures.json."""
    lines, images = in_lines(config, workspace), as_images(config, workspace)
    drawn = lines | images
    for name, (figure, _) in drawn.items():
        plotting.save(figure, workspace.output(f"metrics/figures/{name}.png"))
    for name, (figure, _) in lines.items():  # for the page
        plotting.save_svg(figure, workspace.output(f"metrics/svg/{name}.svg"))
    write_json(
        workspace.output("metrics/figures.json"),
        {name: {"shows": shows, "is_image": name in images} for name, (_, shows) in drawn.items()},
    )


def in_lines(config: Config, workspace: Workspace) -> dict[str, Picture]:
    """Draw what consists of lines and text."""

    def table(name: str) -> pd.DataFrame:
        return read_table(workspace.input(f"metrics/{name}.csv"))

    def result(name: str) -> Any:
        return read_json(workspace.input(f"metrics/{name}.json"))

    runs = config.grid.model_dump()
    cells, histories = PARTS["network"].names(runs), table("history/network")
    replicates = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = read_curves(workspace.input("metrics/replicates_curves.csv"))
    accuracies = {cell: result(f"network/{cell}")["test_accuracy"] for cell in cells}
    return {
        "verdict": study.verdict(table("verdict")),
        "hyperplanes": study.hyperplanes(result("worked_examples")),
        **grid.losses(cells, histories, replicates, curves),
        "heatmap": grid.heatmap(accuracies, result("summary")),
        "network": grid.validation(cells, histories),
        "diagnostics": grid.diagnostics(cells, table("diagnostics")),
        **{
            part: fashion.losses(part, PARTS[part].names(runs), table(f"history/{part}"))
            for part in ("classifier", "autoencoder", "feature_classifier")
        },
        "search": fashion.search(table("search")),
        "pipeline": study.pipeline(outline(read_yaml(workspace.input("dvc.yaml")))),
    }


def as_images(config: Config, workspace: Workspace) -> dict[str, Picture]:
    """Draw what consists of dots, too many to be lines."""
    data = workspace.input("data/fashion_mnist.npz")
    parts = from_arrays(load_arrays(data), str(data))
    models = {
        part: {
            name: load_mlp(workspace.input(f"models/{part}/{name}.npz"))
            for name in PARTS[part].names(config.grid.model_dump())
        }
        for part in ("classifier", "autoencoder")
    }
    features = {
        name: load_arrays(workspace.input(f"data/features/{name}.npz"))
        for name in models["autoencoder"]
    }
    seed, labels = derive_seed(config.figures.seed, "figures"), np.unique(parts["train"].y)
    return {
        **fashion.images(parts["test"], models["autoencoder"], config.figures.n_images, seed),
        **fashion.confusion(parts["test"], labels, models["classifier"]),
        "codes": fashion.codes(features),
    }


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
