"""Work on a Dask cluster: worker processes on this machine, or those of a scheduler elsewhere.

Each worker runs one job at a time, with BLAS held to one thread. What a worker has to tell the
tracker goes to the command's session directly where it sees that folder, and with the outcome
where it does not.

Dask is imported where it is used: every command imports this module, and few use Dask.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlcore.config.messages import one_line
from mlcore.errors import RetraceError
from mlcore.files import atomic_folder
from mlcore.pipeline.digests import changed_code
from mlcore.process import fingerprint, pin_threads
from mlcore.tracking.notes import SESSION, SWEEP

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

log = logging.getLogger(__name__)

ADDRESS = "RETRACE_DASK_ADDRESS"
"""Environment variable that names the scheduler to use where no option does."""

PATIENCE, JOINING, RESTARTING = 8, 15, 30
"""Seconds that a scheduler may take to answer, its first worker to join, and workers to restart."""

QUIET = {"distributed": "critical", "distributed.client": "critical"}
"""What goes wrong on a worker is said by whoever waits for its outcome."""

SETTINGS: dict[str, Any] = {
    "logging": QUIET,
    # Even without a dashboard Dask would serve pages on what it is at, to whoever asks
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Nobody looks at what Dask measures of itself, which costs every training 2 % of its time
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
"""Dask's, of the processes that are started here."""

_alone = threading.Lock()


@dataclass
class Outcome:
    """What became of a job.

    Attributes
    ----------
    number : int
        Of the job.
    value : object
        What its function returned.
    error : str
        Empty if all went well.
    """

    number: int
    value: Any = None
    error: str = ""


@dataclass
class Parcel:
    """What a worker sends back.

    Attributes
    ----------
    value : object
    error : str
        Said here: not every exception can be sent.
    notes : dict of str to dict
        Of trainings for the tracker, each a folder of files, where the worker does not see the
        session's.
    """

    value: Any = None
    error: str = ""
    notes: dict[str, dict[str, bytes]] = field(default_factory=dict)


def dask_setup(worker: Any) -> None:
    """Have a worker process of ours leave Ctrl-C to the command that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def connected(address: str | None, n_workers: int = -1) -> Iterator[Client]:
    """Connect to a scheduler, or start workers on this machine and end them with the block.

    Parameters
    ----------
    address : str or None
        Such as ``tcp://host:8786``; None starts workers here.
    n_workers : int
        Worker processes to start; -1: one for each core.

    Raises
    ------
    RetraceError
        If no scheduler answers, it has no worker, or scheduler or workers are not of a checkout.
    """
    import dask

    with warnings.catch_warnings():
        # Of other versions, those that matter to numbers are compared below
        warnings.filterwarnings("ignore", module="distributed")
        with TemporaryDirectory(prefix="retrace-", ignore_cleanup_errors=True) as folder:
            dask.config.set(SETTINGS)
            from distributed import Client

            for name in QUIET:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            if address is None:
                with _started_here(n_workers, folder) as cluster, Client(cluster) as client:
                    yield client
            else:
                with _reached(address) as client:
                    yield client


@contextmanager
def _started_here(n_workers: int, folder: str) -> Iterator[LocalCluster]:
    import joblib
    from distributed import LocalCluster

    if n_workers == 0 or n_workers < -1:
        raise RetraceError(
            f"n_workers={n_workers}: should be -1, for one on each core, or 1 or more"
        )
    cluster = LocalCluster(
        n_workers=joblib.cpu_count() if n_workers == -1 else n_workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        security=True,  # else every user of this machine could have the workers run code
        dashboard_address=None,
        memory_limit=0,  # as with every other launcher: the system's
        local_directory=folder,
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


@contextmanager
def _reached(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError):
        raise RetraceError(
            f"no Dask scheduler answers at {address}; "
            "`python -m dask scheduler` in a checkout starts one"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=JOINING)
        except TimeoutError:
            raise RetraceError(
                f"the scheduler at {address} has no worker; "
                f"`python -m dask worker {address} --nthreads 1` in a checkout starts one"
            ) from None
        try:
            client.run_on_scheduler(pin_threads)
            _renew(client)
            client.run(pin_threads)
            theirs = client.run(fingerprint)
        except Exception as error:
            raise RetraceError(
                f"the scheduler at {address} or a worker of it does not find this project "
                f"({one_line(error)}); start them by `python -m dask` in a checkout"
            ) from None
        _compare(theirs)
        yield client


def _renew(client: Client) -> None:
    """Restart workers that have imported code which has changed since.

    Not those at work, for another command, nor those without a nanny to start them again: they
    refuse the jobs that come from it.
    """
    old = {worker for worker, changed in client.run(_has_old_code).items() if changed}
    busy = {worker for worker, tasks in client.processing().items() if tasks}
    known = client.scheduler_info(n_workers=-1)["workers"]
    ending = [w for w in sorted(old - busy) if known.get(w, {}).get("nanny")]
    try:
        if ending:
            client.restart_workers(ending, timeout=RESTARTING)
    except TimeoutError:
        log.warning("warning: workers that have old code take long to start anew")
    if len(ending) < len(old):
        log.warning("warning: workers have old code and refuse jobs that come from it")


def _has_old_code() -> bool:
    return bool(changed_code(Path(__file__).parents[1]))


def _compare(fingerprints: dict[str, dict[str, Any]]) -> None:
    """Warn of workers whose numbers may differ in their last bits."""
    ours = fingerprint()
    for worker, theirs in fingerprints.items():
        other = [f"{k} {theirs.get(k)}, here {v}" for k, v in ours.items() if theirs.get(k) != v]
        if other:
            log.warning("warning: results of worker %s may differ: %s", worker, "; ".join(other))


def outcomes(
    client: Client, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]
) -> Generator[Outcome, None, None]:
    """Run a function for each job, one at a time on each worker, and give what ends as it ends.

    A job whose worker is killed runs again. When the block that iterates is left early, by Ctrl-C
    or an error, workers elsewhere are freed: those at work on these jobs are restarted.

    Parameters
    ----------
    client : Client
    function : callable
    jobs : sequence of tuple
        The function's arguments.
    """
    import cloudpickle
    from distributed import as_completed

    session, sweep = os.environ.get(SESSION), os.environ.get(SWEEP)
    # As bytes: the scheduler passes on what it need not understand
    futures = {
        client.submit(_run, cloudpickle.dumps((function, job)), session, sweep, pure=False): number
        for number, job in enumerate(jobs)
    }
    try:
        for future, value in as_completed(futures, with_results=True, raise_errors=False):
            number = futures[future]
            if future.status != "finished":
                yield Outcome(number, error=_reason(future.exception()))
                continue
            _hand_on(value.notes, session)
            yield Outcome(number, value.value, value.error)
    except BaseException:
        _stop(client, list(futures))
        raise


def _reason(error: BaseException) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return "every worker that had it was killed (no memory left?)"
    return one_line(error)


@contextmanager
def fits_elsewhere(wanted: bool) -> Iterator[None]:
    """Have joblib's processes run on the cluster that the environment names, if it names one."""
    address = os.environ.get(ADDRESS)
    if not wanted or not address:
        yield
        return
    import joblib

    with connected(address) as client, joblib.parallel_config("dask", client=client):
        yield


