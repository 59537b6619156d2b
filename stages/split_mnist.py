"""Split MNIST 80:10:10 as the study did (report, section 2.4)."""

from mlcore.data import splits
from mlcore.data.images import read_images
from mlcore.files import save_arrays, write_json
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write data/mnist.npz and the counts of its parts."""
    raw = workspace.input("data/raw/mnist")
    parts = splits.split_mnist(*read_images(raw), **config.mnist.model_dump())
    save_arrays(workspace.output("data/mnist.npz"), **splits.to_arrays(parts))
    write_json(workspace.output("metrics/mnist.json"), splits.describe(parts))


if __name__ == "__main__":
    main(run)
