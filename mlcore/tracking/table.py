"""Runs in MLflow as a table: a row per run."""

import os
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

from mlcore.errors import RetraceError, one_line

SQLITE = "sqlite:///"


def runs_of(uri: str, experiment: str, where: str, seed: str) -> pd.DataFrame:
    """Give the finished runs of an experiment: "name", "seed", and the last value of each metric.

    `uri` is that of a tracking store or server, `where` a filter in MLflow's words or "", and
    `seed` the parameter that has the seed. Raises RetraceError if the store cannot be reached, or
    there is no such experiment, run or parameter.
    """
    if "://" not in uri:
        raise RetraceError(f"{uri}: should be like {SQLITE}mlflow.db or http://host:5000")
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE).partition("?")[0]).exists():
        raise RetraceError(f"{uri}: there is no such file")  # MLflow would make it
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # else it tries for minutes
    mlflow.set_tracking_uri(uri)
    try:
        known = mlflow.get_experiment_by_name(experiment)
        found = known and mlflow.search_runs([known.experiment_id], filter_string=where)
    except Exception as error:  # of MLflow, SQLAlchemy or a driver
        raise RetraceError(f"{uri}: {one_line(error, 300)}") from None
    if known is None:
        raise RetraceError(f"{uri} has no experiment {experiment}")
    if not len(found):
        raise RetraceError(f"{uri}: the experiment {experiment} has no such run")
    found = found[found["status"] == "FINISHED"]
    names, told = found["tags.mlflow.runName"], found.get(f"params.{seed}")
    seeds = pd.Series(np.nan, found.index) if told is None else pd.to_numeric(told, "coerce")
    if (seeds % 1 != 0).any():  # NaN, too
        lacking = names[seeds % 1 != 0].iloc[0]
        raise RetraceError(
            f"{uri}: the run {lacking} has no whole number as {seed}; --seed names another, "
            "--filter leaves runs out"
        )
    metrics = found.filter(like="metrics.").rename(columns=lambda c: c.removeprefix("metrics."))
    runs = pd.concat([names.rename("name"), seeds.astype(int).rename("seed"), metrics], axis=1)
    return runs.sort_values(["name", "seed"], ignore_index=True)
