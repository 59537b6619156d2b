"""Run the pipeline with independent stages side by side: ``python -m stages --jobs 2``.

The same as ``dvc repro``, which runs one stage at a time: every stage is still run by DVC, the
graph is DVC's own, and so is the last word, a plain ``dvc repro`` that finds nothing left to do.
"""

import argparse
import os
import signal
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Lock

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo

from mlcore.artifacts import read_yaml
from mlcore.config import load
from mlcore.errors import RetraceError

ROOT = Path(__file__).parents[1]

DVC = [sys.executable, "-m", "dvc"]


def stale_graph(repo: Repo) -> dict[str, set[str]]:
    """Map every stage that may have to run to those of them that it waits for."""
    graph = nx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
    stale: set[str] = set(repo.status())
    for name in list(stale):
        stale |= nx.ancestors(graph, name)  # DVC's edges lead from a stage to what it depends on
    return {name: set(graph.successors(name)) & stale for name in stale}


class Runner:
    """Runs DVC stages as processes of one group each, so that they can be ended together."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.lock = Lock()

    def repro(self, *arguments: str) -> int:
        """Run ``dvc repro`` with these arguments; returns its exit code."""
        # Without --wait-for-lock, stages that start together lose each other's lock
        command = [*DVC, "--wait-for-lock", "repro", *arguments]
        with self.lock:
            if self.stopped:
                return 1
            process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
            self.running.add(process)
        code = process.wait()
        with self.lock:
            self.running.discard(process)
        return code

    def stop(self) -> None:
        """Start nothing further, and interrupt what runs until it has ended."""
        with self.lock:
            self.stopped = True
        while self.running:
            for process in list(self.running):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                if process.poll() is not None:
                    self.running.discard(process)


def run_side_by_side(
    runner: Runner, graph: dict[str, set[str]], alone: set[str], jobs: int
) -> list[str]:
    """Run stages in the order of their graph, up to `jobs` at a time.

    Parameters
    ----------
    runner : Runner
    graph : dict of str to set of str
        Each stage with those it waits for.
    alone : set of str
        Stages that use all cores: each runs while no other does, when nothing else is ready.
    jobs : int

    Returns
    -------
    list of str
        The stages that failed; nothing new is started after the first.
    """
    order = TopologicalSorter(graph)
    order.prepare()
    ready: list[str] = []
    failed: list[str] = []
    futures: dict[Future[int], str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while order.is_active() and not failed:
                ready += sorted(order.get_ready())
                ready.sort(key=lambda name: name in alone)  # stable
                while ready and len(futures) < jobs and not _blocked(ready[0], futures, alone):
                    name = ready.pop(0)
                    futures[pool.submit(runner.repro, "-s", name)] = name
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in done:
                    name = futures.pop(future)
                    if future.result() == 0:
                        order.done(name)
                    else:
                        failed.append(name)
        except KeyboardInterrupt:
            runner.stop()  # before the pool waits for its threads
            raise
    return failed + [futures[f] for f in futures if f.result() != 0]


def _blocked(name: str, futures: dict[Future[int], str], alone: set[str]) -> bool:
    return bool(futures) and (name in alone or not alone.isdisjoint(futures.values()))


def main() -> int:
    """Bring the pipeline up to date; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stages", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="stages at a time (default: %(default)s)"
    )
    jobs = parser.parse_args().jobs
    if jobs < 1:
        parser.error(f"--jobs should be at least 1, not {jobs}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Also where a shell's background job ignores Ctrl-C: the stages must not be left behind
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    os.environ["LOKY_MAX_CPU_COUNT"] = str(jobs)  # joblib's own limit, for the grid search
    try:
        load(ROOT / "params.yaml")
        with Repo() as repo:
            graph = stale_graph(repo)
            names = {stage.addressing for stage in repo.index.stages}
            alone = {
                s.addressing for s in repo.index.stages if (s.meta or {}).get("uses_all_cores")
            }
    except (RetraceError, DvcException) as error:
        sys.exit(f"error: {error}")
    lock = ROOT / "dvc.lock"
    ordered = lock.exists() and names <= set(read_yaml(lock).get("stages") or {})
    if graph:
        print(
            f"{len(graph)} of {len(names)} stages to bring up to date, {jobs} at a time", flush=True
        )
    runner = Runner()
    if jobs > 1 and len(graph) > 1:
        failed = run_side_by_side(runner, graph, alone, jobs)
        if failed:
            print(f"error: failed: {', '.join(failed)}; their reasons stand above", file=sys.stderr)
            return 1
        if not ordered:
            # New entries stand in the order of completion; DVC restores its own from the run cache
            lock.unlink()
    try:
        return runner.repro()
    except KeyboardInterrupt:
        runner.stop()
        raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print(
            "interrupted: finished stages are kept, and the next run goes on from there; "
            "`git restore metrics` brings back the committed results of the others",
            file=sys.stderr,
        )
        sys.exit(130)
