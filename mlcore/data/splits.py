"""From the images of a data set to the study's parts of it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from mlcore.errors import RetraceError

N_CLASSES = 10
IMAGE_SHAPE = (28, 28)
FASHION_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                   "Sneaker", "Bag", "Ankle boot")  # fmt: skip
"""Names of the labels 0 to 9 of Fashion-MNIST."""


class Part(NamedTuple):
    """Images and labels of one part of a data set.

    Attributes
    ----------
    X : ndarray of shape (n_samples, 784)
        uint8 in 0..255 as read and stored, floats in [0, 1] from `from_arrays`.
    y : ndarray of shape (n_samples,), uint8
    """

    X: NDArray[Any]
    y: NDArray[np.uint8]


def split_mnist(
    train: Part, test: Part, *, n_samples: int, test_size: float, seed: int
) -> dict[str, Part]:
    """Split MNIST anew into training, validation and test part.

    The original training images are followed by the original test images; `test_size` of the
    first `n_samples` is held out and then halved. Not stratified. With the defaults this gives
    56,000, 7,000 and 7,000 images and 820 ones in the test part, the 11.71 % that the study prints
    for every model that collapsed. The seed is that of both splits; the parts are "train", "val"
    and "test".
    """
    X = np.concatenate([train.X, test.X])[:n_samples]
    y = np.concatenate([train.y, test.y])[:n_samples]
    drawn, held = _split(Part(X, y), test_size, seed)
    val, tested = _split(held, 0.5, seed)
    return {"train": drawn, "val": val, "test": tested}


def _split(part: Part, share: float, seed: int, stratify: bool = False) -> tuple[Part, Part]:
    """Draw a share of a part, the second that is returned."""
    X, X_held, y, y_held = train_test_split(
        *part, test_size=share, random_state=seed, stratify=part.y if stratify else None
    )
    return Part(X, y), Part(X_held, y_held)


def subset_fashion(
    train: Part,
    test: Part,
    *,
    n_train: int,
    n_test: int,
    subset_seed: int | None,
    pooled: bool,
    validation_size: float,
    stratify: bool,
    seed: int,
) -> dict[str, Part]:
    """Take images of Fashion-MNIST (report, section 3) and hold out a validation part.

    Parameters
    ----------
    train, test : Part
        The parts as the files have them, uint8.
    n_train, n_test : int
        Images to take of each.
    subset_seed : int or None
        None takes the first images, as the study does; a seed draws them without replacement.
    pooled : bool
        Whether a seed draws from all images, or from each part on its own.
    validation_size : float
        Fraction of the `n_train` images to validate on.
    stratify : bool
        Whether the validation part has the classes in the shares that the `n_train` images have.
    seed : int
        Of the validation part.

    Returns
    -------
    dict of str to Part
        "full" is the `n_train` training images in their order, "train" and "val" share them;
        "test" is the `n_test` test images.
    """
    if subset_seed is None:
        full, tested = _take(train, slice(n_train)), _take(test, slice(n_test))
    else:
        rng = np.random.default_rng(subset_seed)
        if pooled:
            train = test = Part(*(np.concatenate(pair) for pair in zip(train, test, strict=True)))
            chosen = rng.choice(len(train.y), n_train + n_test, replace=False)
            rows = chosen[:n_train], chosen[n_train:]
        else:
            rows = (
                rng.choice(len(train.y), n_train, replace=False),
                rng.choice(len(test.y), n_test, replace=False),
            )
        full, tested = _take(train, rows[0]), _take(test, rows[1])
    drawn, val = _split(full, validation_size, seed, stratify)
    return {"full": full, "train": drawn, "val": val, "test": tested}


def _take(part: Part, rows: slice | NDArray[np.intp]) -> Part:
    return Part(part.X[rows], part.y[rows])


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


def to_arrays(parts: dict[str, Part]) -> dict[str, NDArray[Any]]:
    """Name the arrays of a split for storing: X_train, y_train, X_val, ..."""
    return {
        f"{kind}_{name}": array
        for name, part in parts.items()
        for kind, array in zip(("X", "y"), part, strict=True)
    }


NOISE = 0.2
"""Standard deviation of the noise that is added to pixels in [0, 1]."""


def with_noise(X: NDArray[Any], seed: int) -> NDArray[Any]:
    """Add normal noise of standard deviation `NOISE` to features, in their dtype."""
    noise = np.random.default_rng(seed).normal(0.0, NOISE, X.shape)
    noisy: NDArray[Any] = X + noise.astype(X.dtype)
    return noisy


def for_training(
    arrays: dict[str, NDArray[Any]], source: str, trained_on: str, **scaling: Any
) -> dict[str, Part]:
    """Read the parts that a training takes: "train", "val" if there is one, and "test".

    `trained_on` is "train", or "full" for all images, none of which validate; all else is as
    `from_arrays` takes it.
    """
    names = ("train", "val", "test") if trained_on == "train" else ("full", "test")
    parts = from_arrays(arrays, source, names, **scaling)
    return {"train" if name == "full" else name: part for name, part in parts.items()}


def from_arrays(
    arrays: dict[str, NDArray[Any]],
    source: str,
    names: tuple[str, ...] = ("train", "val", "test"),
    dtype: str = "float32",
    divisor: float = 255,
) -> dict[str, Part]:
    """Read parts of a stored split, pixels scaled to [0, 1] (report, section 3.1).

    Values that are floats already, as the autoencoder's codes are, stay as they are. `arrays` have
    the names that `to_arrays` gives; pixels, in 0..255, are divided by `divisor` in `dtype`. Raises
    RetraceError, which names the `source`, if an array is missing.
    """
    try:
        parts = {name: Part(arrays[f"X_{name}"], arrays[f"y_{name}"]) for name in names}
    except KeyError as error:
        raise RetraceError(f"{source} is not a split: it lacks {error}") from None
    return {
        name: Part(np.divide(X, divisor, dtype=dtype) if X.dtype == np.uint8 else X, y)
        for name, (X, y) in parts.items()
    }
