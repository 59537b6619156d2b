"""The network as a scikit-learn estimator."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, column_or_1d, gen_batches
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from mlcore.nn.activations import ACTIVATIONS, Array, softmax
from mlcore.nn.diagnostics import PROBE_SIZE, diagnose
from mlcore.nn.gradients import forward
from mlcore.nn.initializers import INITIALIZERS
from mlcore.nn.losses import cross_entropy
from mlcore.nn.threads import one_blas_thread
from mlcore.nn.training import EVALUATION_BATCH, FLOATS, EpochStats, evaluate, train

EpochRow = dict[str, float]
"""One epoch's metrics: "epoch", "train_loss" and what else there is of `EpochStats`."""


class NeuralNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fully connected classifier trained by plain mini-batch gradient descent.

    Hidden layers share one activation; the output is softmax with cross-entropy. After the
    `NeuralNetwork` class of the study (report, section 2.1), as a scikit-learn estimator. Not
    offered: partial_fit, warm_start, sample_weight, sparse X, multilabel y.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(256, 128, 64, 32)
        Units of each hidden layer.
    learning_rate : float, default=0.02
        Step of the gradient descent on the mean loss of a batch.
    activation : {'sigmoid', 'tanh', 'relu', 'leaky_relu', 'softmax', 'identity'}, default='relu'
    weight_init : {'zero', 'random', 'random_normal', 'normal', 'he', 'xavier'}, default='normal'
        See `mlcore.nn.initializers`.
    bias_init : {'zero', 'random', ..., 'xavier', 'weights'}, default='zero'
        How the hidden layers' biases begin: as one of `weight_init` does, or 'weights': as the
        weights do, as in the study's code. The output layer's begin with zero.
    init_scale : float, default=1.0
        Initial weights, and biases that begin as they do, are multiplied by it.
    max_epochs : int, default=100
    batch_size : int, default=128
    patience : int or None, default=20
        With a validation set, training stops when its loss has reached no new minimum for this
        many epochs; None never stops it, as in the study's code.
    restore_best : bool, default=False
        End with the weights of the epoch of lowest validation loss instead of the last ones.
    diagnostics : bool, default=False
        Add to every row of `history_` what explains the course of the training
        (`mlcore.nn.diagnostics.diagnose`, on the first 1,000 samples).
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and, in a stream of its own, the order of the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    weights_ : list of ndarrays of shape (fan_in, fan_out)
        In the dtype of the training data, float32 or float64.
    biases_ : list of ndarrays of shape (fan_out,)
    history_ : list of dict
        One row per epoch: "epoch"; "train_loss" and "train_accuracy", means over the epoch's
        batches, each taken before its update; with a validation set "val_loss" and
        "val_accuracy"; diagnostics if asked for.
    n_epochs_ : int
        Epochs trained.
    best_epoch_ : int
        Epoch of the lowest validation loss; the last one without a validation set.
    n_features_in_ : int
    """

    weights_: list[Array]
    biases_: list[Array]
    history_: list[EpochRow]
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "weight_init": [StrOptions(set(INITIALIZERS))],
        "bias_init": [StrOptions({*INITIALIZERS, "weights"})],
        "init_scale": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "restore_best": ["boolean"],
        "diagnostics": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (256, 128, 64, 32),
        *,
        learning_rate: float = 0.02,
        activation: str = "relu",
        weight_init: str = "normal",
        bias_init: str = "zero",
        init_scale: float = 1.0,
        max_epochs: int = 100,
        batch_size: int = 128,
        patience: int | None = 20,
        restore_best: bool = False,
        diagnostics: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate = learning_rate
        self.activation = activation
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.init_scale = init_scale
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
        self.restore_best = restore_best
        self.diagnostics = diagnostics
        self.random_state = random_state

    @one_blas_thread()
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> Self:
        """Train on `X` and `y` from new initial weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 and float64 are trained in as they are; other types become float64.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        validation : tuple (X, y), optional
            Evaluated after every epoch, and what `patience` watches.
        on_epoch : callable, optional
            Called after every epoch with its row of `history_`.

        Returns
        -------
        self : NeuralNetwork

        Raises
        ------
        ValueError
            For parameters out of range, data that is not finite or not two-dimensional, or
            validation labels that the training labels do not have.
        FloatingPointError
            When training diverges. After any error the estimator is as it was before.
        """
        with self._all_or_nothing():
            hidden_sizes = self._check_parameters()
            features, given_labels = validate_data(self, X, y, dtype=FLOATS, order="C")
            check_classification_targets(given_labels)
            self.classes_, labels = np.unique(given_labels, return_inverse=True)
            checked = None
            if validation is not None:
                checked = self._checked(*_pair(validation), features.dtype)
            sizes = [features.shape[1], *hidden_sizes, len(self.classes_)]
            self._train(features, labels, sizes, checked, on_epoch)
        return self

    @one_blas_thread()
    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """Compute the mean cross-entropy (nats) and the accuracy (fraction) on a data set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Returns
        -------
        dict
            "loss" and "accuracy", as `history_` has them for the validation set.

        Raises
        ------
        ValueError
            For data that is not finite or does not fit, or labels unknown to training.
        """
        check_is_fitted(self)
        features, labels = self._checked(X, y, self.weights_[0].dtype)
        hidden = ACTIVATIONS[self.activation]
        values = evaluate(features, labels, self.weights_, self.biases_, hidden, cross_entropy)
        return dict(zip(("loss", "accuracy"), values, strict=True))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Compute the probability of each class, shape (n_samples, n_classes)."""
        scores = self._scores(X)
        softmax(scores)
        return scores

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Compute the logarithm of each class's probability, shape (n_samples, n_classes)."""
        scores = self._scores(X)
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the class label of each row of `X`, shape (n_samples,)."""
        scores = self._scores(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def _check_parameters(self) -> list[int]:
        """Check all parameters; returns the units of each hidden layer."""
        self._validate_params()
        sizes = np.atleast_1d(self.hidden_layer_sizes)
        if sizes.dtype.kind not in "iu" or sizes.ndim > 1 or min(sizes, default=0) < 1:
            raise InvalidParameterError(
                "The 'hidden_layer_sizes' parameter must hold positive integers, "
                f"got {self.hidden_layer_sizes!r}"
            )
        return [int(size) for size in sizes]

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Leave the estimator as it was if the block fails."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def _train(
        self,
        X: Array,
        y: NDArray[np.intp],
        sizes: list[int],
        validation: tuple[Array, NDArray[np.intp]] | None,
        on_epoch: Callable[[EpochRow], None] | None,
    ) -> None:
        """Initialise layers of these sizes and train them on checked arrays."""
        rng = self._initialize(sizes, X.dtype)
        epochs = train(
            X,
            y,
            self.weights_,
            self.biases_,
            hidden=ACTIVATIONS[self.activation],
            loss=cross_entropy,
            learning_rate=float(self.learning_rate),  # a NumPy float would change the bits
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            rng=rng,
            validation=validation,
        )
        # A loss that overflows is raised by train
        with np.errstate(over="ignore", invalid="ignore"):
            self._follow(epochs, (X[:PROBE_SIZE], y[:PROBE_SIZE]), on_epoch)

    def _follow(
        self,
        epochs: Iterator[EpochStats],
        probe: tuple[Array, NDArray[np.intp]],
        on_epoch: Callable[[EpochRow], None] | None,
    ) -> None:
        """Train epoch by epoch until the last, or until patience ends; note what they give."""
        hidden = ACTIVATIONS[self.activation]
        patience = math.inf if self.patience is None else self.patience
        best, best_loss, best_epoch = None, math.inf, 0
        self.history_ = []
        for stats in epochs:
            # What there is none of without a validation set is NaN
            row = {name: value for name, value in stats._asdict().items() if not math.isnan(value)}
            if self.diagnostics:
                row |= diagnose(*probe, self.weights_, self.biases_, hidden, cross_entropy)
            self.history_.append(row)
            if on_epoch is not None:
                on_epoch(row)
            if stats.val_loss < best_loss:
                best_loss, best_epoch = stats.val_loss, stats.epoch
                if self.restore_best:
                    best = [W.copy() for W in self.weights_], [b.copy() for b in self.biases_]
            if "val_loss" in row and stats.epoch - best_epoch >= patience:
                break
        if best is not None:
            self.weights_, self.biases_ = best
        self.n_epochs_ = len(self.history_)
        self.best_epoch_ = best_epoch or self.n_epochs_

    def _initialize(self, sizes: list[int], dtype: Any) -> np.random.Generator:
        """Draw initial weights for layers of these sizes; returns what draws the samples' order."""
        # Separate streams: the initial weights do not depend on how the samples are shuffled
        entropy = check_random_state(self.random_state).randint(2**31, size=4).tolist()
        init_rng, shuffle_rng, bias_rng = np.random.default_rng(entropy).spawn(3)
        as_weights = self.bias_init == "weights"
        initialize = INITIALIZERS[self.weight_init]
        initialize_bias = initialize if as_weights else INITIALIZERS[self.bias_init]
        layers = list(pairwise(sizes))
        weights = [initialize(init_rng, *layer) * self.init_scale for layer in layers]
        # One row of a layer's weights, so that its scale is theirs
        biases = [initialize_bias(bias_rng, *layer)[0] for layer in layers[:-1]]
        if as_weights:
            biases = [b * self.init_scale for b in biases]
        self.weights_ = [W.astype(dtype, order="C") for W in weights]
        self.biases_ = [b.astype(dtype) for b in (*biases, np.zeros(sizes[-1]))]
        return shuffle_rng

    @one_blas_thread()
    def _scores(self, X: ArrayLike) -> Array:
        """Compute the linear outputs for `X`, shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=FLOATS, reset=False)
        features = _cast(features, self.weights_[0].dtype)
        scores = np.empty((len(features), len(self.biases_[-1])), features.dtype)
        hidden = ACTIVATIONS[self.activation]
        for rows in gen_batches(len(features), EVALUATION_BATCH):
            scores[rows] = forward(features[rows], self.weights_, self.biases_, hidden)[-1]
        return scores

    def _checked(self, X: ArrayLike, y: ArrayLike, dtype: Any) -> tuple[Array, NDArray[np.intp]]:
        """Check a further data set against the one trained on; `y` as indices in `classes_`."""
        features = validate_data(self, X, dtype=FLOATS, reset=False, order="C")
        labels = check_array(y, ensure_2d=False, dtype=None)
        check_consistent_length(features, labels)
        features = _cast(features, dtype)
        labels = column_or_1d(labels, warn=True)
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise ValueError(f"there are labels unknown to training: {unknown.tolist()}")
        return features, np.searchsorted(self.classes_, labels)


def _cast(X: Array, dtype: Any) -> Array:
    """Give features in the network's dtype, or raise ValueError if one is beyond its range."""
    with np.errstate(over="ignore"):
        cast: Array = X.astype(dtype, copy=False)
    if cast is not X and not np.isfinite(cast).all():
        raise ValueError(f"X has values beyond the range of {dtype}, the network's dtype")
    return cast


def _pair(validation: Any) -> tuple[ArrayLike, ArrayLike]:
    """Take a validation set apart."""
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise ValueError("validation should be a tuple (X, y)")
    return validation[0], validation[1]
