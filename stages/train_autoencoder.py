"""Train scikit-learn's MLPRegressor to give back its input (report, section 3.4)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlcore.artifacts import load_arrays, save_mlp, write_json, write_table
from mlcore.datasets import from_arrays
from mlcore.estimators import ValidatedMLPRegressor, fit_and_evaluate, sklearn_arguments
from mlcore.record import Dataset, Training

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config

log = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace) -> Training:
    """Write models/autoencoder/{activation}.npz, its metrics and its history."""
    params = config.autoencoder
    name = params.activation
    data = workspace.input("data/fashion_mnist.npz")
    parts = {part: (X, X) for part, (X, _) in from_arrays(load_arrays(data), str(data)).items()}
    # Waiting longer than training lasts switches scikit-learn's stop by tolerance off
    stop = {} if params.early_stop else {"n_iter_no_change": params.max_epochs}
    model, metrics = fit_and_evaluate(
        ValidatedMLPRegressor(
            **sklearn_arguments(params.model_dump(exclude={"early_stop"})), **stop
        ),
        parts,
    )
    save_mlp(workspace.output(f"models/autoencoder/{name}.npz"), model)
    write_json(workspace.output(f"metrics/autoencoder/{name}.json"), metrics)
    write_table(workspace.output(f"metrics/history/autoencoder/{name}.csv"), model.history_)
    log.info("autoencoder %s: test error %.4f", name, metrics["test_mse"])
    return Training(
        part="autoencoder",
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
