"""The contestants: each trains the study's network, 784-256-128-64-32-10, by plain SGD.

All take float32 images and integer labels, batches of 128 in a new random order every epoch, and
do what a user of the library would write. A contestant is a function of images and labels, which
imports its library and gives ``fit(epochs, activation)``. That trains from new weights, returns
when it is done, and gives a function that computes probabilities with the trained network.
"""

import os
import time
import warnings
from functools import cache, partial
from importlib import import_module
from itertools import pairwise

import numpy as np

from mlcore.process import pin_threads

HIDDEN = (256, 128, 64, 32)
SIZES = (784, *HIDDEN, 10)
BATCH = 128
LEARNING_RATE = 0.02


def ours(X, y, shift=0.0, blank=0.0):
    """`mlcore.nn.NeuralNetwork`; with a shift the images are zero nowhere but for a share `blank`.

    These zeros are scattered, so that they are not left out either.
    """
    from mlcore.nn import NeuralNetwork

    X = X + np.float32(shift)
    if blank:
        X[np.random.default_rng(0).random(X.shape, np.float32) < blank] = 0.0

    def fit(epochs, activation, init="normal"):
        model = NeuralNetwork(
            HIDDEN,
            activation=activation,
            weight_init=init,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH,
            max_epochs=epochs,
            random_state=0,
        )
        return model.fit(X, y).predict_proba

    return fit


def bare_products(X, y):
    """Do the 14 matrix products of every batch and nothing else: the floor.

    Five forward, five gradients of the weights and four deltas, each with all 784 columns of the
    images, on arrays that lie ready.
    """
    rng = np.random.default_rng(0)
    batches = [min(BATCH, len(X) - start) for start in range(0, len(X), BATCH)]
    weights = [rng.random(shape, np.float32) for shape in pairwise(SIZES)]
    gradients = [np.empty_like(W) for W in weights]
    buffers = [[rng.random((BATCH, size), np.float32) for size in SIZES] for _ in range(3)]
    layers = range(len(weights))

    def fit(epochs, activation):
        for _ in range(epochs):
            for n in batches:
                outputs, deltas, results = ([array[:n] for array in kind] for kind in buffers)
                for i in layers:
                    np.matmul(outputs[i], weights[i], out=results[i + 1])
                for i in layers[:0:-1]:
                    np.matmul(deltas[i + 1], weights[i].T, out=results[i])
                for i in layers[::-1]:
                    np.matmul(outputs[i].T, deltas[i + 1], out=gradients[i])

    return fit


