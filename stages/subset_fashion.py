"""Take the study's subset of Fashion-MNIST (report, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcore.data import sources, splits
from mlcore.files import save_arrays, write_json

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write data/fashion_mnist.npz and the counts of its parts."""
    raw = workspace.input("data/raw/fashion_mnist")
    train = splits.read_idx_pair(raw / sources.IMAGES_TRAIN, raw / sources.LABELS_TRAIN)
    test = splits.read_idx_pair(raw / sources.IMAGES_TEST, raw / sources.LABELS_TEST)
    parts = splits.subset_fashion(train, test, **config.fashion_mnist.model_dump())
    save_arrays(workspace.output("data/fashion_mnist.npz"), **splits.to_arrays(parts))
    write_json(workspace.output("metrics/fashion_mnist.json"), splits.describe(parts))


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
