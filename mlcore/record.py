"""What a training leaves behind for experiment tracking, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """The data a model was trained on.

    Attributes
    ----------
    name : str
    path : Path
        The file it was read from; its MD5, as in dvc.lock, is the digest.
    X, y : ndarrays
        The training part.
    """

    name: str
    path: Path
    X: NDArray[Any]
    y: NDArray[Any]


@dataclass(frozen=True)
class Training:
    """One training, or one candidate of a search.

    Attributes
    ----------
    part : str
        Part of the study; becomes the MLflow experiment.
    name : str
        Becomes the name of the run.
    params : mapping
    metrics : mapping of str to float
        Final figures.
    history : sequence of mappings
        One row per epoch, with the key "epoch".
    dataset : Dataset, optional
    model : fitted estimator, optional
    files : sequence of Path
        Result files to keep with the run.
    children : sequence of Training
    """

    part: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]] = ()
    dataset: Dataset | None = None
    model: Any = None
    files: Sequence[Path] = ()
    children: Sequence["Training"] = ()
