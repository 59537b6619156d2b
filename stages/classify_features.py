"""Fit scikit-learn's MLPClassifier on an autoencoder's codes (report, section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcore.artifacts import load_arrays, save_mlp
from mlcore.datasets import from_arrays
from mlcore.estimators import ObservedMLPClassifier, sklearn_arguments
from mlcore.training import Dataset, Training

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training on the codes of one autoencoder."""
    params = config.feature_classifier.model_dump()
    source = config.autoencoder.activation
    data = workspace.input(f"data/features/{source}.npz")
    return Training(
        part="feature_classifier",
        name=source,
        estimator=ObservedMLPClassifier(**sklearn_arguments(params)),
        n_steps=config.feature_classifier.max_epochs,
        data=from_arrays(load_arrays(data), str(data)),
        dataset=Dataset(f"features-{source}", data),
        params=params
        | {
            "autoencoder_activation": source,
            "layer": config.features.layer,
            "split_seed": config.fashion_mnist.seed,
        },
        save_model=save_mlp,
        model_suffix=".npz",
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
