"""Fit scikit-learn's MLPClassifier on the Fashion-MNIST images (report, section 3.2)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlcore.artifacts import load_arrays, save_mlp, write_json, write_table
from mlcore.datasets import from_arrays
from mlcore.estimators import ValidatedMLPClassifier, fit_and_evaluate, sklearn_arguments
from mlcore.record import Dataset, Training

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config

log = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace) -> Training:
    """Write models/classifier/{activation}.npz, its metrics and its history."""
    params = config.classifier
    name = params.activation
    data = workspace.input("data/fashion_mnist.npz")
    parts = from_arrays(load_arrays(data), str(data))
    model, metrics = fit_and_evaluate(
        ValidatedMLPClassifier(**sklearn_arguments(params.model_dump())), parts
    )
    save_mlp(workspace.output(f"models/classifier/{name}.npz"), model)
    write_json(workspace.output(f"metrics/classifier/{name}.json"), metrics)
    write_table(workspace.output(f"metrics/history/classifier/{name}.csv"), model.history_)
    log.info("classifier %s: test accuracy %.2f %%", name, 100 * metrics["test_accuracy"])
    return Training(
        part="classifier",
        name=name,
        params=params.model_dump(),
        metrics=metrics,
        history=model.history_,
        dataset=Dataset("fashion_mnist", data, *parts["train"]),
        model=model,
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
