"""Trainings that are run again with other parameters: the jobs of a file of sweeps.

What stands in the file's table, which is in git, is not run again, on whatever machine, as long as
its parameters are those of now and the pipeline's own trainings of its stages come out as they did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mlcore.config import Config
from mlcore.config.compose import compose_for_seeds
from mlcore.config.hydra_app import expand
from mlcore.errors import RetraceError
from mlcore.errors.validation import Section, checked, unknown
from mlcore.files import read_yaml
from mlcore.pipeline.digests import digest_of
from mlcore.pipeline.dvc_yaml import Stage, read_lock, read_stages
from mlcore.study.replicates import N_DIGITS, Table


class Sweep(Section):
    """One sweep of a file: stages, at least and at most so many seeds, and Hydra's overrides."""

    stages: list[str] = Field(min_length=1)
    seeds: int = Field(default=1, ge=1)
    most: int | None = Field(default=None, ge=1)
    overrides: list[str] = Field(default_factory=list)


class SweepFile(Section):
    """A file of sweeps and the tables that they fill."""

    table: str
    curves: str | None = None
    sweeps: dict[str, Sweep] = Field(min_length=1)


@dataclass(frozen=True)
class SweepJob:
    """One set of parameters and the stages that run with it."""

    sweep: str
    stages: list[str]
    overrides: list[str]  # all but the seed
    config: Config
    # Of each stage and those before it, a digest of the parameters, and one of what the pipeline's
    # own runs of them read and made
    params: list[str]
    results: list[str]

    @property
    def name(self) -> str:
        """What tells it from the other jobs."""
        return " ".join([self.sweep, f"seed={self.config.seed}", *self.overrides])


def read_sweeps(path: Path) -> SweepFile:
    """Read a file of sweeps; raises RetraceError if it is not one."""
    if not path.is_file():
        raise RetraceError(f"{path} does not exist; sweeps/ has files of sweeps")
    file: SweepFile = checked(SweepFile, read_yaml(path), path)
    return file


def jobs_of(file: SweepFile, root: Path, seeds: int, shared: Sequence[str] = ()) -> list[SweepJob]:
    """Compose the jobs of a file, seed by seed: what is done when it is broken off is balanced.

    A sweep may ask for more than `seeds`; `shared` are further overrides of every job. Raises
    RetraceError if a stage is unknown, or a job's overrides are wrong.
    """
    known, lock, params = read_stages(root), read_lock(root), read_yaml(root / "params.yaml")
    jobs = []
    for name, sweep in file.sweeps.items():
        for stage in sweep.stages:
            if stage not in known:
                raise RetraceError(f"sweep {name}: {unknown('stage', stage, known)}")
        stages = [known[stage] for stage in sweep.stages]
        # Of an item that a matrix no longer has, DVC keeps the entry
        results = _results([[lock.get(n) for n in stage.names(params)] for stage in stages])
        n_seeds = max(seeds, sweep.seeds)
        numbers = range(1, min(n_seeds, sweep.most or n_seeds) + 1)
        for overrides in expand([*shared, *sweep.overrides], f"sweep {name}", root / "conf"):
            try:
                configs = compose_for_seeds(root / "conf", overrides, numbers)
            except RetraceError as error:
                problem = str(error).removeprefix("command line: ")
                raise RetraceError(f"sweep {name}: {problem}") from None
            # Hydra escapes ${seed}
            told = [o.replace("\\", "") for o in overrides if not o.startswith("tracking")]
            jobs += [
                SweepJob(name, sweep.stages, told, config, _params(stages, config), results)
                for config in configs
            ]
    return sorted(jobs, key=lambda job: job.config.seed)


def todo(jobs: Sequence[SweepJob], table: Table) -> list[SweepJob]:
    """Give the jobs that the table does not have; rows that no job asks for leave it."""
    done = table.done({(job.sweep, " ".join(job.overrides)) for job in jobs})
    return [job for job in jobs if (job.params[-1], job.results[-1]) not in done]


def _params(stages: Sequence[Stage], config: Config) -> list[str]:
    digests: list[str] = []
    for stage in stages:
        known = {name: getattr(config, name).model_dump() for name in stage.sections}
        digests.append(digest_of([*digests[-1:], known])[:N_DIGITS])
    return digests


def _results(runs: Iterable[Iterable[Mapping[str, Any] | None]]) -> list[str]:
    """Digest the data that stages read and the results that they made.

    Of each stage come its runs, as `read_lock` gives them. Models are left out: the bytes of their
    files say nothing that histories and metrics do not.
    """
    digests: list[str] = []
    for of_stage in runs:
        made = [
            {
                path: md5
                for path, md5 in {**run["deps"], **run["outs"]}.items()
                if path.startswith(("data/", "history/", "metrics/"))
            }
            for run in of_stage
            if run
        ]
        digests.append(digest_of([*digests[-1:], made])[:N_DIGITS])
    return digests
