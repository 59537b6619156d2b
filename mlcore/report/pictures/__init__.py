"""The study's pictures: from results to what `mlcore.plotting` draws, and what it shows.

Results are read where `find` says: from a file's path, as in dvc.yaml, to where it lies.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays, read_json, read_table, read_yaml
from mlcore.plotting import Picture
from mlcore.report.pictures import fashion, grid, study
from mlcore.study.parts import PARTS
from mlcore.study.replicates import read_curves, read_replicates
from mlcore.training.weights import MLPWeights, load_mlp

METHODS = {"classifier": "partial_fit", "autoencoder": "partial_fit", "feature_classifier": ""}
"""Of each part, how the models were trained whose losses the study shows."""


def trained(part: str, runs: study.Grid, method: str) -> dict[str, str]:
    """Name a part's trainings by one method: by the rest of the name, the whole name."""
    ending = f"-{method}" if method else ""
    names = PARTS[part].names(runs)
    return {name.removesuffix(ending): name for name in names if name.endswith(ending)}


def in_lines(find: Callable[[str], Path], runs: study.Grid) -> dict[str, Picture]:
    """Draw what consists of lines and text, of the runs of a grid."""

    def read(name: str) -> Any:
        path = find(f"metrics/{name}")
        return read_json(path) if path.suffix == ".json" else read_table(path)

    cells, histories = PARTS["network"].names(runs), read("history/network.csv")
    replicates = read_replicates(find("metrics/replicates.csv"))
    curves = read_curves(find("metrics/replicates_curves.csv"))
    accuracies = {cell: read(f"network/{cell}.json")["test_accuracy"] for cell in cells}
    losses = {
        part: fashion.losses(part, trained(part, runs, method), read(f"history/{part}.csv"))
        for part, method in METHODS.items()
    }
    return losses | {
        "verdict": study.verdict(read("verdict.csv")),
        "verdict_small": study.verdict_small(read("verdict.csv")),
        "interventions": study.interventions(read("sensitivity.json")),
        "hyperplanes": study.hyperplanes(read("worked_examples.json")),
        **grid.losses(cells, histories, replicates, curves),
        "heatmap": grid.heatmap(accuracies, read("summary.json")),
        "network": grid.validation(cells, histories),
        "diagnostics": grid.diagnostics(cells, read("diagnostics.csv")),
        "search": fashion.search(read("search.csv"), read("summary.json")),
        "pipeline": study.pipeline(read_yaml(find("dvc.yaml")), runs),
    }


def as_images(find: Callable[[str], Path], runs: study.Grid, n_images: int) -> dict[str, Picture]:
    """Draw what consists of dots, too many to be lines; the first `n_images` of the test part."""
    data = find("data/fashion_mnist.npz")
    parts = from_arrays(load_arrays(data), str(data))

    def models(part: str) -> dict[str, MLPWeights]:
        names = trained(part, runs, "fit")
        return {k: load_mlp(find(f"models/{part}/{name}.npz")) for k, name in names.items()}

    autoencoders = models("autoencoder")
    features = {name: load_arrays(find(f"data/features/{name}.npz")) for name in autoencoders}
    return {
        **fashion.images(parts["test"], autoencoders, n_images),
        **fashion.confusion(parts["test"], np.unique(parts["train"].y), models("classifier")),
        "codes": fashion.codes(features),
    }
