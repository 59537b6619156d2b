"""The network as scikit-learn estimators."""

from collections.abc import Callable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_random_state, column_or_1d, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from mlcore.nn.activations import ACTIVATIONS, Array, softmax
from mlcore.nn.gradients import forward
from mlcore.nn.initializers import INITIALIZERS
from mlcore.nn.losses import LOSSES
from mlcore.nn.training import EVALUATION_BATCH, EarlyStopping, EpochStats, evaluate, train

FLOATS = (np.float64, np.float32)


class _Network(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share: parameters, training, scoring."""

    _loss: str
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "weight_init": [StrOptions(set(INITIALIZERS))],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "restore_best": ["boolean"],
        "on_epoch": [callable, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (256, 128, 64, 32),
        *,
        learning_rate: float = 0.02,
        activation: str = "relu",
        weight_init: str = "normal",
        max_epochs: int = 100,
        batch_size: int = 128,
        patience: int = 20,
        restore_best: bool = False,
        on_epoch: Callable[[EpochStats], None] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate = learning_rate
        self.activation = activation
        self.weight_init = weight_init
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.patience = patience
        self.restore_best = restore_best
        self.on_epoch = on_epoch
        self.random_state = random_state

    def __getstate__(self) -> dict[str, Any]:
        """Leave `on_epoch` out of pickles: it belongs to the process that trained."""
        return {**super().__getstate__(), "on_epoch": None}

    def _hidden_sizes(self) -> list[int]:
        sizes = np.atleast_1d(self.hidden_layer_sizes)
        if sizes.ndim != 1 or not sizes.size or sizes.dtype.kind not in "iu" or sizes.min() < 1:
            raise ValueError(
                f"hidden_layer_sizes must hold positive integers, got {self.hidden_layer_sizes!r}"
            )
        return [int(size) for size in sizes]

    def _fit(
        self, X: Array, y: NDArray[Any], n_outputs: int, validation: tuple[Array, Any] | None
    ) -> Self:
        """Initialise and train on checked arrays; `y` as the loss takes it."""
        # Separate streams: the initial weights do not depend on how the samples are shuffled
        entropy = check_random_state(self.random_state).randint(2**31, size=4).tolist()
        init_rng, shuffle_rng = np.random.default_rng(entropy).spawn(2)
        sizes = [X.shape[1], *self._hidden_sizes(), n_outputs]
        initialize = INITIALIZERS[self.weight_init]
        self.weights_ = [
            initialize(init_rng, fan_in, fan_out).astype(X.dtype, order="C")
            for fan_in, fan_out in pairwise(sizes)
        ]
        self.biases_ = [np.zeros(size, X.dtype) for size in sizes[1:]]
        self.history_: list[EpochStats] = []
        stopping = EarlyStopping(self.patience)
        best = None
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging loss is raised by train
            for stats in train(
                X,
                y,
                self.weights_,
                self.biases_,
                hidden=ACTIVATIONS[self.activation],
                loss=LOSSES[self._loss],
                learning_rate=float(self.learning_rate),  # a NumPy float would change the bits
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                rng=shuffle_rng,
                validation=validation,
            ):
                self.history_.append(stats)
                if self.on_epoch is not None:
                    self.on_epoch(stats)
                if stopping.improved(stats) and self.restore_best:
                    best = [W.copy() for W in self.weights_], [b.copy() for b in self.biases_]
                if stopping.exhausted(stats):
                    break
        if best is not None:
            self.weights_, self.biases_ = best
        self.n_epochs_ = len(self.history_)
        self.best_epoch_ = stopping.best_epoch or self.n_epochs_
        return self

    def _scores(self, X: ArrayLike) -> Array:
        """Compute the linear outputs for `X`, shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=FLOATS, reset=False)
        features = features.astype(self.weights_[0].dtype, copy=False)
        scores = np.empty((len(features), len(self.biases_[-1])), features.dtype)
        hidden = ACTIVATIONS[self.activation]
        for rows in gen_batches(len(features), EVALUATION_BATCH):
            scores[rows] = forward(features[rows], self.weights_, self.biases_, hidden)[-1]
        return scores

    def _checked(
        self, data: tuple[ArrayLike, ArrayLike] | None, dtype: Any
    ) -> tuple[Array, NDArray[Any]] | None:
        """Check a further data set against the one trained on; None stays None."""
        if data is None:
            return None
        features = validate_data(self, data[0], dtype=FLOATS, reset=False, order="C")
        y = check_array(data[1], ensure_2d=False, dtype=None)
        check_consistent_length(features, y)
        return features.astype(dtype, copy=False), y


