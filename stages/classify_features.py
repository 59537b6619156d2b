"""Fit scikit-learn's MLPClassifier on an autoencoder's codes (report, section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays
from mlcore.training.mlp import ObservedMLPClassifier, sklearn_arguments
from mlcore.training.run import Dataset, Training
from mlcore.training.weights import save_mlp

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


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
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
