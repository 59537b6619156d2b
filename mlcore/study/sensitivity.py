"""What the study's numbers would have been, had an open choice been made otherwise."""

from collections.abc import Iterator
from math import sqrt
from typing import Any

import pandas as pd

from mlcore.judging.curves import last_epoch
from mlcore.judging.numbers import candidates
from mlcore.judging.published import numbers_of
from mlcore.judging.statistics import Series
from mlcore.study.parts import GROUPS, PARTS

SAME_SCHEME = {"he": "normal", "random_normal": "random"}
"""Other readings of an initialisation, and the study's name for it."""

PRINTED = {(g.part, g.path.rpartition(".")[2]): g for g in GROUPS if g.trained}
"""Printed numbers of trained models, by part and metric."""

STOPPING = [(patience, best) for patience in (10, 20) for best in (False, True)]
"""Rules for ending a training: epochs of patience, and whether the best weights are restored."""


def judged_by_stopping(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Give the accuracies that the replicates' networks would have had with other rules.

    From the tables of `mlcore.study.replicates.Table` comes one like them, with a row per network
    and rule: "sweep" is "stopping", "overrides" the parameters that make the rule.
    """
    rows = []
    by_params = dict(list(curves.sort_values("epoch").groupby("params")))
    for run in runs[runs["part"] == "network"].to_dict("records"):
        curve = by_params[run["params"]]
        for patience, best in STOPPING:
            kept = curve.iloc[: last_epoch(curve["val_loss"], patience)]
            chosen = kept.loc[kept["val_loss"].idxmin()] if best else kept.iloc[-1]
            rule = f"network.patience={patience} network.restore_best={str(best).lower()}"
            row = {"sweep": "stopping", "overrides": rule, "test_accuracy": chosen["test_accuracy"]}
            rows.append({**{name: run[name] for name in ("part", "name", "seed")}, **row})
    return pd.DataFrame(rows)


def summarise(
    alternatives: pd.DataFrame, replicates: pd.DataFrame, summary: Any
) -> list[dict[str, Any]]:
    """Set every alternative beside the printed number and what the default gives.

    From tables of `mlcore.study.replicates.Table`, of other choices and of the default ones, and
    what `published.compare` made comes a row per alternative and number: "choice", "alternative",
    "number"; "published"; "default", the replicates' mean; "mean" and "n" of the alternative; and
    whether it is "nearer" to the printed value, see `nearer`.
    """
    published = {number.path: number.value for number in numbers_of(summary)}
    default = dict(_values(replicates))
    labelled = alternatives.assign(alternative=alternatives["overrides"].map(without_matrix))
    return [
        {"choice": choice, "alternative": alternative}
        | _beside(path, published[path], values, default.get(path, values[:0]))
        for (choice, alternative), group in labelled.groupby(["sweep", "alternative"], sort=False)
        for path, values in _values(group)
        if path in published
    ]


def _beside(path: str, published: float, values: Series, default: Series) -> dict[str, Any]:
    """Give a row of an alternative; see `summarise`."""
    return {
        "number": path,
        "published": published,
        "default": float(default.mean()) if len(default) else None,
        "mean": float(values.mean()),
        "n": len(values),
        "nearer": nearer(values, default, published),
    }


def nearer(values: Series, default: Series, printed: float) -> bool:
    """Say whether an alternative comes nearer to the printed value than the default, for sure.

    By more than two standard errors of the difference of the distances. A single run is taken to
    vary as the default's do; of these there have to be two.
    """
    if len(default) < 2:
        return False
    spread = default.var(ddof=1)
    own = values.var(ddof=1) if len(values) > 1 else spread
    error = sqrt(own / len(values) + spread / len(default))
    gain = abs(default.mean() - printed) - abs(values.mean() - printed)
    return bool(gain > 2 * error)


def _values(runs: pd.DataFrame) -> Iterator[tuple[str, Series]]:
    """Give path and values of every printed number that these trainings have.

    Where the study trained two models per activation, a number belongs to one of them. That one is
    taken; the other only if these trainings lack it.
    """
    names = set(zip(runs["part"], runs["name"], strict=True))
    for (part, name), group in runs.groupby(["part", "name"], sort=False):
        words = zip(PARTS[part].varied, str(name).split("-"), strict=False)
        item = [SAME_SCHEME.get(word, word) for key, word in words if not key.endswith(".method")]
        for metric in group:
            known = PRINTED.get((part, metric))
            if known is None or group[metric].isna().all():
                continue
            path = ".".join([known.path, *item])
            own = known.training(path)
            if name == own or (part, own) not in names:
                yield path, group[metric].dropna()
    search = runs[runs["part"] == "search"]
    if len(search):  # one number of all its candidates
        scores = candidates(search, "*", "val_accuracy")
        yield "fashion_search.cv_accuracy", scores.max(axis=1)


def without_matrix(overrides: str) -> str:
    """Leave out of overrides what the pipeline runs over in any case."""
    kept = [part for part in overrides.split() if not part.partition("=")[0].endswith(MATRIX)]
    return " ".join(kept) or overrides


MATRIX = (".activation", ".method", "search.learning_rate", "search.batch_size", "subset_seed")
"""Ends of the names of what is run over: activations, and the candidates of the search."""
