"""An observed training: fit, evaluate, write the files, and tell whoever watches.

A stage says *what* is trained, as a `Training`. `run` does the rest, the same way for the network
from scratch, scikit-learn's MLPs and the grid search.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcore.errors import one_line
from mlcore.files import write_json, write_table

log = logging.getLogger(__name__)

Row = Mapping[str, float]
Output = Callable[[str], Path]
"""Gives the path to write a result to, by its path in dvc.yaml."""


@dataclass(frozen=True)
class Dataset:
    """Where the data of a training come from."""

    name: str
    path: Path  # of the file; its MD5, as in dvc.lock, is the digest


@dataclass(frozen=True)
class Candidate:
    """One candidate of a search, a run of its own in the tracker."""

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    started: float  # seconds since 1970
    ended: float


@dataclass(frozen=True)
class Training:
    """What a stage trains.

    The estimator, unfitted, has ``fit(X, y, validation=(X, y) or None, on_epoch=callable)``,
    ``evaluate(X, y)`` and ``history_``.
    """

    part: str  # of the study: folder of the results, and MLflow experiment
    name: str  # of the run and of its files
    estimator: Any
    n_steps: int  # epochs, or fits of a search, at most
    data: Mapping[str, tuple[Any, Any]]  # X and y of "train", of "val" if there is one, of "test"
    dataset: Dataset
    params: Mapping[str, Any]  # for the tracker, by names that all parts share (metrics/README.md)
    save_model: Callable[[Path, Any], None]  # ``save_model(path, estimator)``
    model_suffix: str
    # Of the fitted estimator: further final metrics, rows by the path to write them to, and the
    # candidates of a search
    extra: Callable[[Any], Mapping[str, float]] = lambda estimator: {}
    tables: Callable[[Any], Mapping[str, Sequence[Mapping[str, Any]]]] = lambda estimator: {}
    candidates: Callable[[Any], Sequence[Candidate]] = lambda estimator: ()
    parallel: bool = False  # whether it is many fits, which a cluster can share
    fit_params: Mapping[str, Any] = field(default_factory=dict)  # further arguments of ``fit``


@dataclass(frozen=True)
class Result:
    """What a training left."""

    estimator: Any  # fitted
    metrics: Mapping[str, float]  # final
    candidates: Sequence[Candidate]
    files: Sequence[Path]  # model, metrics, history and tables, all written
    ended: float  # when `fit` returned, in seconds since 1970


class Observer:
    """Watches a training; methods that a subclass leaves out do nothing.

    What an observer raises is reported, and it is told nothing further: it never ends a training
    or changes its result.
    """

    def started(self, training: Training) -> None:
        """Is called just before `fit`."""

    def step(self, row: Row) -> None:
        """Is called after every epoch or fit; the row's first key says which, and its number."""

    def finished(self, result: Result) -> None:
        """Is called when all files are written."""

    def failed(self, error: BaseException) -> None:
        """Is called instead of `finished`; KeyboardInterrupt when the user ended it."""


def run(training: Training, output: Output, observers: Sequence[Observer] = ()) -> Result:
    """Train, evaluate on every part, and write the files.

    The final metrics are "n_epochs"; "train_loss" and "train_accuracy" and the same of the
    validation part where there is one, evaluated with the final weights; "test_loss" and what else
    `evaluate` gives on the test part; and those of ``training.extra``. Raises FloatingPointError
    when training diverges: no file is written then.
    """
    watching = list(observers)

    def tell(event: str, *arguments: Any) -> None:
        for observer in list(watching):
            try:
                getattr(observer, event)(*arguments)
            except Exception as error:  # whatever it is, the training goes on
                watching.remove(observer)
                told = "error: %s stopped watching: %s"
                log.error(told, type(observer).__name__, one_line(error))

    tell("started", training)
    try:
        estimator = training.estimator.fit(
            *training.data["train"],
            validation=training.data.get("val"),
            on_epoch=lambda row: tell("step", row),
            **training.fit_params,
        )
        ended = time.time()
        metrics = _final_metrics(training, estimator)
        files = _write(training, estimator, metrics, output)
        result = Result(estimator, metrics, training.candidates(estimator), files, ended)
    except BaseException as error:
        tell("failed", error)
        raise
    tell("finished", result)
    return result


def _final_metrics(training: Training, estimator: Any) -> dict[str, float]:
    metrics: dict[str, float] = {"n_epochs": len(estimator.history_)}
    for part, (X, y) in training.data.items():
        values = estimator.evaluate(X, y)
        if part == "test":
            metrics |= {f"test_{name}": value for name, value in values.items()}
        else:
            shared = {name: values[name] for name in ("loss", "accuracy") if name in values}
            metrics |= {f"{part}_{name}": value for name, value in shared.items()}
    return metrics | dict(training.extra(estimator))


def _write(
    training: Training, estimator: Any, metrics: Mapping[str, float], output: Output
) -> list[Path]:
    part, name = training.part, training.name
    model = output(f"models/{part}/{name}{training.model_suffix}")
    training.save_model(model, estimator)
    tables = {f"history/{part}/{name}.csv": estimator.history_, **training.tables(estimator)}
    for path, rows in tables.items():
        write_table(output(path), rows)
    final = output(f"metrics/{part}/{name}.json")
    write_json(final, metrics)
    return [model, final, *(output(path) for path in tables)]
