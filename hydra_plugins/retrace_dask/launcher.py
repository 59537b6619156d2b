"""The launcher as Hydra finds it. Hydra imports this at every start, so nothing heavy is here."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mlcore.errors import RetraceError


class DaskLauncher(Launcher):
    """Runs the jobs of a sweep on a Dask cluster.

    Parameters
    ----------
    address : str or None
        Of a scheduler; None starts workers on this machine.
    n_workers : int
        Worker processes to start on this machine; -1: one for each core.
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
        """Run the jobs, and give their outcomes in the same order."""
        from hydra_plugins.retrace_dask._jobs import run_all

        try:
            return run_all(self, job_overrides, initial_job_idx)
        except RetraceError as error:
            sys.exit(f"error: {error}")  # Hydra would add a line of its own


@dataclass
class DaskLauncherConfig:
    """What ``hydra.launcher`` holds."""

    _target_: str = f"{DaskLauncher.__module__}.{DaskLauncher.__qualname__}"
    address: str | None = "${oc.env:RETRACE_DASK_ADDRESS,null}"
    n_workers: int = -1


ConfigStore.instance().store(
    group="hydra/launcher", name="dask", node=DaskLauncherConfig, provider="retrace_dask"
)
