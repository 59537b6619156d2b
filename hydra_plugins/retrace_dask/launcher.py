"""The launcher as Hydra finds it. Hydra imports this at every start, so nothing heavy is here."""

import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mlcore.errors import RetraceError, one_line

log = logging.getLogger(__name__)


class DaskLauncher(Launcher):
    """Runs the jobs of a sweep on the Dask cluster whose scheduler has this address.

    None starts `n_workers` processes on this machine; -1: one for each core.
    """

    def __init__(self, address: str | None, n_workers: int) -> None:
        self.address, self.n_workers = address, n_workers

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what the jobs are made of."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, and give their results in the same order; failures are named at the end."""
        from hydra.core.singleton import Singleton
        from hydra_plugins.hydra_joblib_launcher._core import execute_job

        from mlcore.process import checkout
        from mlcore.sweeps.cluster import connected, ended_jobs

        folder = Path(self.config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(folder)  # a worker may have been started elsewhere
        shared = (self.hydra_context, self.config, self.task_function, Singleton.get_state())
        numbered = enumerate(job_overrides, start=initial_job_idx)
        jobs = [(number, list(words), *shared) for number, words in numbered]
        returned: dict[int, JobReturn] = {}
        failed = []
        try:
            with (
                connected(self.address, checkout(), self.n_workers) as client,
                closing(ended_jobs(client, execute_job, jobs)) as ended,
            ):
                for number, job, error in ended:
                    if job and job.status == JobStatus.FAILED:
                        error = one_line(job._return_value).removeprefix("error: ")
                    returned[number] = job
                    what = " ".join(filter_overrides(job_overrides[number]))
                    log.info("%d of %d: %s: %s", len(returned), len(jobs), what, error or "done")
                    if error:
                        failed.append(f"failed: {what}: {error}")
        except RetraceError as error:  # of the cluster
            sys.exit(f"error: {error}")  # Hydra would add a line of its own
        if failed:
            failed.append(f"error: {len(failed)} of {len(jobs)} jobs failed, as said above")
            sys.exit("\n".join(failed))
        return [returned[number] for number in sorted(returned)]


TARGET = f"{DaskLauncher.__module__}.{DaskLauncher.__qualname__}"
ADDRESS = "${oc.env:RETRACE_DASK_ADDRESS,null}"
NODE = {"_target_": TARGET, "address": ADDRESS, "n_workers": -1}
ConfigStore.instance().store("dask", NODE, "hydra/launcher", provider="retrace_dask")
