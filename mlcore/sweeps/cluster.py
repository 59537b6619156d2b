"""Work on a Dask cluster: worker processes on this machine, or those of a scheduler elsewhere.

Workers see this checkout, as on clusters with a shared folder; that, and that they run its code, is
checked once on connecting. Each works at one job at a time, with BLAS held to one thread.

Dask is imported where it is used: every command imports this module, and few use Dask.
"""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from mlcore.errors import RetraceError, one_line
from mlcore.pipeline.digests import code_digest
from mlcore.process import checkout, fingerprint, pin_threads

log = logging.getLogger(__name__)

ADDRESS = "RETRACE_DASK_ADDRESS"
"""Environment variable that names the scheduler to use where no option does."""

ANSWERING, JOINING = 8, 15  # seconds that a scheduler may take, and its first worker

SETTINGS: dict[str, Any] = {
    # What goes wrong on a worker is said by whoever waits for its job
    "logging": {"distributed": "critical", "distributed.client": "critical"},
    # Even without a dashboard Dask would serve pages on what it is at, to whoever asks
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # What Dask measures of itself costs every training 2 % of its time
    "distributed.worker.profile.enabled": False,
}
"""Dask's, of the processes that are started here."""

_alone = threading.Lock()


def dask_setup(worker: Any) -> None:
    """Have a worker process of ours leave Ctrl-C to the command that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def connected(address: str | None, root: Path, n_workers: int = -1) -> Iterator[Any]:
    """Connect to a scheduler, such as ``tcp://host:8786``, or start workers on this machine.

    Of these there are `n_workers`, -1: one for each core, and they end with the block. Raises
    RetraceError if no scheduler answers, it has no worker, or a worker has another checkout or
    other code.
    """
    import dask

    dask.config.set(SETTINGS)
    from distributed import Client

    with warnings.catch_warnings():
        # Of other versions, those that matter to numbers are compared below
        warnings.filterwarnings("ignore", module="distributed")
        if address is None:
            with _started_here(n_workers) as cluster, Client(cluster) as client:
                yield client
            return
        try:
            client = Client(address, timeout=ANSWERING)
        except (OSError, ValueError):
            raise RetraceError(
                f"no Dask scheduler answers at {address}; "
                "`python -m dask scheduler` in a checkout starts one"
            ) from None
        with client:
            _check_workers(client, address, root)
            yield client


@contextmanager
def _started_here(n_workers: int) -> Iterator[Any]:
    import joblib
    from distributed import LocalCluster

    if n_workers == 0 or n_workers < -1:
        raise RetraceError(f"n_workers={n_workers}: should be -1, one for each core, or 1 or more")
    cluster = LocalCluster(
        n_workers=joblib.cpu_count() if n_workers == -1 else n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        security=True,  # else every user of this machine could have the workers run code
        dashboard_address=None,
        memory_limit=0,  # as with every other launcher: the system's
        preload=__name__,
        silence_logs=logging.CRITICAL,
    )
    try:
        yield cluster
    except BaseException:  # at once, whatever they are at
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            if nanny.pid:
                os.kill(nanny.pid, signal.SIGKILL)
        raise
    finally:
        cluster.close()


@cache
def code_at_start() -> str:
    """Give the digest of the code, computed once: what a process has imported stays as it is."""
    return code_digest(checkout())


def _seen(mark: str) -> dict[str, Any]:
    """Tell what a worker runs and sees."""
    pin_threads()
    return {"code": code_at_start(), "folder": Path(mark).exists(), **fingerprint()}


def _check_workers(client: Any, address: str, root: Path) -> None:
    """Refuse workers of other code or without this checkout; warn of those that round otherwise."""
    try:
        client.wait_for_workers(1, timeout=JOINING)
    except TimeoutError:
        raise RetraceError(
            f"the scheduler at {address} has no worker; "
            f"`python -m dask worker {address} --nthreads 1` in a checkout starts one"
        ) from None
    with NamedTemporaryFile(dir=root, prefix=".seen-") as mark:
        try:
            client.run_on_scheduler(pin_threads)
            workers = client.run(_seen, mark.name)
        except Exception as error:
            raise RetraceError(
                f"the scheduler at {address} or a worker of it does not find this project "
                f"({one_line(error)}); start them by `python -m dask` in a checkout"
            ) from None
    ours = fingerprint()
    for worker, theirs in workers.items():
        if not theirs["folder"]:
            raise RetraceError(f"the worker {worker} does not see {root}: it should be shared")
        if theirs["code"] != code_digest(root):
            raise RetraceError(
                f"the worker {worker} runs other code than {root}; start it again, in this checkout"
            )
        other = [f"{k} {theirs[k]}, here {v}" for k, v in ours.items() if theirs[k] != v]
        if other:
            log.warning("warning: results of worker %s may differ: %s", worker, "; ".join(other))


def ended_jobs(
    client: Any, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]
) -> Generator[tuple[int, Any, str], None, None]:
    """Run a function for each job, one at a time on each worker.

    Gives for each as it ends its number, what the function returned, and its error or "". A job
    whose worker is killed runs again. When the block that iterates is left early, jobs that wait
    are cancelled; workers elsewhere finish those that they are at.
    """
    import cloudpickle
    from distributed import as_completed

    # As bytes: the scheduler passes on what it need not understand
    futures = {
        client.submit(_run, cloudpickle.dumps((function, job)), pure=False): number
        for number, job in enumerate(jobs)
    }
    try:
        for future, value in as_completed(futures, with_results=True, raise_errors=False):
            finished = future.status == "finished"
            result, error = value if finished else (None, one_line(future.exception()))
            yield futures[future], result, error
    finally:
        client.cancel(list(futures), force=True)


def _run(task: bytes) -> tuple[Any, str]:
    """Run a job on a worker; gives what its function returned, and its error or ""."""
    import cloudpickle
    import joblib

    pin_threads()
    # Hydra's state is the process's. A search here has its own core alone, as beside others
    with _alone, joblib.parallel_config("threading", nesting_level=1):
        try:
            function, arguments = cloudpickle.loads(task)
            return function(*arguments), ""
        except Exception as error:  # said here: not every exception can be sent
            return None, one_line(error)