class NeuralNetwork(ClassifierMixin, _Network):  # type: ignore[misc]
    """A fully connected classifier trained by plain mini-batch gradient descent.

    Hidden layers share one activation; the output is softmax with cross-entropy. After the
    `NeuralNetwork` class of the study (report, section 2.1), as a scikit-learn estimator.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(256, 128, 64, 32)
        Units of each hidden layer.
    learning_rate : float, default=0.02
        Step of the gradient descent on the mean loss of a batch.
    activation : {'sigmoid', 'tanh', 'relu', 'leaky_relu', 'softmax', 'identity'}, default='relu'
    weight_init : {'zero', 'random', 'normal', 'he', 'xavier'}, default='normal'
        See `mlcore.nn.initializers`.
    max_epochs : int, default=100
    batch_size : int, default=128
    patience : int, default=20
        With a validation set, training stops when its loss has reached no new minimum for this
        many epochs.
    restore_best : bool, default=False
        End with the weights of the epoch of lowest validation loss instead of the last ones.
    on_epoch : callable, optional
        Called with the `EpochStats` of every epoch, for progress; not kept in pickles.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and, in a stream of its own, the order of the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    weights_ : list of ndarrays of shape (fan_in, fan_out)
        In the dtype of the training data, float32 or float64.
    biases_ : list of ndarrays of shape (fan_out,)
    history_ : list of EpochStats
    n_epochs_ : int
        Epochs trained.
    best_epoch_ : int
        Epoch of the lowest validation loss; the last one without a validation set.
    n_features_in_ : int
    """

    _loss = "cross_entropy"

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
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

        Returns
        -------
        self : NeuralNetwork

        Raises
        ------
        ValueError
            For parameters out of range, data that is not finite or not two-dimensional, or
            validation labels that the training labels do not have.
        FloatingPointError
            When training diverges.
        """
        self._validate_params()
        features, given_labels = validate_data(self, X, y, dtype=FLOATS, order="C")
        check_classification_targets(given_labels)
        self.classes_, labels = np.unique(given_labels, return_inverse=True)
        checked = self._checked(validation, features.dtype)
        if checked is not None:
            checked = checked[0], self._encode(checked[1])
        return self._fit(features, labels, len(self.classes_), checked)

    def _encode(self, y: NDArray[Any]) -> NDArray[np.intp]:
        """Give the indices of labels in `classes_`."""
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(f"there are labels unknown to training: {unknown.tolist()}")
        return np.searchsorted(self.classes_, y)

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
        features, labels = self._checked((X, y), self.weights_[0].dtype)  # type: ignore[misc]
        hidden, loss = ACTIVATIONS[self.activation], LOSSES[self._loss]
        figures = evaluate(
            features, self._encode(labels), self.weights_, self.biases_, hidden, loss
        )
        return dict(zip(("loss", "accuracy"), figures, strict=True))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Compute the probability of each class, shape (n_samples, n_classes)."""
        scores = self._scores(X)
        softmax(scores)
        return scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the class label of each row of `X`, shape (n_samples,)."""
        scores = self._scores(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels


def _as_columns(y: NDArray[Any], dtype: Any) -> Array:
    """Give targets as (n_samples, n_outputs) of a dtype."""
    return y.reshape(len(y), -1).astype(dtype, copy=False)


class NeuralNetworkRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """The same network with a linear output, trained on the mean squared error.

    Parameters and attributes are those of `NeuralNetwork`, without `classes_`. Only the defaults
    differ: targets have no natural scale, so steps are smaller and tanh bounds the hidden outputs.
    Targets may have one output or several.
    """

    _loss = "squared_error"

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (256, 128, 64, 32),
        *,
        learning_rate: float = 0.001,
        activation: str = "tanh",
        weight_init: str = "he",
        max_epochs: int = 100,
        batch_size: int = 128,
        patience: int = 20,
        restore_best: bool = False,
        on_epoch: Callable[[EpochStats], None] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            learning_rate=learning_rate,
            activation=activation,
            weight_init=weight_init,
            max_epochs=max_epochs,
            batch_size=batch_size,
            patience=patience,
            restore_best=restore_best,
            on_epoch=on_epoch,
            random_state=random_state,
        )

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Train on `X` (n_samples, n_features) and `y` (n_samples,) or (n_samples, n_outputs).

        `validation`, return value and errors are those of `NeuralNetwork.fit`.
        """
        self._validate_params()
        features, given_targets = validate_data(
            self, X, y, dtype=FLOATS, order="C", multi_output=True, y_numeric=True
        )
        if given_targets.ndim == 2 and given_targets.shape[1] == 1:
            given_targets = column_or_1d(given_targets, warn=True)
        self._y_ndim = given_targets.ndim
        targets = _as_columns(given_targets, features.dtype)
        checked = self._checked(validation, features.dtype)
        if checked is not None:
            checked = checked[0], _as_columns(checked[1], features.dtype)
            if checked[1].shape[1] != targets.shape[1]:
                raise ValueError(
                    f"validation has {checked[1].shape[1]} outputs, training {targets.shape[1]}"
                )
        return self._fit(features, targets, targets.shape[1], checked)

    def predict(self, X: ArrayLike) -> Array:
        """Predict the targets of each row of `X`, in the shape of the training targets."""
        scores = self._scores(X)
        return scores[:, 0] if self._y_ndim == 1 else scores
