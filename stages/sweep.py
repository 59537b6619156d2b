"""Run a file of sweeps: ``python -m stages.sweep FILE [--seeds N] [tracking=off]``.

Jobs run side by side, one per core, or with --address on the workers of a Dask cluster. What stands
in the file's table is not run again; every job that ends is written there at once, so that Ctrl-C
loses those at work and no other.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from mlcore.app import ROOT, Workspace, checked
from mlcore.config.messages import one_line
from mlcore.errors import RetraceError
from mlcore.judging.replicates import CURVES, FIGURES, GROUP, Table, group_of, summary
from mlcore.process import pin_threads
from mlcore.sweeps.cluster import ADDRESS, connected, outcomes, scratch
from mlcore.sweeps.confirm import groups_of
from mlcore.sweeps.jobs import Job, check_code, jobs_of, read_sweeps, todo
from mlcore.tracking.context import Context, trackers
from mlcore.tracking.notes import SESSION
from mlcore.tracking.observer import note_group, session
from mlcore.training.run import Observer, Result, Row, Training
from mlcore.training.run import run as run_training


class TestPart(Observer):
    """Evaluates on the test part after every epoch.

    No training needs that; with it, other rules for ending one can be judged.
    """

    __test__ = False  # pytest would take it for a test

    def started(self, training: Training) -> None:
        """Begin a curve."""
        self.training, self.rows = training, list[dict[str, float]]()

    def step(self, row: Row) -> None:
        """Add an epoch."""
        figures = self.training.estimator.evaluate(*self.training.data["test"])
        self.rows.append({**row, **{f"test_{name}": value for name, value in figures.items()}})


@dataclass
class Outcome:
    """What became of a job.

    Attributes
    ----------
    job : Job
    rows : list of dict
        One for each training.
    curves : list of dict
        One for each epoch of a network.
    error : str
        Empty if all went well.
    """

    job: Job
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


def run_job(job: Job, keep_curves: bool, folder_of_all: str) -> Outcome:
    """Run the stages of a job in a folder of its own; an error is an outcome, too."""
    pin_threads()
    outcome = Outcome(job)
    with TemporaryDirectory(dir=folder_of_all) as folder:
        workspace = Workspace(ROOT, Path(folder))
        try:
            check_code(ROOT, job)
            for name, digest in zip(job.stages, job.digests, strict=True):
                training = import_module(f"stages.{name}").run(job.config, workspace)
                if training is not None:
                    curve = TestPart() if keep_curves and training.part == "network" else None
                    _train(training, name, digest, workspace, outcome, curve)
        except Exception as error:  # whatever it is, the other jobs go on
            outcome.error = one_line(error)
    return outcome


def _train(
    training: Training,
    stage: str,
    digest: str,
    workspace: Workspace,
    outcome: Outcome,
    curve: TestPart | None,
) -> None:
    job = outcome.job
    row: dict[str, Any] = {
        "sweep": job.sweep,
        "part": training.part,
        "overrides": " ".join(job.overrides),
        "seed": job.config.seed,
        "digest": digest,
    }
    context = Context(
        ROOT,
        workspace.out,
        f"stages.{stage}",
        "sweep",
        [f"seed={job.config.seed}", *job.overrides],
        group_of(row),
        workspace.used,
    )
    observers: list[Observer] = trackers(job.config, context)
    # Modules may have been imported meanwhile
    output = checked(workspace.output, partial(check_code, ROOT, job))
    result = run_training(training, output, [*observers, *([curve] if curve else [])])
    # One candidate makes a search of it alone
    row["name"] = result.candidates[0].name if result.candidates else training.name
    figures = {**result.metrics, **_loss_sd(training, result)}
    row |= {name: figures[name] for name in FIGURES if name in figures}
    outcome.rows.append(row)
    epochs = curve.rows if curve else []
    if curve and len(epochs) != figures["n_epochs"]:
        raise RetraceError(f"the curve has {len(epochs)} of {figures['n_epochs']:g} epochs")
    for epoch in epochs:
        # As many digits as single precision has
        rounded = {name: float(f"{epoch[name]:.6g}") for name in CURVES}
        outcome.curves.append({"digest": digest, "epoch": int(epoch["epoch"]), **rounded})


def _loss_sd(training: Training, result: Result) -> dict[str, float]:
    """Give the standard deviation of the validation loss between single images."""
    if "val" not in training.data or not hasattr(result.estimator, "predict_proba"):
        return {}
    X, y = training.data["val"]
    given = np.searchsorted(result.estimator.classes_, y)
    chances = result.estimator.predict_proba(X)[np.arange(len(y)), given].astype(np.float64)
    return {"val_loss_sd": float(np.std(-np.log(np.maximum(chances, np.finfo(np.float64).tiny))))}


Ended = Generator[Outcome, None, None]


def run_elsewhere(job: Job, keep_curves: bool) -> Outcome:
    """Run a job on a worker of a cluster."""
    return run_job(job, keep_curves, scratch())


def outcomes_here(jobs: list[Job], keep_curves: bool, n_jobs: int) -> Ended:
    """Run jobs on this machine's cores, and give each as it ends."""
    # Of jobs that are killed, too, nothing is left
    with TemporaryDirectory(prefix="retrace-", ignore_cleanup_errors=True) as folder:
        try:
            yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)(
                delayed(run_job)(job, keep_curves, folder) for job in jobs
            )
        except (KeyboardInterrupt, GeneratorExit):
            get_reusable_executor().shutdown(kill_workers=True)
            raise


