"""From files to images: IDX files, and the CSV files that Kaggle has of Fashion-MNIST."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlcore.data import sources
from mlcore.data.splits import IMAGE_SHAPE, N_CLASSES, Part
from mlcore.errors import RetraceError, one_line

N_PIXELS = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]


def read_images(folder: Path, source: str = "idx") -> tuple[Part, Part]:
    """Read the training and the test part of a data set, as the files have them.

    Parameters
    ----------
    folder : Path
    source : {'idx', 'kaggle'}
        Whether it has the four IDX files or Kaggle's two CSV files.

    Raises
    ------
    RetraceError
        If a file is not there, or is not what its name says.
    """
    try:
        if source == "idx":
            return (
                read_idx_pair(folder / sources.IMAGES_TRAIN, folder / sources.LABELS_TRAIN),
                read_idx_pair(folder / sources.IMAGES_TEST, folder / sources.LABELS_TEST),
            )
        train, test = (read_csv(folder / name) for name in sources.KAGGLE)
        return train, test
    except FileNotFoundError as error:
        raise RetraceError(f"{error.filename} does not exist; `dvc repro fetch` gets it") from None


def parse_idx(content: bytes, source: str) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the values in C order. Raises RetraceError if the
    header is not that, or its dimensions and the length of the file disagree.
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
    """Read an image and a label file.

    Returns
    -------
    Part
        X of shape (n_samples, 784), uint8.

    Raises
    ------
    RetraceError
        If either is not IDX, the counts differ, or a label is not a class.
    """
    X = parse_idx(images.read_bytes(), str(images))
    y = parse_idx(labels.read_bytes(), str(labels))
    if X.shape[1:] != IMAGE_SHAPE or y.shape != X.shape[:1]:
        raise RetraceError(f"{images} has shape {X.shape}, {labels} {y.shape}: they do not belong")
    return _part(X.reshape(len(X), N_PIXELS), y, labels)


def read_csv(path: Path) -> Part:
    """Read a CSV file of images as Kaggle has it: columns "label", "pixel1", ..., "pixel784".

    Returns
    -------
    Part
        X of shape (n_samples, 784), uint8.

    Raises
    ------
    RetraceError
        If it has other columns, or a value that is no pixel or no class.
    """
    try:
        table = pd.read_csv(path)
    except ValueError as error:  # what pandas raises is one
        raise RetraceError(f"{path} is not a table of images: {one_line(error)}") from None
    if list(table) != ["label", *(f"pixel{i}" for i in range(1, N_PIXELS + 1))]:
        raise RetraceError(f"{path}: the columns should be label, pixel1, ..., pixel{N_PIXELS}")
    values = table.to_numpy()
    if values.dtype.kind not in "iu" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise RetraceError(f"{path}: pixels should be whole numbers from 0 to 255")
    values = values.astype(np.uint8)
    return _part(values[:, 1:], values[:, 0], path)


def _part(X: NDArray[np.uint8], y: NDArray[np.uint8], source: Path) -> Part:
    """Give a part whose labels are classes."""
    if y.max(initial=0) >= N_CLASSES:
        raise RetraceError(f"{source} has the label {y.max()}; labels go from 0 to 9")
    return Part(X, y)
