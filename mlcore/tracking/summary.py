"""A sweep at a glance: one row a run, the best by validation, and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlcore.judging.replicates import summary

BEST_BY = {"final_val_accuracy": True, "final_val_loss": False}
"""Figures that runs are compared by, the first that they have; whether higher is better."""


def table(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give one row per run: its name, the parameters in which runs differ, its final figures.

    Parameters
    ----------
    runs : sequence of mapping
        "name", "run_id", "params" and "metrics" of each.
    """
    params = pd.DataFrame([run["params"] for run in runs])
    varied = params.loc[:, params.fillna("").nunique() > 1] if len(runs) > 1 else params
    metrics = pd.DataFrame([run["metrics"] for run in runs])
    final = metrics.loc[:, [m for m in metrics if m.startswith(("final_", "test_", "n_"))]]
    names = pd.DataFrame([{"run": run["name"], "run_id": run["run_id"]} for run in runs])
    return pd.concat([names, varied, final], axis=1)


def best(runs: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str] | None:
    """Give the run that is best by validation, and by which figure; None if none has one."""
    for figure, high in BEST_BY.items():
        known = [run for run in runs if figure in run["metrics"]]
        if known:
            pick = max if high else min
            return pick(known, key=lambda run: float(run["metrics"][figure])), figure
    return None


def spread(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Give n, and of every final figure mean, standard deviation, minimum and maximum."""
    metrics = pd.DataFrame([run["metrics"] for run in runs])
    return summary(metrics, [m for m in metrics if m.startswith(("final_", "test_"))])
