"""Initial weights: a table from a scheme's name to ``f(rng, fan_in, fan_out)``.

Every function returns a float64 matrix of shape (fan_in, fan_out).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

RANDOM_SCALE = 0.01
"""Scale of the study's "random" scheme (report, section 2.4: "0.01 Scaling")."""


def zero(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """All weights 0: the units of a layer can never become different from each other."""
    return np.zeros((fan_in, fan_out))


def random(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """U[0, 1) x 0.01.

    The report gives the scale only; the rest is the study's code.
    """
    return RANDOM_SCALE * rng.random((fan_in, fan_out))


def random_normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """N(0, 1) x 0.01: the other way to read the study's "random" scheme."""
    return RANDOM_SCALE * rng.standard_normal((fan_in, fan_out))


def normal(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """N(0, 2 / fan_out), as the study's code has it; the report calls it He initialisation."""
    return rng.normal(0.0, np.sqrt(2.0 / fan_out), (fan_in, fan_out))


def he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """N(0, 2 / fan_in) (He et al., 2015)."""
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), (fan_in, fan_out))


def xavier(rng: np.random.Generator, fan_in: int, fan_out: int) -> Matrix:
    """U(-r, r) with r = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, (fan_in, fan_out))


INITIALIZERS: dict[str, Callable[[np.random.Generator, int, int], Matrix]] = {
    "zero": zero,
    "random": random,
    "random_normal": random_normal,
    "normal": normal,
    "he": he,
    "xavier": xavier,
}
