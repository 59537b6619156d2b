"""Trainings that are run again with other parameters: the jobs of a file of sweeps.

A job has a digest of its parameters, data and code. What stands by it in the file's table, which is
in git, is not run again, on whatever machine.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlcore.config import Config
from mlcore.config.compose import compose_for_seeds
from mlcore.config.hydra_app import expand
from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.judging.replicates import N_DIGITS, Table
from mlcore.pipeline.digests import digests_of, refuse_outdated


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
        problems = "; ".join(_what_is_wrong(problem) for problem in error.errors())
        raise RetraceError(f"{path}: {problems}") from None


def _what_is_wrong(problem: Any) -> str:
    """Say in one clause what is wrong with one key of a file of sweeps."""
    key = ".".join(map(str, problem["loc"])) or "the file"
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            known = SweepFile if len(problem["loc"]) == 1 else Sweep
            return f"unknown key {key}; known here are {', '.join(known.model_fields)}"
        case "model_type":
            return f"{key} should hold keys: {', '.join(SweepFile.model_fields)}"
    given = reprlib.repr(problem["input"])
    return f"{key}={given}: {problem['msg'].removeprefix('Input ')}"


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
        for overrides in expand([*shared, *sweep.overrides], f"sweep {name}", root / "conf"):
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


def todo(jobs: Sequence[Job], table: Table) -> list[Job]:
    """Give the jobs that the table does not have; it forgets what none of them asks for."""
    done = table.done({(job.sweep, " ".join(job.overrides)) for job in jobs})
    return [job for job in jobs if job.digests[-1] not in done]


def check_code(root: Path, job: Job) -> None:
    """Check that what a job trains here comes from the code and the data of its digests.

    Raises
    ------
    RetraceError
        If the checkout's are others, or this process may have imported others.
    """
    pipeline = read_yaml(root / "dvc.yaml")["stages"]
    refuse_outdated(job.stages, pipeline, root)
    if _digests(job.stages, job.config, pipeline, root) != job.digests:
        raise RetraceError(f"{root} has other code or data than the sweep began with")


def _digests(
    stages: Sequence[str], config: Config, pipeline: Mapping[str, Any], root: Path
) -> list[str]:
    return [digest[:N_DIGITS] for digest in digests_of(stages, config, pipeline, root)]
