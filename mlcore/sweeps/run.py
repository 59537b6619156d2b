"""Runs the jobs of a file of sweeps side by side, and writes down each as it ends."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from mlcore.errors import RetraceError, one_line
from mlcore.pipeline.digests import code_digest
from mlcore.pipeline.side_by_side import alone, stale_stages
from mlcore.pipeline.workspace import Origin, Workspace
from mlcore.process import pin_threads
from mlcore.study.replicates import CURVES, GROUP, METRICS, Table, group_of, summary
from mlcore.sweeps.cluster import connected, ended_jobs
from mlcore.sweeps.jobs import SweepFile, SweepJob, jobs_of, read_sweeps, todo
from mlcore.tracking.observer import Tracker, note_group, session
from mlcore.training.run import Observer, Row, Training
from mlcore.training.run import run as run_training


class TestPart(Observer):
    """Evaluates on the test part after every epoch, and keeps all losses and accuracies.

    No training needs that; with it, other rules for ending one can be judged.
    """

    def started(self, training: Training) -> None:
        """Begin a curve."""
        self.training, self.rows = training, list[dict[str, Any]]()

    def step(self, row: Row) -> None:
        """Add an epoch, with as many digits as single precision has."""
        tested = self.training.estimator.evaluate(*self.training.data["test"])
        values = {**row, **{f"test_{name}": value for name, value in tested.items()}}
        rounded = {name: float(f"{values[name]:.6g}") for name in CURVES}
        self.rows.append({"epoch": int(row["epoch"]), **rounded})


@dataclass(frozen=True)
class Runner:
    """Runs one job, here or on a worker."""

    root: Path
    code: str  # its digest when the sweep began
    keep_curves: bool
    session: Path | None = None  # the command's notes for the tracker
    folder: str | None = None  # where jobs have their folders; None: the system's place

    def __call__(self, job: SweepJob) -> Outcome:
        """Run the stages of a job in a folder of its own; an error is an outcome, too."""
        pin_threads()
        outcome = Outcome(job)
        try:
            if code_digest(self.root) != self.code:
                raise RetraceError(f"the code in {self.root} has changed since the sweep began")
            with TemporaryDirectory(dir=self.folder) as folder:
                for number, name in enumerate(job.stages):
                    workspace = Workspace(self.root, Path(folder))
                    training = import_module(f"stages.{name}").run(job.config, workspace)
                    if training is not None:
                        self._train(training, number, workspace, outcome)
        except Exception as error:  # whatever it is, the other jobs go on
            outcome.error = one_line(error)
        return outcome

    def _train(
        self, training: Training, number: int, workspace: Workspace, outcome: Outcome
    ) -> None:
        job = outcome.job
        row: dict[str, Any] = {
            "sweep": job.sweep,
            "part": training.part,
            "overrides": " ".join(job.overrides),
            "seed": job.config.seed,
            "params": job.params[number],
            "results": job.results[number],
        }
        observers: list[Observer] = []
        if self.session:
            overrides = [f"seed={job.config.seed}", *job.overrides]
            about = (job.stages[number], Origin.SWEEP, job.config, overrides, group_of(row))
            observers.append(Tracker(self.session, workspace, *about))
        curve = TestPart()
        keeps = [curve] if self.keep_curves and training.part == "network" else []
        result = run_training(training, workspace.output, [*observers, *keeps])
        # One candidate makes a search of it alone
        row["name"] = result.candidates[0].name if result.candidates else training.name
        values = result.metrics
        outcome.rows.append(row | {name: values[name] for name in METRICS if name in values})
        if keeps:
            outcome.curves += [{"params": row["params"], **epoch} for epoch in curve.rows]


@dataclass
class Outcome:
    """What became of a job: a row for each training, one in the curves for each epoch."""

    job: SweepJob
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""  # if all went well


Ended = Generator[Outcome, None, None]


def outcomes_here(runner: Runner, n_jobs: int, jobs: list[SweepJob]) -> Ended:
    """Run jobs on this machine's cores, and give each as it ends."""
    # Of jobs that are killed, too, nothing is left
    with TemporaryDirectory(prefix="retrace-", ignore_cleanup_errors=True) as folder:
        runner = replace(runner, folder=folder)
        try:
            yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1)(
                delayed(runner)(job) for job in jobs
            )
        except (KeyboardInterrupt, GeneratorExit):
            get_reusable_executor().shutdown(kill_workers=True)
            raise


