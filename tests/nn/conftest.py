"""Numerical references shared by the tests of the network."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def central_differences():
    """Give the gradient of a function of no arguments with respect to an array it reads."""

    def gradient(function, array, step=1e-5):
        slopes = np.empty_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = function()
            array[index] = kept - step
            below = function()
            array[index] = kept
            slopes[index] = (above - below) / (2 * step)
        return slopes

    return gradient
