"""What is smooth, what is a spike and what is overfitting: measures of one loss curve.

No accepted thresholds exist for any of them, so they compare configurations. A curve is an array
of shape (n_epochs,): one positive loss for each epoch.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlcore.errors import RetraceError

Curve: TypeAlias = NDArray[np.float64]

SPIKE_HEIGHTS = (1, 5, 10, 20, 50)
"""In per cent above the lowest loss so far."""

FLAT = 0.001
"""A curve whose range is below this share of its last value is flat: it has no course."""

LEARNED = 0.9
"""Validation accuracy from which on a network has learned to tell the classes."""


def roughness(losses: Curve) -> float:
    """Compute total variation over range: 1 for a curve that only falls, or only rises.

    NaN for a flat curve, which is neither smooth nor rough.
    """
    if value_range(losses) < FLAT:
        return math.nan
    return float(np.abs(np.diff(losses)).sum() / np.ptp(losses))


def value_range(losses: Curve) -> float:
    """Compute the range of a curve as a share of its last value."""
    return float(np.ptp(losses) / losses[-1])


def early_fall(losses: Curve) -> float:
    """Compute how much of a curve's fall, from its first value to its lowest, five epochs reach.

    As a share, however small the fall is; NaN for a curve that never falls.
    """
    fall = losses[0] - losses.min()
    if fall == 0:
        return math.nan
    return float((losses[0] - losses[:5].min()) / fall)


def epochs_to_learn(accuracies: Curve) -> int:
    """Give the first epoch, from 1, that has `LEARNED`; one more than there are if none has it."""
    reached = np.flatnonzero(accuracies >= LEARNED)
    return int(reached[0] if len(reached) else len(accuracies)) + 1


def rising_share(losses: Curve) -> float:
    """Compute the share of epochs, from the second one on, whose loss is above the one before."""
    steps = np.diff(losses)
    return float((steps > 0).mean()) if len(steps) else 0.0


def n_spikes(losses: Curve, height: float) -> int:
    """Count the spikes: epochs whose loss is more than `height` per cent above the lowest before.

    If the curve later falls below that lowest one.
    """
    lowest_before = np.minimum.accumulate(losses)[:-1]
    lowest_after = np.minimum.accumulate(losses[::-1])[::-1][1:]
    high = losses[1:] > (1 + height / 100) * lowest_before
    return int((high & (lowest_after < lowest_before)).sum())


def generalisation_loss(train: Curve, val: Curve) -> float:
    """Compute by how many per cent the validation loss has risen above its minimum.

    Prechelt (1998): 100 (E_last / E_min - 1), taken only while the training loss still falls: 0 if
    it does not end below where it was when the validation loss was lowest.
    """
    lowest = int(val.argmin())
    if train[-1] >= train[lowest]:
        return 0.0
    return float(100 * (val[-1] / val[lowest] - 1))


def last_epoch(val_loss: Curve, patience: int) -> int:
    """Give the epoch at which early stopping would have ended a training.

    After `patience` epochs without a new minimum; without such a stretch the last one. The first
    epoch is 1.
    """
    lowest, since = math.inf, 0
    for epoch, loss in enumerate(val_loss, start=1):
        lowest, since = (loss, 0) if loss < lowest else (lowest, since + 1)
        if since >= patience:
            return epoch
    return len(val_loss)


def describe(train: Curve, val: Curve, val_accuracy: Curve) -> dict[str, float]:
    """Give every measure of a training's losses and validation accuracies, by name."""
    shorter = last_epoch(val, 10)
    return {
        "train_roughness": roughness(train),
        "val_roughness": roughness(val),
        "train_rising": rising_share(train),
        "val_rising": rising_share(val),
        "train_range": value_range(train),
        "val_range": value_range(val),
        "train_fall_5": early_fall(train),
        "epochs_to_90": epochs_to_learn(val_accuracy),
        "generalisation_loss": generalisation_loss(train, val),
        "generalisation_loss_10": generalisation_loss(train[:shorter], val[:shorter]),
        **{f"train_spikes_{height}": n_spikes(train, height) for height in SPIKE_HEIGHTS},
        **{f"val_spikes_{height}": n_spikes(val, height) for height in SPIKE_HEIGHTS},
    }


MEASURES = tuple(describe(*np.ones((3, 1))))
"""The names of the measures."""


def with_measures(
    runs: pd.DataFrame, curves: pd.DataFrame, key: Sequence[str] = ("params",)
) -> pd.DataFrame:
    """Give the measures of every training's curves beside its final metrics.

    `runs` has a row per training, which the columns `key` name; `curves` one per epoch: the key,
    "epoch", "train_loss", "val_loss" and "val_accuracy". Trainings without a curve get NaN. Raises
    RetraceError for a column that is missing, or a loss that is not positive.
    """
    values, described = ["train_loss", "val_loss", "val_accuracy"], []
    if lacking := [name for name in (*key, "epoch", *values) if name not in curves]:
        raise RetraceError(f"the curves have no column {lacking[0]}")
    curves = curves.assign(**curves[values].apply(pd.to_numeric, errors="coerce"))
    for of, curve in curves.sort_values("epoch").groupby(list(key)):
        train, val, val_accuracy = curve[values].to_numpy().T
        if not (np.minimum(train, val) > 0).all():
            raise RetraceError(
                f"the curve of {', '.join(map(str, of))} has losses that are not > 0"
            )
        described.append(dict(zip(key, of, strict=True)) | describe(train, val, val_accuracy))
    measures = pd.DataFrame(described, columns=[*key, *MEASURES])
    return runs.merge(measures, "left", list(key)).set_axis(runs.index)
