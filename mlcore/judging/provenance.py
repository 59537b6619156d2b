"""Where each of the study's figures comes from in the pipeline."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

SOURCES = (
    ("worked_examples.*", "worked_examples", "worked_examples.json", ()),
    ("mnist_grid.split.*", "split_mnist", "mnist.json", ("mnist",)),
    ("mnist_grid.test_accuracy.*", "train_network@", "network/", ("mnist", "network")),
    ("fashion_classifier.subset.*", "subset_fashion", "fashion_mnist.json", ("fashion_mnist",)),
    ("fashion_classifier.*", "fit_classifier@", "classifier/", ("fashion_mnist", "classifier")),
    ("fashion_search.best.*", "search_classifier", "search.csv", ("fashion_mnist", "search")),
    ("fashion_search.*", "search_classifier", "search/best.json", ("fashion_mnist", "search")),
    ("autoencoder.shown_samples", "evaluate", "summary.json", ("figures",)),
    (
        "bottleneck_probe.*",
        "classify_features@",
        "feature_classifier/",
        ("fashion_mnist", "autoencoder", "features", "feature_classifier"),
    ),
)
"""Figures, the stage that computes them, its file in metrics/, and its parameters.

A stage or folder that ends openly goes on with what the figure is of, such as "tanh-normal".
"""


def source_of(path: str) -> tuple[str, str, tuple[str, ...]]:
    """Give the stage, the file and the sections of the parameters behind a figure.

    Parameters
    ----------
    path : str
        Of the figure in published.yaml.

    Raises
    ------
    ValueError
        If no stage computes it.
    """
    for pattern, stage, file, sections in SOURCES:
        if fnmatchcase(path, pattern):
            item = "-".join(path.split(".")[2:])
            if stage.endswith("@"):
                stage, file = stage + item, f"{file}{item}.json"
            return stage, f"metrics/{file}", sections
    raise ValueError(f"no stage computes {path}")


def provenance(path: str, root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Say how a figure came about, and how to compute it again.

    Parameters
    ----------
    path : str
        Of the figure in published.yaml.
    root : Path
        Top of the checkout.
    params : dict
        All parameters of the run.

    Returns
    -------
    dict
        "stage"; "file" and its "md5", as in dvc.lock; "params"; "command".
    """
    stage, file, sections = source_of(path)
    digest = hashlib.md5((root / file).read_bytes(), usedforsecurity=False).hexdigest()
    chosen = {section: dict(params[section]) for section in sections}
    # Under DVC the matrix sets these two
    item = stage.partition("@")[2].split("-") if "@" in stage else []
    for key, value in zip(("activation", "init"), item, strict=False):
        section = "autoencoder" if "autoencoder" in chosen else sections[-1]
        chosen[section][key] = value
    return {
        "stage": stage,
        "file": file,
        "md5": digest,
        "params": chosen,
        # The first makes what the stage needs, where that is not there
        "command": f"dvc repro {stage} && dvc repro --force --single-item {stage}",
    }
