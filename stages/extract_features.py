"""Read the 32-d code of every image off an autoencoder (report, section 3.5).

Or, to compare, project the images onto as many principal components, or at random.
"""

from mlcore.data.splits import Part, from_arrays, to_arrays, with_noise
from mlcore.files import load_arrays, save_arrays
from mlcore.training.autoencoder import encoder
from mlcore.training.weights import load_mlp
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write data/features/{activation}.npz: codes and labels of all images and of the test part.

    And those of the test part with noise on its pixels.
    """
    params, activation = config.features, config.autoencoder.activation
    data = workspace.input("data/fashion_mnist.npz")
    model = load_mlp(workspace.input(f"models/autoencoder/{activation}-fit.npz"))
    dtype = model.weights[0].dtype.name
    parts = from_arrays(load_arrays(data), str(data), ("full", "test"), dtype=dtype)
    parts["noisy"] = Part(with_noise(parts["test"].X, params.seed), parts["test"].y)
    codes = encoder(params.by, model, params.layer, parts["full"].X, params.seed)
    coded = {name: Part(codes(X), y) for name, (X, y) in parts.items()}
    save_arrays(workspace.output(f"data/features/{activation}.npz"), **to_arrays(coded))


if __name__ == "__main__":
    main(run)
