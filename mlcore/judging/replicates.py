"""The table of the trainings that sweeps have finished, and the curves of those that keep them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcore.errors import RetraceError
from mlcore.files import read_table, write_table

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
        self.rows = self.rows[kept]
        return self.whole()

    def whole(self) -> set[str]:
        """Give the digests of the rows, but for networks without their whole curve."""
        rows = self.rows
        if self.curves_path is not None:
            lengths = rows["digest"].map(self.curves["digest"].value_counts())
            rows = rows[(rows["part"] != "network") | (lengths == rows["n_epochs"])]
        return set(rows["digest"])

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

    def difference(
        self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]
    ) -> str:
        """Say in which figure trainings differ from those that stand here; "" if in none.

        Parameters
        ----------
        rows, curves : sequences of mappings
            As `add` takes them; their digests may be others.
        """
        for row in rows:
            here = (self.rows[KEY] == [row[name] for name in KEY]).all(axis=1)
            if not here.any():
                return f"there was no {row['name']}"
            before = self.rows[here].iloc[0]
            for figure in FIGURES:
                now = row.get(figure, np.nan)
                if not (now == before[figure] or (pd.isna(now) and pd.isna(before[figure]))):
                    return f"{figure} of {row['name']} is {now}, was {before[figure]}"
            if self.curves_path is not None:
                epochs = [epoch for epoch in curves if epoch["digest"] == row["digest"]]
                new = pd.DataFrame(epochs, columns=["epoch", *CURVES])
                old = self.curves.loc[self.curves["digest"] == before["digest"], list(new)]
                if not np.array_equal(new.to_numpy(float), old.to_numpy(float), equal_nan=True):
                    return f"the curve of {row['name']} is another"
        return ""

    def restamp(self, digests: Mapping[str, str]) -> None:
        """Put new digests in the place of others, if any, and write the files."""
        if not digests:
            return
        rows = self.rows.assign(digest=self.rows["digest"].replace(digests))
        if self.curves_path is not None:  # with both, in case the second file cannot be written
            curves = self.curves.assign(digest=self.curves["digest"].replace(digests))
            self.curves = pd.concat([self.curves, curves], ignore_index=True)
            write_table(self.curves_path, self.curves.to_dict("records"))
        self.rows = rows
        write_table(self.path, self.rows.to_dict("records"))
        self.add([], [])


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
