"""From IDX files to the study's splits."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from mlcore.errors import RetraceError

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Names of the labels 0 to 9 of Fashion-MNIST."""


class Part(NamedTuple):
    """Images and labels of one part of a data set."""

    X: NDArray[Any]
    """Shape (n_samples, 784): uint8 as read and stored, float32 in [0, 1] after `scale`."""
    y: Labels
    """Shape (n_samples,), uint8."""


def parse_idx(content: bytes, source: str) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the values in C order.

    Raises
    ------
    RetraceError
        If the header is not that, or its dimensions and the length of the file disagree.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise RetraceError(f"{source} is not an IDX file of unsigned bytes")
    n_dims = content[3]
    start = 4 + 4 * n_dims
    if n_dims == 0 or len(content) < start:
        raise RetraceError(f"{source}: the IDX header is cut short or has no dimension")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != math.prod(shape):  # of Python's integers: a hostile header cannot overflow
        raise RetraceError(
            f"{source}: the IDX header says {shape}, the file has {len(values)} values"
        )
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise RetraceError(f"{source}: the IDX header says {shape}: {error}") from None


def read_idx_pair(images: Path, labels: Path) -> Part:
    """Read an image and a label file; X is of shape (n_samples, 784), uint8.

    Raises
    ------
    RetraceError
        If either is not IDX, the counts differ, or a label is not a class.
    """
    X = parse_idx(images.read_bytes(), str(images))
    y = parse_idx(labels.read_bytes(), str(labels))
    if X.shape[1:] != IMAGE_SHAPE or y.shape != X.shape[:1]:
        raise RetraceError(f"{images} has shape {X.shape}, {labels} {y.shape}: they do not belong")
    if y.max(initial=0) >= N_CLASSES:
        raise RetraceError(f"{labels} has the label {y.max()}; labels go from 0 to 9")
    return Part(X.reshape(len(X), IMAGE_SHAPE[0] * IMAGE_SHAPE[1]), y)


def split_mnist(
    train: Part, test: Part, *, n_samples: int, test_size: float, seed: int
) -> dict[str, Part]:
    """Split MNIST anew into training, validation and test part.

    The original training images are followed by the original test images; `test_size` of the
    first `n_samples` is held out and then halved. Not stratified. With the defaults this gives
    56,000, 7,000 and 7,000 images and 820 ones in the test part, the 11.71 % that the study prints
    for every model that collapsed.

    `seed` is that of both splits. Returns the parts "train", "val" and "test".
    """
    X = np.concatenate([train.X, test.X])[:n_samples]
    y = np.concatenate([train.y, test.y])[:n_samples]
    X_train, X_held, y_train, y_held = train_test_split(
        X, y, test_size=test_size, random_state=seed
    )
    X_val, X_test, y_val, y_test = train_test_split(
        X_held, y_held, test_size=0.5, random_state=seed
    )
    return {
        "train": Part(X_train, y_train),
        "val": Part(X_val, y_val),
        "test": Part(X_test, y_test),
    }


def subset_fashion(
    train: Part,
    test: Part,
    *,
    n_train: int,
    n_test: int,
    subset_seed: int | None,
    validation_size: float,
    stratify: bool,
    seed: int,
) -> dict[str, Part]:
    """Take images of Fashion-MNIST (report, section 3) and hold out a validation part.

    Parameters
    ----------
    train, test : Part
        The original parts, uint8, of which `n_train` and `n_test` images are taken.
    subset_seed : int or None
        None takes the first images, as the study does; a seed draws them without replacement.
    validation_size : float
        Fraction of the `n_train` images to validate on, drawn with `seed`.
    stratify : bool
        Whether the validation part has the classes in the shares that the `n_train` images have.

    Returns
    -------
    dict of str to Part
        "full" is the `n_train` training images in their order, "train" and "val" share them;
        "test" is the `n_test` test images.
    """
    rng = None if subset_seed is None else np.random.default_rng(subset_seed)
    full = _take(train, n_train, rng)
    X_train, X_val, y_train, y_val = train_test_split(
        full.X,
        full.y,
        test_size=validation_size,
        random_state=seed,
        stratify=full.y if stratify else None,
    )
    return {
        "full": full,
        "train": Part(X_train, y_train),
        "val": Part(X_val, y_val),
        "test": _take(test, n_test, rng),
    }


def _take(part: Part, n_samples: int, rng: np.random.Generator | None) -> Part:
    """Take the first samples, or a draw without replacement that keeps their order."""
    if rng is None:
        return Part(part.X[:n_samples], part.y[:n_samples])
    chosen = np.sort(rng.choice(len(part.y), n_samples, replace=False))
    return Part(part.X[chosen], part.y[chosen])


def describe(parts: dict[str, Part]) -> dict[str, Any]:
    """Count the images of each part and class, and those that a data set should not have.

    Bytes cannot be missing: what the report calls null values, the format has no way to hold.
    What can be wrong with an image is that nothing is on it, or that it is there twice. Labels
    outside 0 to 9 are refused when the files are read.

    Returns
    -------
    dict
        Per part: "n_samples", "class_counts" (list of 10), "majority_class_share",
        "constant_images" (all pixels alike) and "repeated_images" (equal to an earlier one).
    """
    summary = {}
    for name, part in parts.items():
        counts = np.bincount(part.y, minlength=N_CLASSES)
        summary[name] = {
            "n_samples": len(part.y),
            "class_counts": counts.tolist(),
            "majority_class_share": float(counts.max() / counts.sum()),
            "constant_images": int(np.count_nonzero(np.ptp(part.X, axis=1) == 0)),
            "repeated_images": len(part.X) - len({image.tobytes() for image in part.X}),
        }
    return summary


def scale(images: Images) -> NDArray[np.float32]:
    """Divide pixel values by 255 (report, section 3.1); returns float32 in [0, 1]."""
    return np.divide(images, 255, dtype=np.float32)


def to_arrays(parts: dict[str, Part]) -> dict[str, NDArray[Any]]:
    """Name the arrays of a split for storing: X_train, y_train, X_val, ..."""
    return {
        f"{kind}_{name}": array
        for name, part in parts.items()
        for kind, array in zip(("X", "y"), part, strict=True)
    }


def from_arrays(
    arrays: dict[str, NDArray[Any]],
    source: str,
    names: tuple[str, ...] = ("train", "val", "test"),
) -> dict[str, Part]:
    """Read parts of a stored split, pixels scaled to [0, 1].

    Values that are floats already, as the autoencoder's codes are, stay as they are.

    Raises
    ------
    RetraceError
        If an array is missing.
    """
    try:
        parts = {name: Part(arrays[f"X_{name}"], arrays[f"y_{name}"]) for name in names}
    except KeyError as error:
        raise RetraceError(f"{source} is not a split: it lacks {error}") from None
    return {
        name: Part(scale(X), y) if X.dtype == np.uint8 else Part(X, y)
        for name, (X, y) in parts.items()
    }