def outcomes_elsewhere(runner: Runner, address: str, jobs: list[SweepJob]) -> Ended:
    """Run jobs on the workers of a cluster, and give each as it ends."""
    with (
        connected(address, runner.root) as client,
        closing(ended_jobs(client, runner, [(job,) for job in jobs])) as ended,
    ):
        for number, outcome, error in ended:
            yield outcome or Outcome(jobs[number], error=error)


def reported(jobs: list[SweepJob], ended: Iterable[Outcome]) -> Iterator[Outcome]:
    """Print a line for each job as it ends."""
    began = time.monotonic()
    for done, outcome in enumerate(ended, start=1):
        left = (time.monotonic() - began) / done * (len(jobs) - done) / 60
        state = f"failed: {outcome.error}" if outcome.error else "done"
        print(
            f"{done} of {len(jobs)}, {left:.0f} min left: {outcome.job.name}: {state}", flush=True
        )
        yield outcome


def write_down(table: Table, ended: Iterable[Outcome], session: Path | None) -> list[Outcome]:
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
        if session is not None:
            note_groups(session, table, changed)
    return failed


def note_groups(session: Path, table: Table, changed: set[str]) -> None:
    """Tell the tracker of the trainings that differ by their seed alone, where some are new."""
    for _, rows in table.rows.groupby(GROUP):
        first = rows.iloc[0]
        group = group_of(first)
        if group in changed:
            params = {"sweep": str(first["sweep"]), "overrides": str(first["overrides"])}
            name = f"{first['name']}, all seeds"
            note_group(session, group, name, params=params, metrics=summary(rows))


def compare(table: Table, ended: Iterable[Outcome]) -> list[Outcome]:
    """Compare each job as it ends with the table; returns those that failed or are otherwise."""
    other = []
    for outcome in ended:
        if problem := outcome.error or table.difference(outcome.rows, outcome.curves):
            other.append(outcome)
            print(f"{outcome.job.name}: {problem}", flush=True)
    return other


def chosen(jobs: list[SweepJob], n: int) -> list[SweepJob]:
    """Choose up to `n` jobs of each sweep, evenly spread over its overrides and seeds."""
    picked = []
    for sweep in dict.fromkeys(job.sweep for job in jobs):
        of_it = [job for job in jobs if job.sweep == sweep]
        places = np.linspace(0, len(of_it) - 1, min(n, len(of_it))).round()
        picked += [of_it[int(place)] for place in places]
    return picked


def run_file(options: Namespace, root: Path) -> None:
    """Run what does not stand in a file's table, or with ``--again`` some of what does.

    `options` are those of the command line (mlcore/sweeps/__main__.py). Raises RetraceError if the
    file or an override is wrong, dvc.lock is out of date, a job failed, or another command fills
    the table.
    """
    path = options.file
    if other := [o for o in options.overrides if not o.startswith("tracking")]:
        raise RetraceError(f"{other[0]}: only tracking is set for all jobs; the rest is in {path}")
    file = read_sweeps(path)
    lock = root / "build" / f"{file.table.replace('/', '-')}.lock"
    with alone(lock, f"another command is filling {file.table}"):
        _run_locked(file, options, root)


def _run_locked(file: SweepFile, options: Namespace, root: Path) -> None:
    jobs = jobs_of(file, root, options.seeds, options.overrides)
    stages = {stage for sweep in file.sweeps.values() for stage in sweep.stages}
    if stale := stale_stages(root, stages):
        first = ", ".join(stale[:3])
        more = f" and {len(stale) - 3} more" if len(stale) > 3 else ""
        raise RetraceError(f"out of date: {first}{more}; run `make repro` first")
    table = Table(root / file.table, root / file.curves if file.curves else None)
    left = todo(jobs, table)
    print(f"{len(jobs) - len(left)} of {len(jobs)} jobs stand in {file.table}", flush=True)
    if options.again:
        left = chosen([job for job in jobs if job not in left], options.again)
    if not left:
        return
    with session(left[0].config, root) as folder:
        runner = Runner(root, code_digest(root), file.curves is not None, folder)
        ended = (
            outcomes_elsewhere(runner, options.address, left)
            if options.address
            else outcomes_here(runner, options.jobs, left)
        )
        with closing(ended):
            told = reported(left, ended)
            failed = compare(table, told) if options.again else write_down(table, told, folder)
    what = "did not come out as they stand there" if options.again else "failed, as said above"
    if failed:
        raise RetraceError(f"{len(failed)} of {len(left)} jobs {what}")
    if options.again:
        print(f"{len(left)} jobs came out as they stand in {table.path.name}")
