"""The table of the trainings that sweeps have finished, and the curves of those that keep them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcore.artifacts import read_table, write_table
from mlcore.errors import RetraceError

FIGURES = (
    "n_epochs",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_loss_sd",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "test_mse",
)
"""Columns that a training fills, as far as it has them."""

KEY = ["sweep", "part", "name", "overrides", "seed"]

GROUP = ["sweep", "part", "overrides"]
"""What trainings have in common that differ by their seed alone."""

N_DIGITS = 16
"""Of a digest."""

CURVES = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")


class Table:
    """The finished trainings of a file of sweeps, and the curves of those that keep them.

    Parameters
    ----------
    path : Path
    curves : Path or None
    """

    def __init__(self, path: Path, curves: Path | None) -> None:
        self.path, self.curves_path = path, curves
        self.rows = read_runs(path)
        self.curves = read_curves(curves) if curves else pd.DataFrame()

    def done(self, asked: Collection[tuple[str, str]]) -> set[str]:
        """Give the digests of what is finished, for networks with their whole curve.

        Parameters
        ----------
        asked : collection of (str, str)
            Sweeps and overrides; rows of any other are forgotten.
        """
        named = zip(self.rows["sweep"], self.rows["overrides"], strict=True)
        kept = pd.Series([name in asked for name in named], self.rows.index, dtype=bool)
        self.rows = whole = self.rows[kept]
        if self.curves_path is not None:
            lengths = whole["digest"].map(self.curves["digest"].value_counts())
            whole = whole[(whole["part"] != "network") | (lengths == whole["n_epochs"])]
        return set(whole["digest"])

    def add(self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
        """Add a job's trainings in place of earlier ones of the same names, and write the files."""
        self.rows = _append(self.rows, rows).drop_duplicates(KEY, keep="last")
        self.rows = self.rows.sort_values(KEY, ignore_index=True)
        if self.curves_path is not None:  # first: a row without its curve is run again
            kept = _append(self.curves, curves).drop_duplicates(["digest", "epoch"], keep="last")
            kept = kept[kept["digest"].isin(self.rows["digest"])]
            order = self.rows["digest"].to_list()
            self.curves = kept.sort_values(
                ["digest", "epoch"], key=lambda c: c.map(order.index) if c.name == "digest" else c
            )
            write_table(self.curves_path, self.curves.to_dict("records"))
        write_table(self.path, self.rows.to_dict("records"))

    def of(self, sweep: str, overrides: str, seed: int) -> pd.DataFrame:
        """Give the rows of a job, whatever code they were trained with."""
        rows = self.rows
        chosen = (rows["sweep"] == sweep) & (rows["overrides"] == overrides)
        return rows[chosen & (rows["seed"] == seed)]

    def has(self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> bool:
        """Whether trainings stand here with the very same figures, whatever their digests."""
        new = _append(self.rows.iloc[:0], rows).set_index(KEY)
        old = self.rows.set_index(KEY)
        old = old[old.index.isin(new.index)].reindex(new.index)
        if not _equal(old[[*FIGURES]], new[[*FIGURES]]):
            return False
        if self.curves_path is None:
            return True
        epochs = _append(self.curves.iloc[:0], curves)
        columns = ["epoch", *CURVES]
        return all(
            _equal(
                self.curves.loc[self.curves["digest"] == before, columns],
                epochs.loc[epochs["digest"] == now, columns],
            )
            for before, now in zip(old["digest"], new["digest"], strict=True)
        )

    def restamp(self, digests: Mapping[str, str]) -> None:
        """Put new digests in the place of others, and write the files."""
        self.rows = self.rows.assign(digest=self.rows["digest"].replace(digests))
        self.curves = self.curves.assign(digest=self.curves["digest"].replace(digests))
        self.add([], [])


def _equal(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables hold the same numbers, or none in the same places."""
    return a.shape == b.shape and np.array_equal(
        a.to_numpy(dtype=float), b.to_numpy(dtype=float), equal_nan=True
    )


def read_runs(path: Path) -> pd.DataFrame:
    """Read a table of finished trainings, empty if there is no file.

    Raises
    ------
    RetraceError
        If it is not such a table, or names a training twice.
    """
    columns = [*KEY, "digest", *FIGURES]
    if not path.exists():
        return pd.DataFrame(columns=columns)
    rows = read_table(path)
    if list(rows) != columns:
        raise RetraceError(f"{path}: the columns should be {', '.join(columns)}")
    rows = _text(rows, [*KEY[:-1], "digest"])
    if rows["seed"].isna().any() or not (rows["digest"].str.len() == N_DIGITS).all():
        raise RetraceError(f"{path}: every row should have a seed and a {N_DIGITS}-digit digest")
    twice = rows[rows.duplicated(KEY)]
    if len(twice):
        first = twice.iloc[0]
        raise RetraceError(f"{path}: {first['name']} with seed {first['seed']} is there twice")
    return rows


def group_of(row: Mapping[str, Any]) -> str:
    """Name the trainings that differ from this one by their seed alone."""
    return "/".join(str(row[name]) for name in GROUP).replace("'", "")


def summary(rows: pd.DataFrame, figures: Sequence[str] = FIGURES) -> dict[str, float]:
    """Give n, and of every figure mean, standard deviation, minimum and maximum over the runs.

    Parameters
    ----------
    rows : DataFrame
        One row a run.
    figures : sequence of str
        Columns; those that no run fills are left out.
    """
    known = rows[list(figures)].dropna(axis=1, how="all")
    described = known.agg(["mean", "std", "min", "max"]) if len(known.columns) else known
    values = {
        f"{figure}_{kind}": float(value)
        for figure, kinds in described.items()
        for kind, value in kinds.items()
        if pd.notna(value)  # one run has no standard deviation
    }
    return {"n": len(rows), **values}


def _append(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    new = pd.DataFrame(list(rows), columns=table.columns)
    return pd.concat([table, new], ignore_index=True) if len(table) else new


def read_replicates(path: Path) -> pd.DataFrame:
    """Read a table in which every training stands once per seed; see `read_runs`."""
    rows = read_runs(path)
    twice = rows[rows.duplicated(["part", "name", "seed"])]
    if len(twice):
        first = twice.iloc[0]
        raise RetraceError(
            f"{path}: {first['part']} {first['name']} with seed {first['seed']} is there with "
            "different parameters"
        )
    return rows


def read_curves(path: Path) -> pd.DataFrame:
    """Read a table of curves; raises RetraceError if it is not one."""
    columns = ["digest", "epoch", *CURVES]
    if not path.exists():
        return pd.DataFrame(columns=columns)
    curves = read_table(path)
    if list(curves) != columns:
        raise RetraceError(f"{path}: the columns should be {', '.join(columns)}")
    return _text(curves, ["digest"])


def _text(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Give columns as text, what they hold where it is empty or looks like a number."""
    objects = table[columns].astype(object)
    texts = objects.where(objects.notna(), "").astype(str)
    if "digest" in texts:
        texts["digest"] = texts["digest"].str.zfill(N_DIGITS)
    return table.assign(**{str(name): column for name, column in texts.items()})
