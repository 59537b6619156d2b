"""The jobs of a sweep: made here, run on workers, their files brought home."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from hydra.version import setbase
from omegaconf import DictConfig, open_dict, read_write

from mlcore.app import ROOT
from mlcore.config import validate
from mlcore.config.messages import one_line
from mlcore.errors import RetraceError
from mlcore.sweeps.cluster import connected, environment, outcomes, pack, unpack
from mlcore.sweeps.finished import FORCE, digest_of, find

if TYPE_CHECKING:
    from hydra_plugins.retrace_dask.launcher import DaskLauncher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes
    ----------
    config : DictConfig
        With Hydra's own section.
    out : Path
        Folder of its results.
    digest : str
        Of what they come from.
    what : str
        Its overrides.
    """

    config: DictConfig
    out: Path
    digest: str
    what: str


def run_all(
    launcher: DaskLauncher, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Run the jobs of a sweep that are not finished yet.

    Raises
    ------
    RetraceError
        If the cluster cannot be reached, data are missing, or jobs failed: then at the end, when
        each of them has been named.
    """
    setup_globals()
    configure_log(launcher.config.hydra.hydra_logging, launcher.config.hydra.verbose)
    folder = Path(launcher.config.hydra.sweep.dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        _make(launcher, overrides, number, folder)
        for number, overrides in enumerate(job_overrides, start=first)
    ]
    left = []
    for job in jobs:
        if earlier := find(job.digest, job.out):
            log.info("%s: skipped, its results are in %s", job.what, earlier)
        else:
            left.append(job)
    failed = _run(launcher, left, folder) if left else {}
    for what, error in failed.items():
        print(f"failed: {what}: {error}", file=sys.stderr)
    if failed:
        raise RetraceError(f"{len(failed)} of {len(jobs)} jobs failed, as said above")
    return [_returned(job) for job in jobs]


def _make(launcher: DaskLauncher, overrides: Sequence[str], number: int, folder: Path) -> Job:
    config = launcher.hydra_context.config_loader.load_sweep_config(
        launcher.config, list(overrides)
    )
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
        config.hydra.sweep.dir = str(folder)  # a worker may have been started elsewhere
    HydraConfig.instance().set_config(config)  # the folder's name refers to it
    task = deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    module = launcher.task_function.__module__
    digest = digest_of(module, validate(task, "command line"), ROOT)
    what = " ".join(filter_overrides(overrides))
    return Job(config, folder / config.hydra.sweep.subdir, digest, what)


def _run(launcher: DaskLauncher, jobs: Sequence[Job], folder: Path) -> dict[str, str]:
    """Run jobs; returns what failed, and why."""
    failed = {}
    place = str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else "multirun/elsewhere"
    with _marked(folder) as mark, connected(launcher.address, launcher.n_workers) as client:
        tasks = [
            (job.config, launcher.hydra_context, launcher.task_function, job.digest, mark, place)
            for job in jobs
        ]
        with closing(outcomes(client, run_one, tasks)) as ended:
            for done, outcome in enumerate(ended, start=1):
                job = jobs[outcome.number]
                error, files = outcome.value or (outcome.error, {})
                try:
                    if files:
                        unpack(files, job.out)
                except OSError as problem:  # no room
                    error = one_line(problem)
                if error:
                    failed[job.what] = error
                state = f"failed: {error}" if error else "done"
                log.info("%d of %d: %s: %s", done, len(jobs), job.what, state)
    return failed


@contextmanager
def _marked(folder: Path) -> Iterator[Path]:
    """Leave a file in a folder by which a worker knows that it sees the same one."""
    mark = folder / f".{uuid4().hex}"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def run_one(
    config: DictConfig,
    context: HydraContext,
    task_function: TaskFunction,
    digest: str,
    mark: Path,
    place: str,
) -> tuple[str, dict[str, bytes]]:
    """Run a job on a worker.

    Parameters
    ----------
    config : DictConfig
    context : HydraContext
    task_function : callable
    digest : str
        The job's, which the worker's code and data should give, too.
    mark : Path
        A file that exists where the worker sees the sweep's folder.
    place : str
        The folder to use where it does not, in the worker's checkout.

    Returns
    -------
    str
        What went wrong, or "".
    dict of str to bytes
        The job's files, if the worker does not see the sweep's folder.
    """
    setup_globals()
    setbase("1.3")
    JobRuntime.instance().set("name", config.hydra.job.name)
    seen = mark.exists()
    if not seen:
        with read_write(config.hydra.sweep):
            config.hydra.sweep.dir = str(ROOT / place)
    HydraConfig.instance().set_config(config)
    out = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    task = deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    try:
        if digest_of(task_function.__module__, validate(task, "command line"), ROOT) != digest:
            return (
                f"the code or the data in {ROOT} on the worker are not those of this checkout",
                {},
            )
        with environment({FORCE: "1"}):  # the launcher has looked for what is finished
            returned = run_job(
                hydra_context=context,
                config=config,
                task_function=task_function,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        error = returned._return_value if returned.status == JobStatus.FAILED else None
        files = {} if seen or error else pack(out)
        return one_line(error).removeprefix("error: ") if error else "", files
    except RetraceError as error:
        return str(error), {}
    finally:
        if not seen:
            shutil.rmtree(out, ignore_errors=True)
            with suppress(OSError):  # not empty while other jobs are at work
                out.parent.rmdir()


def _returned(job: Job) -> JobReturn:
    returned = JobReturn(overrides=list(job.config.hydra.overrides.task), cfg=job.config)
    returned.status = JobStatus.COMPLETED
    return returned