def outcomes_elsewhere(jobs: list[Job], keep_curves: bool, address: str) -> Ended:
    """Run jobs on the workers of a cluster, and give each as it ends."""
    with connected(address) as client:
        tasks = [(job, keep_curves) for job in jobs]
        with closing(outcomes(client, run_elsewhere, tasks)) as ended:
            for outcome in ended:
                yield outcome.value or Outcome(jobs[outcome.number], error=outcome.error)


def reported(jobs: list[Job], ended: Iterable[Outcome]) -> Iterator[Outcome]:
    """Print a line for each job as it ends."""
    began = time.monotonic()
    for done, outcome in enumerate(ended, start=1):
        left = (time.monotonic() - began) / done * (len(jobs) - done) / 60
        state = f"failed: {outcome.error}" if outcome.error else "done"
        print(
            f"{done} of {len(jobs)}, {left:.0f} min left: {_name(outcome.job)}: {state}", flush=True
        )
        yield outcome


def _name(job: Job) -> str:
    return " ".join([job.sweep, f"seed={job.config.seed}", *job.overrides])


def write_down(table: Table, ended: Iterable[Outcome]) -> list[Outcome]:
    """Write down each job as it ends; returns the ones that failed."""
    failed, changed = [], set[str]()
    try:
        for outcome in ended:
            if outcome.error:
                failed.append(outcome)
            else:
                table.add(outcome.rows, outcome.curves)
                changed |= {group_of(row) for row in outcome.rows}
    finally:  # what is done when it is broken off is summed up, too
        try:
            note_groups(table, changed)
        except OSError as error:
            print(f"warning: the seeds are not summed up: {one_line(error)}", file=sys.stderr)
    return failed


def confirm(jobs: list[Job], table: Table, n: int, run: Callable[[list[Job]], Ended]) -> None:
    """Run some jobs again that were finished with other code; if nothing changed, keep the rest.

    Nothing is written before all of them have ended.

    Parameters
    ----------
    jobs : list of Job
        Which the table does not have from the code of now.
    table : Table
    n : int
        Jobs to run of each sweep, and of all that comes from the same code in it.
    run : callable
        Runs jobs, and gives each as it ends.

    Raises
    ------
    RetraceError
        If a job failed, or ended with other figures than stand in the table: then its sweep stays
        out of date.
    """
    groups = groups_of(jobs, table)
    # By name: a worker gives back a copy of the job
    chosen = {_name(job): (job, group) for group in groups for job in group.sample(n)}
    if not chosen:
        raise RetraceError(f"{table.path.name} has none of these jobs from other code or data")
    sample = [job for job, _ in chosen.values()]
    with closing(run(sample)) as ended:
        for outcome in reported(sample, ended):
            job, group = chosen[_name(outcome.job)]
            if outcome.error:
                group.problem = outcome.error
            elif problem := group.compare(job, outcome.rows, outcome.curves, table):
                print(f"{_name(job)}: {problem}", flush=True)
    same = [group for group in groups if not group.problem]
    table.restamp({old: new for group in same for old, new in group.new_digests().items()})
    for group in groups:
        state = "not confirmed" if group.problem else "the same figures, confirmed"
        print(f"{group.sweep}, {len(group.finished)} jobs: {state}")
    if len(same) < len(groups):
        raise RetraceError(
            "not all came out as they stood in the table; what is not confirmed is trained by the "
            "same command without --confirm"
        )


