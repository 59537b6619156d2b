"""The contestants: each trains the study's network, 784-256-128-64-32-10, by plain SGD.

All take float32 images and integer labels, batches of 128 in a new random order every epoch, and
do what a user of the library would write. A contestant imports its library when it is made, and
has `fit`, which trains from new weights and returns when that is done, and `predict_proba`, which
scores with the network trained last.
"""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

HIDDEN = (256, 128, 64, 32)
N_CLASSES = 10
BATCH = 128
LEARNING_RATE = 0.02


class Ours:
    """`mlcore.nn.NeuralNetwork`."""

    library = "numpy"

    def __init__(self, X, y, hidden=HIDDEN):
        from mlcore.nn import NeuralNetwork

        self.make, self.X, self.y, self.hidden = NeuralNetwork, X, y, hidden

    def build(self, epochs, activation="relu", init="normal"):
        """Make an untrained network."""
        return self.make(
            self.hidden,
            activation=activation,
            weight_init=init,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH,
            max_epochs=epochs,
            random_state=0,
        )

    def fit(self, epochs, activation="relu", init="normal"):
        """Train from new weights."""
        self.model = self.build(epochs, activation, init).fit(self.X, self.y)

    def predict_proba(self, X):
        """Compute probabilities with the network trained last."""
        return self.model.predict_proba(X)


class OursWithoutZeros(Ours):
    """Ours on images that are zero nowhere, so that nothing can be left out."""

    def __init__(self, X, y, hidden=HIDDEN):
        super().__init__(X + np.float32(0.01), y, hidden)


class BareProducts:
    """The 14 matrix products of every batch and nothing else: the floor.

    Five forward, five gradients of the weights and four deltas, each with all 784 columns of the
    images, on arrays that lie ready.
    """

    library = "numpy"

    def __init__(self, X, y, hidden=HIDDEN):
        rng = np.random.default_rng(0)
        self.sizes = [X.shape[1], *hidden, N_CLASSES]
        whole, left_over = divmod(len(X), BATCH)
        self.batches = [BATCH] * whole + [left_over] * bool(left_over)
        self.weights = [rng.random(shape, np.float32) for shape in pairwise(self.sizes)]
        self.gradients = [np.empty_like(W) for W in self.weights]
        shapes = [(BATCH, size) for size in self.sizes]
        self.outputs = [rng.random(shape, np.float32) for shape in shapes]
        self.deltas = [rng.random(shape, np.float32) for shape in shapes]
        self.results = [np.empty(shape, np.float32) for shape in shapes]

    def fit(self, epochs, activation="relu", init="normal"):
        """Compute the products of so many epochs, whatever the activation."""
        layers = range(len(self.weights))
        for _ in range(epochs):
            for n in self.batches:
                outputs, deltas, results = (
                    [array[:n] for array in arrays]
                    for arrays in (self.outputs, self.deltas, self.results)
                )
                for i in layers:
                    np.matmul(outputs[i], self.weights[i], out=results[i + 1])
                for i in layers[:0:-1]:
                    np.matmul(deltas[i + 1], self.weights[i].T, out=results[i])
                for i in layers[::-1]:
                    np.matmul(outputs[i].T, deltas[i + 1], out=self.gradients[i])


class ScikitLearn:
    """`sklearn.neural_network.MLPClassifier` in float32."""

    library = "sklearn"
    dtype = np.float32

    def __init__(self, X, y, hidden=HIDDEN):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        warnings.simplefilter("ignore", ConvergenceWarning)
        self.make, self.X, self.y, self.hidden = MLPClassifier, X.astype(self.dtype), y, hidden

    def fit(self, epochs, activation="relu", init="normal"):
        """Train from new weights; it has no leaky ReLU, and one scheme of initial weights."""
        names = {"sigmoid": "logistic", "leaky_relu": "relu"}
        self.model = self.make(
            self.hidden,
            activation=names.get(activation, activation),
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
        ).fit(self.X, self.y)

    def predict_proba(self, X):
        """Compute probabilities with the network trained last."""
        return self.model.predict_proba(X)


class ScikitLearnFloat64(ScikitLearn):
    """The same in float64, as which NumPy's data come by default."""

    dtype = np.float64


class PyTorch:
    """PyTorch, eager."""

    library = "torch"

    def __init__(self, X, y, hidden=HIDDEN):
        import torch

        self.torch, self.hidden = torch, hidden
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))

    def fit(self, epochs, activation="relu", init="normal"):
        """Train from new weights."""
        torch, nn = self.torch, self.torch.nn
        kinds = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU}
        layers = []
        for fan_in, fan_out in pairwise([self.X.shape[1], *self.hidden, N_CLASSES]):
            layers += [nn.Linear(fan_in, fan_out), kinds.get(activation, nn.ReLU)()]
        self.model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        for _ in range(epochs):
            for chosen in torch.randperm(len(self.X)).split(BATCH):
                optimizer.zero_grad()
                scores = self.model(self.X[chosen])
                nn.functional.cross_entropy(scores, self.y[chosen]).backward()
                optimizer.step()

    def predict_proba(self, X):
        """Compute probabilities with the network trained last."""
        with self.torch.no_grad():
            return self.model(self.torch.from_numpy(X)).softmax(dim=1).numpy()


class Jax:
    """JAX: an epoch is one compiled function that scans the batches."""

    library = "jax"

    def __init__(self, X, y, hidden=HIDDEN):
        import jax

        self.jax, self.hidden = jax, hidden
        self.X, self.y = jax.numpy.asarray(X), jax.numpy.asarray(y.astype(np.int32))
        self.compiled = {}

    def _functions(self, activation):
        jax, jnp, X, y = self.jax, self.jax.numpy, self.X, self.y
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

    def fit(self, epochs, activation="relu", init="normal"):
        """Train from new weights; compiled at the first call for an activation."""
        if activation not in self.compiled:
            self.compiled[activation] = self._functions(activation)
        epoch, self.proba = self.compiled[activation]
        rng, sizes = np.random.default_rng(0), [self.X.shape[1], *self.hidden, N_CLASSES]
        as_array = self.jax.numpy.asarray
        params = [
            (
                as_array(rng.normal(0.0, (2.0 / fan_out) ** 0.5, (fan_in, fan_out)), np.float32),
                as_array(np.zeros(fan_out), np.float32),
            )
            for fan_in, fan_out in pairwise(sizes)
        ]
        for number in range(epochs):
            params = epoch(params, self.jax.random.key(number))
        self.jax.block_until_ready(params)
        self.params = params

    def predict_proba(self, X):
        """Compute probabilities with the network trained last."""
        return np.asarray(self.proba(self.params, X))


CONTESTANTS: dict[str, Callable[..., Any]] = {
    "bare products": BareProducts,
    "ours": Ours,
    "ours, images without zeros": OursWithoutZeros,
    "JAX jit": Jax,
    "PyTorch eager": PyTorch,
    "MLPClassifier float32": ScikitLearn,
    "MLPClassifier float64": ScikitLearnFloat64,
}
