"""Read the 32-d code of every image off an autoencoder (report, section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays, save_arrays
from mlcore.training.autoencoder import encode
from mlcore.training.weights import load_mlp

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write data/features/{activation}.npz: codes and labels of the three parts."""
    activation = config.autoencoder.activation
    data = workspace.input("data/fashion_mnist.npz")
    model = load_mlp(workspace.input(f"models/autoencoder/{activation}.npz"))
    arrays = {}
    for name, (X, y) in from_arrays(load_arrays(data), str(data)).items():
        arrays[f"X_{name}"] = encode(X, *model, layer=config.features.layer)
        arrays[f"y_{name}"] = y
    save_arrays(workspace.output(f"data/features/{activation}.npz"), **arrays)


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
