"""The activations as a textbook has them, and their slopes worked by hand."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.special


class Reference(NamedTuple):
    """An activation: its formula, and of an elementwise one the slopes at 0 and far out."""

    function: Callable
    slope_at_zero: float = np.nan
    slopes_far_out: tuple[float, float] = (np.nan, np.nan)


REFERENCES = {
    "identity": Reference(lambda z: z, 1.0, (1.0, 1.0)),
    "sigmoid": Reference(scipy.special.expit, 0.25, (0.0, 0.0)),
    "tanh": Reference(np.tanh, 1.0, (0.0, 0.0)),
    "relu": Reference(lambda z: np.where(z > 0, z, 0.0), 0.0, (0.0, 1.0)),
    "leaky_relu": Reference(lambda z: np.where(z > 0, z, 0.01 * z), 0.01, (0.01, 1.0)),
    "softmax": Reference(lambda z: scipy.special.softmax(z, axis=1)),
}
TEXTBOOK = {name: reference.function for name, reference in REFERENCES.items()}
