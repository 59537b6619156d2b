"""Train scikit-learn's MLPRegressor to give back its input (report, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays
from mlcore.training.mlp import ObservedMLPRegressor, sklearn_arguments
from mlcore.training.run import Dataset, Training
from mlcore.training.weights import save_mlp

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training of one autoencoder."""
    params = config.autoencoder.model_dump()
    data = workspace.input("data/fashion_mnist.npz")
    parts = from_arrays(load_arrays(data), str(data))
    arguments = sklearn_arguments({k: v for k, v in params.items() if k != "early_stop"})
    # Waiting longer than training lasts switches scikit-learn's stop by tolerance off
    stop = {} if params["early_stop"] else {"n_iter_no_change": params["max_epochs"]}
    return Training(
        part="autoencoder",
        name=config.autoencoder.activation,
        estimator=ObservedMLPRegressor(**arguments, **stop),
        n_steps=config.autoencoder.max_epochs,
        data={part: (X, X) for part, (X, _) in parts.items()},
        dataset=Dataset("fashion_mnist", data),
        params=params | {"split_seed": config.fashion_mnist.seed},
        save_model=save_mlp,
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