def _stop(client: Client, futures: Sequence[Any]) -> None:
    if client.cluster is not None:  # of this machine, which ends as a whole
        return
    keys = {future.key for future in futures}
    try:
        known = client.scheduler_info(n_workers=-1)["workers"]
        busy = [worker for worker, tasks in client.processing().items() if keys & set(tasks)]
        client.cancel(futures, force=True)
        # Without a nanny nobody would start it again
        ending = [worker for worker in busy if known.get(worker, {}).get("nanny")]
        if ending:
            client.run(_end_worker, workers=ending, on_error="ignore")
        if len(ending) < len(busy):
            log.warning("warning: workers without a nanny finish the job that they are at")
    except (OSError, TimeoutError) as error:
        log.warning("warning: workers may still be at work: %s", one_line(error))


def _end_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hand_on(notes: dict[str, dict[str, bytes]], session: str | None) -> None:
    """Put a training's notes where the tracker's writer sees them, whole at once."""
    if session is None:
        return
    for name, files in notes.items():
        try:
            unpack(files, Path(session) / name)
        except OSError as error:  # no room
            log.warning("warning: a training is not tracked: %s", one_line(error))


def _run(task: bytes, session: str | None, sweep: str | None) -> Parcel:
    """Run a job on a worker."""
    import cloudpickle
    import joblib

    # Hydra's state and the environment are the process's
    with _alone, TemporaryDirectory(dir=scratch()) as folder:
        pin_threads()
        seen = session is None or Path(session).is_dir()
        parcel = Parcel()
        with (
            environment({ADDRESS: None, SESSION: session if seen else folder, SWEEP: sweep}),
            # A search here has its own core alone, as beside others of joblib
            joblib.parallel_config("threading", nesting_level=1),
        ):
            try:
                function, arguments = cloudpickle.loads(task)
                parcel.value = function(*arguments)
            except Exception as error:  # whatever it is, the other jobs go on
                parcel.error = one_line(error)
        if not seen:
            parcel.notes = {path.name: pack(path) for path in Path(folder).iterdir()}
        return parcel


@contextmanager
def environment(values: dict[str, str | None]) -> Iterator[None]:
    """Set environment variables, or with None take them away, while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def scratch() -> str:
    """Give the folder of the worker that this is; its nanny clears it when the worker is killed."""
    from distributed import get_worker

    folder: str = get_worker().local_directory
    return folder


def pack(folder: Path) -> dict[str, bytes]:
    """Read a folder's files, by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack(files: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, which takes the place of one that is there as `atomic_folder`."""
    with atomic_folder(folder) as new:
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
