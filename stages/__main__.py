"""Run the pipeline with independent stages side by side: ``python -m stages --jobs 2``.

The same as ``dvc repro``, which runs one stage at a time, and with the same dvc.lock. The last
word is a plain ``dvc repro``, which finds nothing left to do.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import joblib
from dvc.exceptions import DvcException
from dvc.repo import Repo

from mlcore.config import Config, load, warn_of_change
from mlcore.errors import RetraceError
from mlcore.files import read_json, write_json
from mlcore.pipeline.side_by_side import Plan, Processes, alone, order_lock, plan, run_side_by_side
from mlcore.process import checkout
from mlcore.report import findings
from mlcore.tracking.notes import SESSION
from mlcore.tracking.observer import session
from mlcore.training.progress import NO_LIVE_LINE

# Without --wait-for-lock, stages that start together lose each other's lock
REPRO = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro")

AT_WORK = "another `make repro` or `python -m stages` is at work here; wait for it, or end it"

INTERRUPTED = (
    "interrupted: finished stages are kept, and the next run goes on from there; "
    "`git restore metrics` brings back the committed results of the others"
)


async def bring_up_to_date(
    plan: Plan, jobs: int, seconds: dict[str, float], env: Mapping[str, str]
) -> int:
    """Run all that is out of date; returns the exit code. Nothing is left running.

    How long each stage took, DVC's own part with it, is added to `seconds`.
    """
    processes = Processes()

    async def timed(name: str) -> int:
        began = time.monotonic()
        beside_others = jobs > 1 and name not in plan.alone
        quiet = {NO_LIVE_LINE: "1"} if beside_others else {}
        code = await processes.run(*REPRO, "-s", name, env={**env, **quiet})
        if code == 0:
            seconds[name] = time.monotonic() - began
            print(f"{name} is done, {len(seconds)} of {len(plan.graph)}", flush=True)
        return code

    try:
        failed = await run_side_by_side(plan, jobs, timed)
        if failed:
            told = f"error: failed: {', '.join(failed)}; their reasons stand above"
            print(told, file=sys.stderr)
            return 1
        code = await processes.run(*REPRO, *plan.targets, env=env)
        if code == 0:
            with Repo() as repo:
                order_lock(repo, plan.order)
        return code
    finally:
        await processes.stop()


async def until_interrupted(work: Coroutine[Any, Any, int]) -> int:
    """Await `work`, or cancel it at the first signal; gives 128 + the signal's number then.

    Further signals change nothing: they must not break the stopping.
    """
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def interrupt(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup SIGHUP stays ignored, here and in the stages. SIGINT, which a shell ignores
        # in its background jobs, is heeded all the same: it is how a script ends the runner
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + received[0]


def run(config: Config, root: Path, targets: list[str], jobs: int, times: Path | None) -> int:
    """Bring the pipeline up to date, also after a killed run; returns the exit code."""
    with Repo() as repo:
        todo = plan(repo, targets)
    if todo.graph:
        stages = f"{len(todo.graph)} of {len(todo.order)} stages"
        print(f"{stages} to bring up to date, {jobs} at a time", flush=True)
    began, seconds = time.monotonic(), dict[str, float]()
    with session(config, root) if todo.graph else nullcontext() as folder:
        work = bring_up_to_date(todo, jobs, seconds, _environment(jobs, folder))
        code = asyncio.run(until_interrupted(work))
    if code == 0 and not targets:
        told = findings.lines(read_json(root / "metrics" / "verdict.json"))
        print(*told, "The evidence: metrics/report.html. The runs: make ui.", sep="\n")
    if times and code == 0:
        total = round(time.monotonic() - began, 1)
        ordered = {n: round(seconds[n], 1) for n in todo.order if n in seconds}
        write_json(times, {"jobs": jobs, "total": total, "stages": ordered})
    return code


def _environment(jobs: int, session: Path | None) -> dict[str, str]:
    """Give the environment of what is started: the stages' interpreter, cores and session."""
    # Stages are `python -m ...`: they run in this interpreter, also where no environment is active
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # joblib's own limit, for the grid search
    env = {**os.environ, "PATH": path, "LOKY_MAX_CPU_COUNT": str(jobs)}
    return env | ({SESSION: str(session)} if session else {})


def main(arguments: Sequence[str], root: Path) -> int:
    """Bring the pipeline up to date; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="only these and what they need (default: all)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=joblib.cpu_count(),
        help="stages at a time (default: one per core that this process may use: %(default)s)",
    )
    parser.add_argument(
        "--times", type=Path, help="write there, as JSON, the seconds that stages side by side took"
    )
    given = parser.parse_args(arguments)
    times = given.times and given.times.resolve()
    os.chdir(root)
    try:
        if given.jobs < 1:
            raise RetraceError(f"--jobs={given.jobs}: should be 1 or more")
        config = load(root / "params.yaml")
        if warning := warn_of_change(root / "conf", root / "params.yaml"):
            print(warning, file=sys.stderr)
        with alone(root / ".dvc" / "tmp" / "stages.lock", AT_WORK):
            return run(config, root, given.stages, given.jobs, times)
    except (RetraceError, DvcException, OSError) as error:  # OSError: a full disk, no rights
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:], checkout())
    except KeyboardInterrupt:  # before the first stage
        code = 130
    if code > 128:
        print(INTERRUPTED, file=sys.stderr)
    sys.exit(code)
