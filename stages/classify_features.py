"""Fit scikit-learn's MLPClassifier on an autoencoder's codes (report, section 3.5)."""

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
    """Write models/feature_classifier/{activation}.npz, its metrics and its history."""
    params = config.feature_classifier
    name = config.autoencoder.activation
    data = workspace.input(f"data/features/{name}.npz")
    parts = from_arrays(load_arrays(data), str(data))
    model, metrics = fit_and_evaluate(
        ValidatedMLPClassifier(**sklearn_arguments(params.model_dump())), parts
    )
    save_mlp(workspace.output(f"models/feature_classifier/{name}.npz"), model)
    write_json(workspace.output(f"metrics/feature_classifier/{name}.json"), metrics)
    write_table(workspace.output(f"metrics/history/feature_classifier/{name}.csv"), model.history_)
    log.info("feature_classifier %s: test accuracy %.2f %%", name, 100 * metrics["test_accuracy"])
    return Training(
        part="feature_classifier",
        name=name,
        params=params.model_dump(),
        metrics=metrics,
        history=model.history_,
        dataset=Dataset(f"features-{name}", data, *parts["train"]),
        model=model,
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
