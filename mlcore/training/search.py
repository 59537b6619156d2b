"""A grid search that is watched fit by fit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.neural_network import MLPClassifier

from mlcore.training.mlp import Array, ObservedMLPClassifier, Row, sklearn_arguments, whole_training


def distinct(candidates: Sequence[Mapping[str, Any]]) -> list[int]:
    """Give for each candidate the place of the first that is fitted alike.

    lbfgs takes all samples at once and finds its own steps: its candidates are all the same.
    """
    lbfgs = [place for place, c in enumerate(candidates) if c["solver"] == "lbfgs"]
    return [lbfgs[0] if place in lbfgs else place for place in range(len(candidates))]


def n_fits(grid: Mapping[str, Sequence[Any]], cv: int) -> int:
    """Count the fits of a search."""
    return len(set(distinct(list(ParameterGrid(grid))))) * cv


@contextmanager
def _named(part: str, candidate: Mapping[str, Any]) -> Iterator[None]:
    """Say in the message of a divergence in the block in which part, and with what parameters."""
    try:
        yield
    except FloatingPointError as error:
        parameters = ", ".join(f"{name} {value}" for name, value in candidate.items())
        raise FloatingPointError(f"{error} (in the {part}, at {parameters})") from error


def _fit_fold(
    place: tuple[int, int], candidate: Any, model: Any, X: Array, y: Array, train: Any, test: Any
) -> tuple[tuple[int, int], tuple[float, float, float]]:
    """Fit on one fold; returns its place, accuracy on the rest, and when it started and ended."""
    started = time.time()
    with _named("search", candidate), whole_training():
        model.fit(X[train], y[train])
    return place, (float(model.score(X[test], y[test])), started, time.time())


class GridSearch:
    """Cross-validated grid search of MLPClassifier on all cores that joblib may use.

    Finds what GridSearchCV finds with the same stratified folds, and tells of every fit as it
    ends. Candidates that are the same are fitted once. A candidate that diverges ends the search,
    where GridSearchCV would rank it last.

    Parameters
    ----------
    estimator : ObservedMLPClassifier
        Unfitted, with the parameters that all candidates share.
    grid : dict of str to list
        "solver", "learning_rate" and "batch_size".
    cv : int
        Folds.
    fold_seed : int or None
        None makes the folds in the order of the samples; a seed shuffles the samples first.

    Attributes
    ----------
    candidates_ : list of dict
        One row per candidate, the best first: its parameters, "rank", "mean_accuracy",
        "std_accuracy" and "fold_1" ... of the folds' accuracies.
    times_ : list of (float, float)
        When the first fit of each candidate started and its last one ended, in seconds since 1970.
    best_ : ObservedMLPClassifier
        The best candidate, refitted on all of the data.
    """

    def __init__(
        self,
        estimator: ObservedMLPClassifier,
        grid: dict[str, list[Any]],
        cv: int,
        fold_seed: int | None = None,
    ) -> None:
        self.estimator, self.grid, self.cv, self.fold_seed = estimator, grid, cv, fold_seed

    def fit(
        self,
        X: Array,
        y: Array,
        *,
        validation: None = None,
        on_epoch: Callable[[Row], None] | None = None,
    ) -> Self:
        """Search, then refit the best candidate; there is no validation set, but the folds are.

        `on_epoch` is called after every fit with {"fit": number of fits done}, then after every
        epoch of the refit. Raises what `whole_training` does; the message names the candidate that
        diverged.
        """
        candidates = list(ParameterGrid(self.grid))
        alike = distinct(candidates)
        results = np.empty((len(candidates), self.cv, 3))
        fits = self._fits(candidates, set(alike), X, y)
        for done, (place, outcome) in enumerate(fits, start=1):
            results[place] = outcome
            if on_epoch is not None:
                on_epoch({"fit": done})
        results = results[alike]
        accuracies = results[..., 0]
        means = accuracies.mean(axis=1)
        ranks = rankdata(-means, method="min")
        best_first = np.argsort(ranks, kind="stable")  # of equals the first of the grid
        self.candidates_ = [
            {
                **candidates[i],
                "rank": int(ranks[i]),
                "mean_accuracy": float(means[i]),
                "std_accuracy": float(accuracies[i].std()),
                **{f"fold_{k}": float(a) for k, a in enumerate(accuracies[i], start=1)},
            }
            for i in best_first
        ]
        self.times_ = [
            (float(results[i, :, 1].min()), float(results[i, :, 2].max())) for i in best_first
        ]
        best = candidates[best_first[0]]
        model = clone(self.estimator).set_params(**sklearn_arguments(best))
        with _named("refit", best):
            self.best_ = model.fit(X, y, on_epoch=on_epoch)
        return self

    def _fits(
        self, candidates: Sequence[Mapping[str, Any]], places: set[int], X: Array, y: Array
    ) -> Iterator[tuple[tuple[int, int], Any]]:
        """Fit those at `places` on every fold; yields what `_fit_fold` gives, in any order."""
        # The folds' fits are not observed, so the plain class does; its bits are the same
        shared = self.estimator.get_params()
        models = [MLPClassifier(**(shared | sklearn_arguments(c))) for c in candidates]
        shuffle = self.fold_seed is not None
        splitter = StratifiedKFold(self.cv, shuffle=shuffle, random_state=self.fold_seed)
        folds = list(splitter.split(X, y))
        # A search that runs beside others has its own core alone; joblib would use threads
        beside_others = get_active_backend()[0].nesting_level > 0
        yield from Parallel(1 if beside_others else -1, return_as="generator_unordered")(
            delayed(_fit_fold)((i, k), candidates[i], models[i], X, y, *fold)
            for i in sorted(places)
            for k, fold in enumerate(folds)
        )

    @property
    def history_(self) -> list[Row]:
        """The epochs of the refit."""
        rows: list[Row] = self.best_.history_
        return rows

    def evaluate(self, X: Array, y: Array) -> dict[str, float]:
        """Evaluate the refitted model."""
        values: dict[str, float] = self.best_.evaluate(X, y)
        return values
