"""Initial weights against the distributions that their papers give."""

import numpy as np
import pytest
from scipy import stats

from mlcore.nn.initializers import INITIALIZERS

FAN_IN, FAN_OUT = 400, 250
DISTRIBUTIONS = {
    "random": stats.uniform(0.0, 0.01),
    "random_normal": stats.norm(0.0, 0.01),
    "normal": stats.norm(0.0, (2 / FAN_OUT) ** 0.5),
    "he": stats.norm(0.0, (2 / FAN_IN) ** 0.5),
    "xavier": stats.uniform(-((6 / 650) ** 0.5), 2 * (6 / 650) ** 0.5),
}

every_random = pytest.mark.parametrize("name", sorted({*DISTRIBUTIONS, *INITIALIZERS} - {"zero"}))


def draw(name, seed=0, fan_in=FAN_IN, fan_out=FAN_OUT):
    return INITIALIZERS[name](np.random.default_rng(seed), fan_in, fan_out)


@pytest.mark.parametrize("name", ["zero", *sorted(DISTRIBUTIONS)])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1)])
def test_shape_and_dtype(name, shape):
    W = draw(name, 0, *shape)
    assert (W.shape, W.dtype, W.any()) == (shape, np.float64, name != "zero")


@every_random
def test_values_follow_the_distribution(name):
    assert stats.kstest(draw(name).ravel(), DISTRIBUTIONS[name].cdf).pvalue > 1e-3


@every_random
def test_the_seed_decides_the_values_and_a_generator_is_drawn_from_anew(name):
    assert draw(name, seed=7).tobytes() == draw(name, seed=7).tobytes()
    rng = np.random.default_rng(7)
    first, second = (INITIALIZERS[name](rng, FAN_IN, FAN_OUT) for _ in range(2))
    assert first.tobytes() == draw(name, seed=7).tobytes()
    assert not np.any(first == second)
    assert not np.any(first == draw(name, seed=8))
