"""A sweep at a glance: one row a run, the best by validation, and a picture."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mlcore.config.sweep_table import BETTER
from mlcore.study.replicates import summary

FINAL = "final/"  # beginning of the names of final metrics


def table(runs: Sequence[Any]) -> pd.DataFrame:
    """Give one row per MLflow run: its name, the parameters that differ, its final metrics."""
    params = pd.DataFrame([run.data.params for run in runs])
    varied = params.loc[:, params.fillna("").nunique() > 1] if len(runs) > 1 else params
    names = pd.DataFrame([{"run": run.info.run_name, "run_id": run.info.run_id} for run in runs])
    return pd.concat([names, varied, _final(runs)], axis=1)


def best(runs: Sequence[Any]) -> tuple[Any, str] | None:
    """Give the run that is best by validation, and by which metric; None if none has one."""
    for name, better in BETTER.items():
        metric = FINAL + name
        if known := [run for run in runs if metric in run.data.metrics]:
            return better(known, key=lambda run: run.data.metrics[metric]), metric
    return None


def spread(runs: Sequence[Any]) -> dict[str, float]:
    """Give n, and of every final metric mean, standard deviation, minimum and maximum."""
    final = _final(runs).rename(columns=lambda name: name.removeprefix(FINAL))
    return summary(final, list(final))


def _final(runs: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame([run.data.metrics for run in runs]).filter(regex=f"^{FINAL}")
