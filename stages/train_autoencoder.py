"""Train scikit-learn's MLPRegressor to give back its input (report, section 3.4)."""

from mlcore.data.splits import for_training
from mlcore.files import load_arrays
from mlcore.training.autoencoder import describe_reconstruction
from mlcore.training.mlp import ObservedMLPRegressor, sklearn_arguments
from mlcore.training.run import Dataset, Training
from mlcore.training.weights import MLPWeights, save_mlp
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training of one autoencoder."""
    params = config.autoencoder
    data = workspace.input("data/fashion_mnist.npz")
    parts = for_training(load_arrays(data), str(data), params.trained_on, dtype=params.dtype)
    images = {part: X for part, (X, _) in parts.items()}
    # Waiting longer than training lasts switches scikit-learn's stop by tolerance off
    stop = {} if params.early_stop else {"n_iter_no_change": params.max_epochs}
    return Training(
        part="autoencoder",
        name=f"{params.activation}-{params.method}",
        estimator=ObservedMLPRegressor(**sklearn_arguments(params.model_dump()), **stop),
        n_steps=params.max_epochs,
        data={part: (X, X) for part, X in images.items()},
        dataset=Dataset("fashion_mnist", data),
        params=params.model_dump()
        | {"images": params.trained_on, "split_seed": config.fashion_mnist.seed},
        save_model=save_mlp,
        model_suffix=".npz",
        extra=lambda model: describe_reconstruction(
            images["train"],
            images["test"],
            MLPWeights(model.coefs_, model.intercepts_, model.activation),
        ),
        fit_params={"method": params.method},
    )


if __name__ == "__main__":
    main(run)
