"""Fit scikit-learn's MLPClassifier on an autoencoder's codes (report, section 3.5)."""

from mlcore.data.splits import for_training, from_arrays
from mlcore.files import load_arrays
from mlcore.training.mlp import ObservedMLPClassifier, sklearn_arguments
from mlcore.training.run import Dataset, Training
from mlcore.training.weights import save_mlp
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training on the codes of one autoencoder."""
    params = config.feature_classifier
    source = config.autoencoder.activation
    data = workspace.input(f"data/features/{source}.npz")
    arrays = load_arrays(data)
    noisy = from_arrays(arrays, str(data), ("noisy",))["noisy"]
    return Training(
        part="feature_classifier",
        name=source,
        estimator=ObservedMLPClassifier(**sklearn_arguments(params.model_dump())),
        n_steps=params.max_epochs,
        data=for_training(arrays, str(data), "full"),
        dataset=Dataset(f"features-{source}", data),
        params=params.model_dump()
        | {
            "autoencoder_activation": source,
            "features": config.features.by,
            "layer": config.features.layer,
        },
        save_model=save_mlp,
        model_suffix=".npz",
        extra=lambda model: {"test_accuracy_noisy": float(model.score(*noisy))},
    )


if __name__ == "__main__":
    main(run)
