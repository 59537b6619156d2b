"""Take the study's subset of Fashion-MNIST (report, section 3)."""

from mlcore.data import splits
from mlcore.data.images import read_images
from mlcore.errors import RetraceError
from mlcore.files import save_arrays, sha256_of, write_json
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write data/fashion_mnist.npz and the counts of its parts."""
    params = config.fashion_mnist.model_dump()
    source = params.pop("source")
    raw = workspace.input("data/raw/fashion_mnist")
    train, test = read_images(raw, source)
    for key, part in (("n_train", train), ("n_test", test)):
        if params[key] > len(part.y):
            raise RetraceError(f"fashion_mnist.{key}={params[key]}: {raw} has {len(part.y)} images")
    parts = splits.subset_fashion(train, test, **params)
    files = {path.name: sha256_of(path) for path in sorted(raw.iterdir())}
    save_arrays(workspace.output("data/fashion_mnist.npz"), **splits.to_arrays(parts))
    write_json(
        workspace.output("metrics/fashion_mnist.json"), splits.describe(parts) | {"sha256": files}
    )


if __name__ == "__main__":
    main(run)
