"""Fit scikit-learn's MLPClassifier on the Fashion-MNIST images (report, section 3.2)."""

from mlcore.data.splits import for_training, with_noise
from mlcore.files import load_arrays
from mlcore.training.mlp import ObservedMLPClassifier, sklearn_arguments
from mlcore.training.run import Dataset, Training
from mlcore.training.weights import save_mlp
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training of one activation."""
    params = config.classifier
    data = workspace.input("data/fashion_mnist.npz")
    parts = for_training(
        load_arrays(data), str(data), params.trained_on, dtype=params.dtype, divisor=params.divisor
    )
    noisy = with_noise(parts["test"].X, config.features.seed)
    return Training(
        part="classifier",
        name=f"{params.activation}-{params.method}",
        estimator=ObservedMLPClassifier(**sklearn_arguments(params.model_dump())),
        n_steps=params.max_epochs,
        data=parts,
        dataset=Dataset("fashion_mnist", data),
        params=params.model_dump()
        | {"images": params.trained_on, "split_seed": config.fashion_mnist.seed},
        save_model=save_mlp,
        model_suffix=".npz",
        extra=lambda model: {"test_accuracy_noisy": float(model.score(noisy, parts["test"].y))},
        fit_params={"method": params.method},
    )


if __name__ == "__main__":
    main(run)
