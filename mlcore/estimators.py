"""scikit-learn's multilayer perceptrons, with what the study needs and they do not offer.

Two things: the validation loss after every epoch, which changes nothing in the fit, and a grid
search whose longest fits start first, so that no core idles at its end.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.neural_network import MLPClassifier, MLPRegressor

Array = NDArray[Any]


class _ValidationCurve:
    """Evaluate a validation set after every epoch of an MLP's `fit`.

    `_update_no_improvement_count` is scikit-learn's own per-epoch hook. It is private, so a test
    holds that it is called once per epoch and that the fit stays bit-identical.
    """

    def fit(self, X: Array, y: Array, *, validation: tuple[Array, Array] | None = None) -> Self:
        """Fit as scikit-learn does, and fill `history_`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            float32 stays float32.
        y : ndarray
            Labels of shape (n_samples,) or targets of shape (n_samples, n_outputs).
        validation : tuple (X, y), optional
        """
        self.history_: list[dict[str, float]] = []
        self._validation = validation
        try:
            return super().fit(X, y)  # type: ignore[misc, no-any-return]
        finally:
            del self._validation

    def _update_no_improvement_count(self, *args: Any) -> None:
        super()._update_no_improvement_count(*args)  # type: ignore[misc]
        row = {"epoch": len(self.loss_curve_), "train_loss": float(self.loss_curve_[-1])}  # type: ignore[attr-defined]
        if self._validation is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # an error below
                figures = self.evaluate(*self._validation)
            row |= {f"val_{name}": value for name, value in figures.items()}
        for name, value in row.items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"training diverged: {name} is {value} after epoch {row['epoch']}; "
                    "try a smaller learning_rate"
                )
        self.history_.append(row)

    def evaluate(self, X: Array, y: Array) -> dict[str, float]:
        """Compute the figures that `history_` and the final metrics hold."""
        raise NotImplementedError


class ValidatedMLPClassifier(_ValidationCurve, MLPClassifier):  # type: ignore[misc]
    """MLPClassifier with `history_`: train_loss, val_loss and val_accuracy per epoch.

    train_loss is scikit-learn's `loss_curve_`: cross-entropy plus its small L2 term.
    """

    def evaluate(self, X: Array, y: Array) -> dict[str, float]:
        """Compute cross-entropy (nats) and accuracy (fraction)."""
        probabilities = self.predict_proba(X)
        predicted = self.classes_[probabilities.argmax(axis=1)]
        return {
            "loss": float(log_loss(y, probabilities, labels=self.classes_)),
            "accuracy": float(accuracy_score(y, predicted)),
        }


class ValidatedMLPRegressor(_ValidationCurve, MLPRegressor):  # type: ignore[misc]
    """MLPRegressor with `history_`: train_loss, val_loss and val_mse per epoch.

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


def sklearn_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters of an MLP by the names scikit-learn has for them."""
    return {SKLEARN_NAMES.get(name, name): value for name, value in params.items()}


Model = TypeVar("Model", ValidatedMLPClassifier, ValidatedMLPRegressor)


@contextmanager
def whole_training() -> Iterator[None]:
    """Let scikit-learn's MLPs train as long as they were told to, or fail.

    The study asks for a number of epochs, so that not to have converged is no warning.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. The MLPs catch it, warn, and return half-trained as if they were done.
    FloatingPointError
        When training diverges, as the network from scratch has it.
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


def fit_and_evaluate(
    model: Model, parts: Mapping[str, tuple[Array, Array]]
) -> tuple[Model, dict[str, float]]:
    """Fit an MLP and evaluate it on every part.

    Parameters
    ----------
    model : ValidatedMLPClassifier or ValidatedMLPRegressor
        Unfitted; fitted in place.
    parts : mapping of str to (X, y)
        "train" is fitted, "val" evaluated after every epoch.

    Returns
    -------
    model
    metrics : dict
        "n_epochs", and "{part}_{figure}" for every part and figure of ``model.evaluate``.
    """
    with whole_training():
        model.fit(*parts["train"], validation=parts["val"])
    metrics = {"n_epochs": model.n_iter_}
    for part, (X, y) in parts.items():
        metrics |= {f"{part}_{figure}": v for figure, v in model.evaluate(X, y).items()}
    return model, metrics


class SearchResult(NamedTuple):
    """Outcome of a grid search.

    Attributes
    ----------
    candidates : list of dict
        One row per candidate, the best first: its parameters, "rank", "mean_accuracy",
        "std_accuracy" and "fold_accuracies" (list of float, in the order of the folds).
    best_params : dict
    best_model : MLPClassifier
        Refitted on all of the data.
    """

    candidates: list[dict[str, Any]]
    best_params: dict[str, Any]
    best_model: MLPClassifier


def longest_first(grid: dict[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """Order the candidates of a grid by the time their fits take, the longest first.

    Small batches mean more updates, small learning rates later convergence, and adam's update
    costs more than sgd's.

    Returns
    -------
    list of dict
        One single-candidate grid per candidate, as GridSearchCV takes them.
    """
    candidates = sorted(
        ParameterGrid(grid),
        key=lambda c: (c["batch_size"], c["learning_rate_init"], c["solver"] != "adam"),
    )
    return [{name: [value] for name, value in candidate.items()} for candidate in candidates]


def grid_search(
    model: MLPClassifier, grid: dict[str, list[Any]], X: Array, y: Array, *, cv: int
) -> SearchResult:
    """Search a grid by cross-validated accuracy, on all cores that joblib may use.

    Parameters
    ----------
    model : MLPClassifier
        Unfitted, with the parameters all candidates share.
    grid : dict
        Lists for "solver", "learning_rate_init" and "batch_size".
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    cv : int
        Folds; stratified, not shuffled (scikit-learn's default for classifiers).

    Returns
    -------
    SearchResult

    Raises
    ------
    KeyboardInterrupt, FloatingPointError
        As `whole_training` does.
    """
    with whole_training():
        search = GridSearchCV(
            model,
            longest_first(grid),
            cv=cv,
            n_jobs=-1,
            error_score="raise",  # else an interrupted fit would count as a bad candidate
            verbose=2,
        ).fit(X, y)
    results = search.cv_results_
    candidates = [
        {
            **params,
            "rank": int(results["rank_test_score"][i]),
            "mean_accuracy": float(results["mean_test_score"][i]),
            "std_accuracy": float(results["std_test_score"][i]),
            "fold_accuracies": [float(results[f"split{k}_test_score"][i]) for k in range(cv)],
        }
        for i, params in enumerate(results["params"])
    ]
    candidates.sort(key=lambda row: row["rank"])  # stable: ties stay in a fixed order
    return SearchResult(candidates, search.best_params_, search.best_estimator_)
