"""A sweep at a glance: one row a run, the best by validation, and a picture."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mlcore.study.replicates import summary

# Metrics that runs are compared by, the first that they have; whether higher is better
BEST_BY = {"final/val_accuracy": True, "final/val_loss": False}
FINAL = "final/"  # beginning of the names of final metrics


def table(runs: Sequence[Any]) -> pd.DataFrame:
    """Give one row per MLflow run: its name, the parameters that differ, its final metrics."""
    params = pd.DataFrame([run.data.params for run in runs])
    varied = params.loc[:, params.fillna("").nunique() > 1] if len(runs) > 1 else params
    metrics = pd.DataFrame([run.data.metrics for run in runs])
    final = metrics.loc[:, [m for m in metrics if m.startswith(FINAL)]]
    names = pd.DataFrame([{"run": run.info.run_name, "run_id": run.info.run_id} for run in runs])
    return pd.concat([names, varied, final], axis=1)


def best(runs: Sequence[Any]) -> tuple[Any, str] | None:
    """Give the run that is best by validation, and by which metric; None if none has one."""
    for metric, high in BEST_BY.items():
        known = [run for run in runs if metric in run.data.metrics]
        if known:
            return (max if high else min)(known, key=lambda r: r.data.metrics[metric]), metric
    return None


def spread(runs: Sequence[Any]) -> dict[str, float]:
    """Give n, and of every final metric mean, standard deviation, minimum and maximum."""
    metrics = pd.DataFrame([run.data.metrics for run in runs])
    final = metrics.filter(regex=f"^{FINAL}").rename(columns=lambda name: name.removeprefix(FINAL))
    return summary(final, list(final))