def note_groups(table: Table, changed: set[str]) -> None:
    """Tell the tracker of the trainings that differ by their seed alone, where some are new."""
    folder = os.environ.get(SESSION)
    if not folder:
        return
    for _, rows in table.rows.groupby(GROUP):
        first = rows.iloc[0]
        group = group_of(first)
        if group in changed:
            about = {
                "params": {"sweep": str(first["sweep"]), "overrides": str(first["overrides"])},
                "metrics": summary(rows),
            }
            note_group(
                Path(folder), group, str(first["part"]), f"{first['name']}, all seeds", about
            )


def _outcomes(keep_curves: bool, n_jobs: int, address: str | None, jobs: list[Job]) -> Ended:
    if address:
        return outcomes_elsewhere(jobs, keep_curves, address)
    return outcomes_here(jobs, keep_curves, n_jobs)


def run_file(
    path: Path,
    seeds: int,
    n_jobs: int,
    address: str | None,
    to_confirm: int | None,
    overrides: list[str],
) -> None:
    """Run what does not stand in a file's table.

    Raises
    ------
    RetraceError
        If the file or an argument is wrong, a job failed, or another command fills the table.
    """
    for option, value in (("--seeds", seeds), ("--confirm", to_confirm)):
        if value is not None and value < 1:
            raise RetraceError(f"{option} {value}: should be 1 or more")
    if n_jobs == 0 or n_jobs < -1:
        raise RetraceError(f"--jobs {n_jobs}: should be -1, for one on each core, or 1 or more")
    if other := [o for o in overrides if not o.startswith("tracking")]:
        raise RetraceError(f"{other[0]}: only tracking is set for all jobs; the rest is in {path}")
    file = read_sweeps(path)
    target = ROOT / file.table
    if not target.parent.is_dir():
        raise RetraceError(f"{path}: {file.table} should be in a folder that exists")
    (ROOT / "build").mkdir(exist_ok=True)
    try:
        with FileLock(ROOT / "build" / f"{file.table.replace('/', '-')}.lock", timeout=0):
            jobs = jobs_of(file, ROOT, seeds, overrides)
            table = Table(target, ROOT / file.curves if file.curves else None)
            left = todo(jobs, table)
            print(f"{len(jobs) - len(left)} of {len(jobs)} jobs stand in {file.table}", flush=True)
            if not left:
                return
            with session(left[0].config, ROOT):
                run = partial(_outcomes, table.curves_path is not None, n_jobs, address)
                if to_confirm is not None:
                    confirm(left, table, to_confirm, run)
                    print(f"{len(left) - len(todo(left, table))} of {len(left)} stand there now")
                    return
                with closing(run(left)) as ended:
                    failed = write_down(table, reported(left, ended))
                if failed:
                    raise RetraceError(f"{len(failed)} of {len(left)} jobs failed, as said above")
    except Timeout:
        raise RetraceError(f"another command is filling {file.table}") from None


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.sweep", description=__doc__)
    parser.add_argument("file", type=Path, help="such as sweeps/replicates.yaml")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 1 on")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1: one for each core")
    parser.add_argument(
        "--address",
        default=os.environ.get(ADDRESS),
        help=f"of a Dask scheduler whose workers do it, such as tcp://host:8786; also ${ADDRESS}",
    )
    parser.add_argument(
        "--confirm",
        type=int,
        metavar="N",
        help="after a change of code that should change no result: run again N jobs of each sweep "
        "that were finished before it; if their figures are the same, the others count as finished",
    )
    parser.add_argument("overrides", nargs="*", help="of the tracking, such as tracking=off")
    options = parser.parse_intermixed_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C
        signal.signal(number, signal.default_int_handler)
    try:
        run_file(
            options.file,
            options.seeds,
            options.jobs,
            options.address,
            options.confirm,
            options.overrides,
        )
    except TerminatedWorkerError:
        sys.exit("error: a worker was killed (no memory left?); the same command goes on from here")
    except RetraceError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # no room, or no permission
        sys.exit(f"error: {one_line(error)}; the same command goes on from here")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    import_module("stages.sweep").main()  # where workers elsewhere find its functions
