"""Trainings that are run again with other parameters, and the table that remembers them.

The table is in git. What stands in it, by the digest of its parameters, data and code, is not run
again, on whatever machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlcore.artifacts import read_table, read_yaml, write_table
from mlcore.config import Config
from mlcore.config.compose import compose_for_seeds
from mlcore.config.hydra_app import expand
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
"""Columns of the table that a training fills, as far as it has them."""

KEY = ["sweep", "part", "name", "overrides", "seed"]

GROUP = ["sweep", "part", "overrides"]
"""What trainings have in common that differ by their seed alone."""

CURVES = ("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy")


class Sweep(BaseModel):
    """One sweep of a file: stages, at least so many seeds, and Hydra's overrides."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stages: list[str] = Field(min_length=1)
    seeds: int = Field(default=1, ge=1)
    overrides: list[str] = []


class SweepFile(BaseModel):
    """A file of sweeps and the tables that they fill."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    table: str
    curves: str | None = None
    sweeps: dict[str, Sweep] = Field(min_length=1)


@dataclass(frozen=True)
class Job:
    """One set of parameters and the stages that run with it.

    Attributes
    ----------
    sweep : str
    stages : list of str
    overrides : list of str
        All but the seed.
    config : Config
    digests : list of str
        Of each stage: what it and those before it depend on.
    """

    sweep: str
    stages: list[str]
    overrides: list[str]
    config: Config
    digests: list[str]


def read_sweeps(path: Path) -> SweepFile:
    """Read a file of sweeps; raises RetraceError if it is not one."""
    if not path.is_file():
        raise RetraceError(f"{path} does not exist; sweeps/ has files of sweeps")
    try:
        return SweepFile.model_validate(read_yaml(path))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise RetraceError(f"{path}: {problems}") from None


def jobs_of(file: SweepFile, root: Path, seeds: int, shared: Sequence[str] = ()) -> list[Job]:
    """Compose the jobs of a file, seed by seed: what is done when it is broken off is balanced.

    Parameters
    ----------
    file : SweepFile
    root : Path
        Top of the checkout.
    seeds : int
        From 1 on; a sweep may ask for more.
    shared : sequence of str
        Further overrides of every job.

    Raises
    ------
    RetraceError
        If a stage is unknown, its data are missing, or a job's overrides are wrong.
    """
    pipeline = read_yaml(root / "dvc.yaml")["stages"]
    jobs = []
    for name, sweep in file.sweeps.items():
        unknown = [stage for stage in sweep.stages if stage not in pipeline]
        if unknown:
            raise RetraceError(f"sweep {name}: {unknown[0]} should be a stage of dvc.yaml")
        numbers = range(1, max(seeds, sweep.seeds) + 1)
        for overrides in expand([*shared, *sweep.overrides], f"sweep {name}"):
            try:
                configs = compose_for_seeds(root / "conf", overrides, numbers)
            except RetraceError as error:
                problem = str(error).removeprefix("command line: ")
                raise RetraceError(f"sweep {name}: {problem}") from None
            # Hydra escapes ${seed}
            told = [o.replace("\\", "") for o in overrides if not o.startswith("tracking")]
            for config in configs:
                digests = _digests(sweep.stages, config, pipeline, root)
                jobs.append(Job(name, sweep.stages, told, config, digests))
    return sorted(jobs, key=lambda job: job.config.seed)


def _digests(
    stages: Sequence[str], config: Config, pipeline: Mapping[str, Any], root: Path
) -> list[str]:
    """Give the digest of every stage's parameters, data and code, and of those before it."""
    digests: list[str] = []
    made: set[str] = set()
    for name in stages:
        stage = pipeline[name]
        # Where a path has a matrix item in it, another stage made it for that item
        inputs = [path for path in stage["deps"] if "${" not in path and path not in made]
        sections = [key.partition(".")[0] for key in stage.get("params", [])]
        sections += re.findall(r"(\w+)\.\w+=\$\{item", stage["cmd"])
        content = {
            "before": digests[-1:],
            "params": {s: getattr(config, s).model_dump() for s in sorted(set(sections))},
            "inputs": {path: _hash(root / path) for path in inputs},
        }
        digests.append(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())
        made |= {out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]}
    return [digest[:16] for digest in digests]


_known: dict[tuple[Path, int], str] = {}


def _hash(path: Path) -> str:
    """Hash a file, or a folder's files and their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        if "__pycache__" in file.parts:
            continue
        try:
            key = file, file.stat().st_mtime_ns
            if key not in _known:
                _known[key] = hashlib.sha256(file.read_bytes()).hexdigest()
        except FileNotFoundError:
            raise RetraceError(f"{file} does not exist yet; `make repro` makes it") from None
        whole.update(f"{file.relative_to(path)} {_known[key]}\n".encode())
    return whole.hexdigest()


class Table:
    """The finished trainings of a file of sweeps, and the curves of those that keep them.

    Parameters
    ----------
    path : Path
    curves : Path or None
    """

    def __init__(self, path: Path, curves: Path | None) -> None:
        self.path, self.curves_path = path, curves
        columns = [*KEY, "digest", *FIGURES]
        self.rows = read_table(path) if path.exists() else pd.DataFrame(columns=columns)
        self.curves = pd.DataFrame(columns=["digest", "epoch", *CURVES])
        if curves is not None and curves.exists():
            self.curves = read_table(curves)

    def todo(self, jobs: Iterable[Job]) -> list[Job]:
        """Give the jobs that do not stand in the table."""
        done = set(self.rows["digest"])
        return [job for job in jobs if job.digests[-1] not in done]

    def add(self, rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
        """Add a job's trainings in place of earlier ones of the same names, and write the files."""
        self.rows = _append(self.rows, rows).drop_duplicates(KEY, keep="last")
        self.rows = self.rows.sort_values(KEY, ignore_index=True)
        write_table(self.path, self.rows.to_dict("records"))
        if self.curves_path is not None:
            kept = _append(self.curves, curves)
            kept = kept[kept["digest"].isin(self.rows["digest"])]
            order = self.rows["digest"].to_list()
            self.curves = kept.sort_values(
                ["digest", "epoch"], key=lambda c: c.map(order.index) if c.name == "digest" else c
            )
            write_table(self.curves_path, self.curves.to_dict("records"))


def group_of(row: Mapping[str, Any]) -> str:
    """Name the trainings that differ from this one by their seed alone."""
    return "/".join(str(row[name]) for name in GROUP).replace("'", "")


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Give n, and of every figure mean, standard deviation, minimum and maximum over the seeds."""
    described = rows[list(FIGURES)].dropna(axis=1, how="all").agg(["mean", "std", "min", "max"])
    figures = {
        f"{figure}_{kind}": float(value)
        for figure, kinds in described.items()
        for kind, value in kinds.items()
        if pd.notna(value)  # one run has no standard deviation
    }
    return {"n": len(rows), **figures}


def _append(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    new = pd.DataFrame(list(rows), columns=table.columns)
    return pd.concat([table, new], ignore_index=True) if len(table) else new
