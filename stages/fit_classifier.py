"""Fit scikit-learn's MLPClassifier on the Fashion-MNIST images (report, section 3.2)."""

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
    """Declare the training of one activation."""
    params = config.classifier.model_dump()
    data = workspace.input("data/fashion_mnist.npz")
    return Training(
        part="classifier",
        name=config.classifier.activation,
        estimator=ObservedMLPClassifier(**sklearn_arguments(params)),
        n_steps=config.classifier.max_epochs,
        data=from_arrays(load_arrays(data), str(data)),
        dataset=Dataset("fashion_mnist", data),
        params=params | {"split_seed": config.fashion_mnist.seed},
        save_model=save_mlp,
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