def scikit_learn(X, y, dtype=np.float32):
    """`MLPClassifier`; in float64, as which NumPy's data come by default, too."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    X = X.astype(dtype)

    def fit(epochs, activation):
        model = MLPClassifier(
            HIDDEN,
            activation="logistic" if activation == "sigmoid" else activation,
            solver="sgd",
            momentum=0.0,
            nesterovs_momentum=False,
            alpha=0.0,
            learning_rate_init=LEARNING_RATE,
            batch_size=BATCH,
            max_iter=epochs,
            tol=0.0,
            n_iter_no_change=epochs + 1,
            random_state=0,
        )
        return model.fit(X, y).predict_proba

    return fit


def pytorch(X, y):
    """PyTorch, eager."""
    import torch
    from torch import nn

    kinds = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
    X, y = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def fit(epochs, activation):
        layers = []
        for fan_in, fan_out in pairwise(SIZES):
            layers += [nn.Linear(fan_in, fan_out), kinds[activation]()]
        model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        for _ in range(epochs):
            for chosen in torch.randperm(len(X)).split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(X[chosen]), y[chosen]).backward()
                optimizer.step()

        def predict_proba(images):
            with torch.no_grad():
                return model(torch.from_numpy(images)).softmax(dim=1).numpy()

        return predict_proba

    return fit


def jax_functions(X, y, activation):
    """Compile an epoch, one function that scans the batches, and the probabilities."""
    import jax
    from jax import numpy as jnp

    function = getattr(jax.nn, activation)
    n_batches = len(X) // BATCH

    def forward(params, x):
        for W, b in params[:-1]:
            x = function(x @ W + b)
        return x @ params[-1][0] + params[-1][1]

    def loss(params, x, labels):
        log_p = jax.nn.log_softmax(forward(params, x))
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))

    def step(params, chosen):
        gradient = jax.grad(loss)(params, X[chosen], y[chosen])
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), None

    def epoch(params, key):
        order = jax.random.permutation(key, len(X))
        whole, left_over = jnp.split(order, [n_batches * BATCH])
        params, _ = jax.lax.scan(step, params, whole.reshape(n_batches, BATCH))
        return step(params, left_over)[0] if len(left_over) else params

    proba = jax.jit(lambda params, x: jax.nn.softmax(forward(params, x)))
    return jax.jit(epoch, donate_argnums=0), proba


def jax_jit(X, y):
    """JAX, compiled."""
    import jax
    from jax import numpy as jnp

    compiled = cache(partial(jax_functions, jnp.asarray(X), jnp.asarray(y.astype(np.int32))))

    def fit(epochs, activation):
        epoch, proba = compiled(activation)
        rng, params = np.random.default_rng(0), []
        for fan_in, fan_out in pairwise(SIZES):
            W = rng.normal(0.0, (2.0 / fan_out) ** 0.5, (fan_in, fan_out))
            params.append((jnp.asarray(W, np.float32), jnp.zeros(fan_out, np.float32)))
        for number in range(epochs):
            params = epoch(params, jax.random.key(number))
        jax.block_until_ready(params)
        return lambda images: np.asarray(proba(params, images))

    return fit


CONTESTANTS = {
    "bare products": ("numpy", bare_products),
    "ours": ("numpy", ours),
    "ours, images without zeros": ("numpy", partial(ours, shift=0.01)),
    "ours, scattered zeros": ("numpy", partial(ours, shift=0.01, blank=0.5)),
    "JAX jit": ("jax", jax_jit),
    "PyTorch eager": ("torch", pytorch),
    "MLPClassifier float32": ("sklearn", scikit_learn),
    "MLPClassifier float64": ("sklearn", partial(scikit_learn, dtype=np.float64)),
}
"""The library of each, which may be absent, and the contestant."""

# What follows runs in the contestants' processes


def pin(core):
    """Hold this process to one core and one thread, and JAX to the processor."""
    os.sched_setaffinity(0, {core})  # threads that a library starts inherit it
    pin_threads()
    os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}


def version(name, _):
    """Give a contestant's library and its version; raises ImportError or OSError if absent."""
    library = CONTESTANTS[name][0]
    return f"{library} {import_module(library).__version__}"


@cache
def training_part(data):
    """Read the training part of a split, images and labels, once in a process."""
    from mlcore.data.splits import from_arrays
    from mlcore.files import load_arrays

    return from_arrays(load_arrays(data), str(data), names=("train",))["train"]


@cache
def contestant(name, data):
    """Make a contestant, once in a process."""
    return CONTESTANTS[name][1](*training_part(data))


SCORERS = {}
"""What each contestant of this process trained last."""


def time_training(name, data, epochs, activation):
    """Train; returns the seconds."""
    fit = contestant(name, data)
    began = time.perf_counter()
    SCORERS[name] = fit(epochs, activation)
    return time.perf_counter() - began


def time_scoring(name, data):
    """Score all training images with the network trained last; returns the seconds."""
    images = training_part(data)[0]
    began = time.perf_counter()
    SCORERS[name](images)
    return time.perf_counter() - began


def train_cell(data, epochs, activation, init):
    """Train one cell of the study's grid with the network from scratch."""
    ours(*training_part(data))(epochs, activation, init)
