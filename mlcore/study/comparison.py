"""The study's printed numbers beside ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from mlcore.judging.published import printed_in
from mlcore.study.parts import PARTS, group_of

SUBSET = {"train": "full", "test": "test"}
"""What the study calls its training images is our part "full", validation images included."""

LOSSES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def our_numbers(
    published: Mapping[str, Any],
    results: Callable[[str], Any],
    candidates: pd.DataFrame,
    grid: Mapping[str, Sequence[str]],
    n_images: int,
) -> dict[str, Any]:
    """Give our numbers by the paths of the published ones; None for what this grid leaves out.

    `results` leads from the file of a part, see `parts.PARTS`, to what it holds; `candidates`, of
    the search, are the best first, with a column "fold_{i}" for each fold; `grid` is what was run
    over; `n_images` are shown of the autoencoders.
    """
    of_files = _of_single_files(results, candidates)
    ours = {number.path: number.value for number in printed_in(of_files)}
    ours["mnist_grid.configurations"] = len(PARTS["network"].names(grid))
    ours["autoencoder.shown_samples"] = n_images
    earlier = published["fashion_classifier"]["test_accuracy"]
    for name in published["bottleneck_probe"]["compared"]:  # the report repeats numbers of its own
        ours[f"bottleneck_probe.compared.{name}"] = earlier[name]
    for path in (number.path for number in printed_in(published)):
        group = group_of(path)
        if group and PARTS[group.part].varied:
            part, name, metric = PARTS[group.part], group.training(path), path.split(".")[1]
            known = name in part.names(grid)
            ours[path] = results(part.file.format(name)).get(metric) if known else None
    return ours


def _of_single_files(results: Callable[[str], Any], candidates: pd.DataFrame) -> dict[str, Any]:
    mnist, fashion = results("mnist.json"), results("fashion_mnist.json")
    best, n_folds = candidates.iloc[0], candidates.columns.str.startswith("fold_").sum()
    return {
        "worked_examples": results("worked_examples.json"),
        "mnist_grid": {
            "data": {"images": sum(part["n_samples"] for part in mnist.values()), **_labels(mnist)},
            "split": {part: about["n_samples"] for part, about in mnist.items()},
        },
        "fashion_classifier": {
            "data": _labels({part: fashion[part] for part in SUBSET.values()}),
            "subset": {part: fashion[whole]["n_samples"] for part, whole in SUBSET.items()},
        },
        "fashion_search": {
            "size": {
                "candidates": len(candidates),
                "folds": int(n_folds),
                "fits": len(candidates) * int(n_folds),
            },
            "best": {
                "solver": str(best["solver"]),
                "learning_rate_init": float(best["learning_rate"]),
                "batch_size": int(best["batch_size"]),
            },
            "cv_accuracy": results("search/best.json")["val_accuracy"],
        },
    }


def _labels(parts: Mapping[str, Any]) -> dict[str, int]:
    """Count the classes that parts of a data set have, and the images that are of none."""
    of_class = pd.DataFrame([part["class_counts"] for part in parts.values()]).sum()
    n_images = sum(part["n_samples"] for part in parts.values())
    return {"classes": int((of_class > 0).sum()), "missing": n_images - int(of_class.sum())}


def gather(histories: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the histories of a part's trainings, by name, one below the other.

    Gives a table of "run", "epoch", losses and accuracies, and one of "run", "epoch" and all else,
    if there is any: diagnostics, rounded.
    """
    table = pd.concat(history.assign(run=name) for name, history in histories.items())
    losses = [name for name in table if name in LOSSES]
    rest = [name for name in table if name not in ("run", "epoch", *losses)]
    # Four digits tell all there is to tell, and keep the file small
    rounded = table[rest].map(lambda value: float(f"{value:.3e}"))
    head = table[["run", "epoch"]]
    return table[["run", "epoch", *losses]], pd.concat([head, rounded], axis=1)


def headline(
    summary: Mapping[str, Any], reconstruction_errors: Mapping[str, float]
) -> dict[str, float]:
    """Pick the numbers that one would compare between experiments, under short flat names.

    From what `compare` gave, and the mean squared errors on the test part by the autoencoder's
    name. Accuracies in the test part are by run ("tanh-normal", "fashion-tanh",
    "codes-relu"), and the search's is the cross-validated one. What did not run is left out.
    """
    tables = {
        **summary["mnist_grid"]["test_accuracy"],  # by activation
        "fashion": summary["fashion_classifier"]["test_accuracy"],
        "codes": summary["bottleneck_probe"]["test_accuracy"],
        "search": {"cv": summary["fashion_search"]["cv_accuracy"]},
        "mse": {name: {"ours": error} for name, error in reconstruction_errors.items()},
    }
    return {
        f"{prefix}-{name}": number["ours"]
        for prefix, table in tables.items()
        for name, number in table.items()
        if number["ours"] is not None
    }
