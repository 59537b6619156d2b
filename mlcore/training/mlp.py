"""scikit-learn's multilayer perceptrons, with what the study needs and they do not offer.

Two things: losses after every epoch, which change nothing in the fit; and an end by Ctrl-C or
divergence that is an error.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier, MLPRegressor

Array = NDArray[Any]

Row = dict[str, float]
"""Metrics of one step, which its first key names and numbers: {"epoch": 3, "train_loss": ...}."""

METHODS = ("fit", "partial_fit", "warm_start")
"""Ways to train for `max_iter` epochs.

"fit" is one call. "partial_fit" is a call for each epoch: it keeps adam's state, and from an
integer random_state draws the same order of the samples in every call. "warm_start" is a call of
`fit` for each epoch, which begins with a new adam.
"""


@contextmanager
def whole_training() -> Iterator[None]:
    """Let scikit-learn's MLPs train as long as they were told to, or fail.

    The study asks for a number of epochs, so that not to have converged is no warning. Raises
    KeyboardInterrupt on Ctrl-C, which the MLPs catch to return half-trained as if they were done,
    and FloatingPointError when training diverges, as the network from scratch has it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            yield
        except UserWarning as warning:
            if "interrupted" not in str(warning):
                raise
            raise KeyboardInterrupt from warning
        except ValueError as error:
            if "non-finite parameter weights" not in str(error):
                raise
            raise FloatingPointError(
                "training diverged: scikit-learn found weights that are not finite; "
                "try a smaller learning_rate"
            ) from error


class _Observed:
    """Give metrics after every epoch of an MLP's training.

    `_update_no_improvement_count` is scikit-learn's own per-epoch hook, `_backprop` its pass over
    a batch. Both are private, so a test holds that they are called so and that the fit stays
    bit-identical.
    """

    evaluate: Callable[[Array, Array], dict[str, float]]
    """Computes the metrics that `history_` and the final metrics hold."""

    def fit(
        self,
        X: Array,
        y: Array,
        *,
        validation: tuple[Array, Array] | None = None,
        on_epoch: Callable[[Row], None] | None = None,
        method: str = "fit",
    ) -> Self:
        """Train as scikit-learn does, and fill `history_`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            float32 stays float32.
        y : ndarray
            Labels of shape (n_samples,) or targets of shape (n_samples, n_outputs).
        validation : tuple (X, y), optional
            Evaluated after every epoch.
        on_epoch : callable, optional
            Called after every epoch with its row of `history_`.
        method : {'fit', 'partial_fit', 'warm_start'}
            See `METHODS`.

        Raises
        ------
        KeyboardInterrupt, FloatingPointError
            As `whole_training` does.
        """
        self.history_: list[Row] = []
        self._n_seen = self._n_correct = 0
        self._validation, self._on_epoch = validation, on_epoch
        try:
            with whole_training():
                self._train(X, y, method)
        finally:
            del self._validation, self._on_epoch, self._n_seen, self._n_correct
        return self

    def _train(self, X: Array, y: Array, method: str) -> None:
        n_epochs = self.max_iter  # type: ignore[has-type]
        if method == "fit":
            super().fit(X, y)  # type: ignore[misc]
            if not self.history_:  # lbfgs has no epochs
                self.history_.append({"epoch": self.n_iter_, "train_loss": float(self.loss_)})  # type: ignore[attr-defined]
        elif method == "partial_fit":
            classes = {"classes": np.unique(y)} if isinstance(self, MLPClassifier) else {}
            for epoch in range(n_epochs):
                self.partial_fit(X, y, **(classes if epoch == 0 else {}))  # type: ignore[attr-defined]
        elif method == "warm_start":
            given = self.max_iter, self.warm_start  # type: ignore[has-type]
            self.max_iter, self.warm_start = 1, True
            try:
                for _ in range(n_epochs):
                    super().fit(X, y)  # type: ignore[misc]
            finally:
                self.max_iter, self.warm_start = given
        else:
            raise ValueError(f"method={method!r}: should be one of {', '.join(METHODS)}")

    def _update_no_improvement_count(self, *args: Any) -> None:
        super()._update_no_improvement_count(*args)  # type: ignore[misc]
        row: Row = {
            "epoch": len(self.loss_curve_),  # type: ignore[attr-defined]
            "train_loss": float(self.loss_curve_[-1]),  # type: ignore[attr-defined]
        }
        if self._n_seen:
            row["train_accuracy"] = self._n_correct / self._n_seen
        self._n_seen = self._n_correct = 0
        if self._validation is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # an error below
                values = self.evaluate(*self._validation)
            row |= {f"val_{name}": values[name] for name in ("loss", "accuracy") if name in values}
        for name, value in row.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"training diverged: {name} is {value} after epoch {row['epoch']}; "
                    "try a smaller learning_rate"
                )
        self.history_.append(row)
        if self._on_epoch is not None:
            self._on_epoch(row)


class ObservedMLPClassifier(_Observed, MLPClassifier):  # type: ignore[misc]
    """MLPClassifier with `history_`: losses and accuracies of every epoch.

    train_loss is scikit-learn's `loss_curve_`, cross-entropy plus its small L2 term. It and
    train_accuracy are means over the epoch's batches, each taken before its update.
    """

    def _backprop(
        self, X: Array, y: Array, sample_weight: Any, activations: Any, *args: Any
    ) -> Any:
        result = super()._backprop(X, y, sample_weight, activations, *args)
        scores = activations[-1]
        hits = (scores > 0.5) == y if y.shape[1] == 1 else scores.argmax(axis=1) == y.argmax(axis=1)
        self._n_correct += int(np.count_nonzero(hits))
        self._n_seen += len(y)
        return result

    def evaluate(self, X: Array, y: Array) -> dict[str, float]:
        """Compute cross-entropy (nats) and accuracy (fraction); NaN for weights that overflow."""
        probabilities = self.predict_proba(X)
        if not np.isfinite(probabilities).all():
            return {"loss": math.nan, "accuracy": math.nan}
        predicted = self.classes_[probabilities.argmax(axis=1)]
        return {
            "loss": float(log_loss(y, probabilities, labels=self.classes_)),
            "accuracy": float(accuracy_score(y, predicted)),
        }


class ObservedMLPRegressor(_Observed, MLPRegressor):  # type: ignore[misc]
    """MLPRegressor with `history_`: train_loss and val_loss of every epoch.

    The losses are in scikit-learn's unit, half the mean squared error; train_loss includes its L2
    term.
    """

    def evaluate(self, X: Array, y: Array) -> dict[str, float]:
        """Compute the loss and the mean squared error over samples and outputs, twice as much."""
        error = float(np.mean((self.predict(X).reshape(y.shape) - y) ** 2, dtype=np.float64))
        return {"loss": error / 2, "mse": error}


SKLEARN_NAMES = {
    "learning_rate": "learning_rate_init",
    "max_epochs": "max_iter",
    "seed": "random_state",
}
"""What scikit-learn calls the parameters that go by one name in all parts of the study."""


NOT_SKLEARN = ("method", "images", "divisor", "dtype", "early_stop")
"""Parameters of a training that are not the estimator's."""


def sklearn_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters of an MLP by the names scikit-learn has for them."""
    return {SKLEARN_NAMES.get(k, k): v for k, v in params.items() if k not in NOT_SKLEARN}
