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
    """Where the data of a training come from.

    Attributes
    ----------
    name : str
    path : Path
        The file; its MD5, as in dvc.lock, is the digest.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Candidate:
    """One candidate of a search, a run of its own in the tracker.

    Attributes
    ----------
    name : str
    params : mapping
    metrics : mapping of str to float
    started, ended : float
        Seconds since 1970.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    started: float
    ended: float


@dataclass(frozen=True)
class Training:
    """What a stage trains.

    Attributes
    ----------
    part : str
        Part of the study: folder of the results, and MLflow experiment.
    name : str
        Of the run and of its files.
    estimator : unfitted estimator
        With ``fit(X, y, validation=(X, y) or None, on_epoch=callable)``, ``evaluate(X, y)`` and
        ``history_``.
    n_steps : int
        Epochs, or fits of a search, at most.
    data : mapping of str to (X, y)
        "train" and "test"; "val" if there is one.
    dataset : Dataset
    params : mapping
        What the tracker records, in the vocabulary that all parts share (metrics/README.md).
    save_model : callable
        ``save_model(path, estimator)``.
    model_suffix : str
    extra : callable, optional
        ``extra(estimator)`` gives further final metrics.
    tables : callable, optional
        ``tables(estimator)`` gives rows by the path to write them to.
    candidates : callable, optional
        ``candidates(estimator)`` gives the candidates of a search.
    parallel : bool
        Whether it consists of many fits, which a cluster can share.
    fit_params : mapping
        Further arguments of ``fit``.
    """

    part: str
    name: str
    estimator: Any
    n_steps: int
    data: Mapping[str, tuple[Any, Any]]
    dataset: Dataset
    params: Mapping[str, Any]
    save_model: Callable[[Path, Any], None]
    model_suffix: str
    extra: Callable[[Any], Mapping[str, float]] = lambda estimator: {}
    tables: Callable[[Any], Mapping[str, Sequence[Mapping[str, Any]]]] = lambda estimator: {}
    candidates: Callable[[Any], Sequence[Candidate]] = lambda estimator: ()
    parallel: bool = False
    fit_params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a training left.

    Attributes
    ----------
    estimator : fitted estimator
    metrics : mapping of str to float
        Final metrics.
    candidates : sequence of Candidate
    files : sequence of Path
        Model, metrics, history and tables, all written.
    ended : float
        When `fit` returned, in seconds since 1970.
    """

    estimator: Any
    metrics: Mapping[str, float]
    candidates: Sequence[Candidate]
    files: Sequence[Path]
    ended: float


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


class _All:
    """Tells several observers, and drops one that fails."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = list(observers)

    def tell(self, event: str, *arguments: Any) -> None:
        for observer in list(self.observers):
            try:
                getattr(observer, event)(*arguments)
            except Exception as error:  # whatever it is, the training goes on
                self.observers.remove(observer)
                log.error(
                    "error: %s stopped watching: %s", type(observer).__name__, one_line(error)
                )


def run(training: Training, output: Output, observers: Sequence[Observer] = ()) -> Result:
    """Train, evaluate on every part, and write the files.

    Parameters
    ----------
    training : Training
    output : callable
        Gives the path for each file.
    observers : sequence of Observer

    Returns
    -------
    Result
        With the final metrics: "n_epochs"; "train_loss" and "train_accuracy" and the same of the
        validation part where there is one, evaluated with the final weights; "test_loss" and what
        else `evaluate` gives on the test part; and those of ``training.extra``.

    Raises
    ------
    FloatingPointError
        When training diverges. No file is written then.
    """
    watch = _All(observers)
    watch.tell("started", training)
    try:
        estimator = training.estimator.fit(
            *training.data["train"],
            validation=training.data.get("val"),
            on_epoch=lambda row: watch.tell("step", row),
            **training.fit_params,
        )
        ended = time.time()
        metrics = _final_metrics(training, estimator)
        files = _write(training, estimator, metrics, output)
        result = Result(estimator, metrics, training.candidates(estimator), files, ended)
    except BaseException as error:
        watch.tell("failed", error)
        raise
    watch.tell("finished", result)
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
