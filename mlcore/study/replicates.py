"""The table of the trainings that sweeps have finished, and the curves of those that keep them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcore.errors import RetraceError
from mlcore.files import read_table, write_table

METRICS = (
    "n_epochs", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss",
    "test_accuracy", "test_accuracy_noisy", "test_mse", "test_mse_pca", "test_explained",
    "test_ssim", "test_edges", "test_variation", "test_intensity_error", "code_zeros",
    "gradient_ratio", "unit_spread",
)  # fmt: skip
"""Columns that a training fills, as far as it has them."""

KEY = ["sweep", "part", "name", "overrides", "seed"]

GROUP = ["sweep", "part", "overrides"]
"""What trainings have in common that differ by their seed alone."""

DIGESTS = ["params", "results"]
"""Columns that say what a training comes from: its parameters, and what came out of the pipeline's
own trainings of its stages (mlcore/sweeps/jobs.py)."""

N_DIGITS = 16
"""Of a digest."""

CURVES = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")


class Table:
    """The finished trainings of a file of sweeps, and the curves of those that keep them."""

    def __init__(self, path: Path, curves: Path | None) -> None:
        self.path, self.curves_path = path, curves
        self.rows = read_runs(path)
        self.curves = read_curves(curves) if curves else pd.DataFrame()

    def done(self, asked: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Give the digests of what is finished, for networks with their whole curve.

        `asked` are pairs of sweep and overrides; rows of any other are forgotten.
        """
        named = zip(self.rows["sweep"], self.rows["overrides"], strict=True)
        kept = pd.Series([name in asked for name in named], self.rows.index, dtype=bool)
        self.rows = rows = self.rows[kept]
        if self.curves_path is not None:
            lengths = rows["params"].map(self.curves["params"].value_counts())
            rows = rows[(rows["part"] != "network") | (lengths == rows["n_epochs"])]
        return set(zip(rows["params"], rows["results"], strict=True))

    def add(self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
        """Add a job's trainings in place of earlier ones of the same names, and write the files."""
        self.rows = _append(self.rows, rows).drop_duplicates(KEY, keep="last")
        self.rows = self.rows.sort_values(KEY, ignore_index=True)
        if self.curves_path is not None:  # first: a row without its curve is run again
            new = {row["params"] for row in curves}
            kept = _append(self.curves[~self.curves["params"].isin(new)], curves)
            self.curves = self.rows[["params"]].merge(kept.sort_values("epoch"), on="params")
            write_table(self.curves_path, self.curves.to_dict("records"))
        write_table(self.path, self.rows.to_dict("records"))

    def difference(
        self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]
    ) -> str:
        """Say in which metric trainings, as `add` takes them, differ from those here; or ""."""
        for row in rows:
            here = (self.rows[KEY] == [row[name] for name in KEY]).all(axis=1)
            if not here.any():
                return f"there was no {row['name']}"
            before = self.rows[here].iloc[0]
            for metric in METRICS:
                now = row.get(metric, np.nan)
                if not (now == before[metric] or (pd.isna(now) and pd.isna(before[metric]))):
                    return f"{metric} of {row['name']} is {now}, was {before[metric]}"
            if self.curves_path is not None:
                epochs = [epoch for epoch in curves if epoch["params"] == row["params"]]
                new = pd.DataFrame(epochs, columns=["epoch", *CURVES])
                old = self.curves.loc[self.curves["params"] == before["params"], list(new)]
                if not np.array_equal(new.to_numpy(float), old.to_numpy(float), equal_nan=True):
                    return f"the curve of {row['name']} is another"
        return ""


def read_runs(path: Path) -> pd.DataFrame:
    """Read a table of finished trainings, empty if there is no file.

    Raises RetraceError if it is not such a table, or names a training twice.
    """
    rows = _read(path, [*KEY, *DIGESTS, *METRICS], [*KEY[:-1], *DIGESTS])
    whole = (rows[DIGESTS].map(len) == N_DIGITS).all(axis=None)
    if rows["seed"].isna().any() or not whole:
        raise RetraceError(f"{path}: every row should have a seed and {N_DIGITS}-digit digests")
    return _once(path, rows, KEY, "twice")


def read_replicates(path: Path) -> pd.DataFrame:
    """Read a table in which every training stands once per seed; see `read_runs`."""
    return _once(path, read_runs(path), ["part", "name", "seed"], "with different parameters")


def read_curves(path: Path) -> pd.DataFrame:
    """Read a table of curves, empty if there is no file; raises RetraceError if it is not one."""
    return _read(path, ["params", "epoch", *CURVES], ["params"])


def _read(path: Path, columns: list[str], text: list[str]) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=columns)
    table = read_table(path, text)
    if list(table) != columns:
        raise RetraceError(f"{path}: the columns should be {', '.join(columns)}")
    return table


def _once(path: Path, rows: pd.DataFrame, key: list[str], told: str) -> pd.DataFrame:
    """Give the rows; raises RetraceError where two have the same key."""
    twice = rows[rows.duplicated(key)]
    if len(twice):
        part, name, seed = twice.iloc[0][["part", "name", "seed"]]
        raise RetraceError(f"{path}: {part} {name} with seed {seed} is there {told}")
    return rows


def group_of(row: Mapping[str, Any]) -> str:
    """Name the trainings that differ from this one by their seed alone."""
    return "/".join(str(row[name]) for name in GROUP).replace("'", "")


def summary(rows: pd.DataFrame, metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Give n, and of every metric mean, standard deviation, minimum and maximum over the runs.

    `rows` has a row per run; columns of `metrics` that no run fills are left out.
    """
    known = rows[list(metrics)].dropna(axis=1, how="all")
    described = known.agg(["mean", "std", "min", "max"]) if len(known.columns) else known
    values = {
        f"{metric}_{kind}": float(value)
        for metric, kinds in described.items()
        for kind, value in kinds.items()
        if pd.notna(value)  # one run has no standard deviation
    }
    return {"n": len(rows), **values}


def _append(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    new = pd.DataFrame(list(rows), columns=table.columns)
    return pd.concat([table, new], ignore_index=True) if len(table) else new
