"""DVC's pipeline with independent stages side by side: what to run, running it, stopping all.

Every stage is run by DVC itself, the graph is DVC's own, and what is left in dvc.lock is what a
plain ``dvc repro`` leaves.
"""

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import networkx as nx
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.utils.serialize import dump_yaml, parse_yaml_for_update
from filelock import FileLock, Timeout

from mlcore.errors import RetraceError
from mlcore.errors.validation import nearest
from mlcore.files import atomic_path


class Plan(NamedTuple):
    """What there is to run."""

    graph: dict[str, set[str]]
    """Each stage that may have to run, with those of them that it waits for."""
    alone: set[str]
    """Stages that use all cores: none runs beside them."""
    order: list[str]
    """Every stage of the pipeline, in the order in which ``dvc repro`` runs them."""
    targets: tuple[str, ...] = ()
    """Stages that were asked for; empty for all."""


def plan(repo: Repo, targets: Sequence[str] = ()) -> Plan:
    """Find out what is out of date; a stage whose ``meta`` has ``uses_all_cores`` runs alone.

    With targets only these and what they depend on: stages, or names of a matrix for all its
    stages. Raises RetraceError if there is no such stage.
    """
    order = plan_repro(repo.index.graph)
    graph = nx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing)
    wanted = {name for target in targets for name in _stages_of(graph, target)} or set(graph)
    wanted |= {needed for name in wanted for needed in nx.descendants(graph, name)}
    stale: set[str] = set(repo.status())
    for name in list(stale):
        stale |= nx.ancestors(graph, name)  # DVC's edges lead from a stage to what it depends on
    stale &= wanted
    return Plan(
        {name: set(graph.successors(name)) & stale for name in stale},
        {stage.addressing for stage in order if (stage.meta or {}).get("uses_all_cores")},
        [stage.addressing for stage in order],
        tuple(targets),
    )


def _stages_of(every: Collection[str], target: str) -> list[str]:
    """Give the stages that a name stands for, of which a matrix has many."""
    named = [name for name in every if target in (name, name.partition("@")[0])]
    if not named:
        known = every if "@" in target else {name.partition("@")[0] for name in every}
        raise RetraceError(f"dvc.yaml has no stage {target}; {nearest(target, known)}")
    return named


def stale_stages(root: Path, names: Collection[str]) -> list[str]:
    """Name what is out of date of these stages and those before them; data may be missing.

    The name of a matrix stands for all its stages.
    """
    with Repo(str(root)) as repo, repo.lock:
        wanted = {s for s in repo.index.stages if s.addressing.partition("@")[0] in names}
        for stage in list(wanted):
            wanted |= nx.descendants(repo.index.graph, stage)
        stages = repo.index.stages
        stale = [s for s in wanted if s.changed(allow_missing=True, upstream=stages)]
        return sorted(stage.addressing for stage in stale)


async def run_side_by_side(
    plan: Plan, jobs: int, start: Callable[[str], Awaitable[int]]
) -> list[str]:
    """Run stages in the order of their graph, up to `jobs` at a time; returns those that failed.

    `start` runs the stage of a name and gives its exit code. Those that run alone come when nothing
    else is ready; nothing new is started after the first failure.
    """
    order = TopologicalSorter(plan.graph)
    order.prepare()
    ready: list[str] = []
    failed: list[str] = []
    running: dict[asyncio.Future[int], str] = {}
    while running or (order.is_active() and not failed):
        if not failed:
            ready += order.get_ready()
            ready.sort(key=lambda name: (name in plan.alone, plan.order.index(name)))
            while ready and len(running) < jobs and not _blocked(ready[0], running, plan.alone):
                name = ready.pop(0)
                running[asyncio.ensure_future(start(name))] = name
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            name = running.pop(future)
            if future.result() == 0:
                order.done(name)
            else:
                failed.append(name)
    return failed


def _blocked(name: str, running: dict[asyncio.Future[int], str], alone: set[str]) -> bool:
    return bool(running) and (name in alone or not alone.isdisjoint(running.values()))


HINTS = re.compile(rb"didn't change, skipping|^Use `dvc push`|[Aa]uto ?staging|autostage|^\s*$")
"""Lines of DVC that tell nobody anything: of stages that need nothing, and what it could do."""


class Processes:
    """Processes in groups of their own, so that each ends with all that it started."""

    STOP = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
    """Signals that end a process, and the seconds it has after each."""

    def __init__(self) -> None:
        self.running: set[asyncio.subprocess.Process] = set()

    async def run(self, *command: str, env: Mapping[str, str] | None = None) -> int:
        """Run a command; returns its exit code. What it leaves behind is killed.

        What it prints is passed on, without DVC's hints.
        """
        process = await asyncio.create_subprocess_exec(
            *command, env=env, start_new_session=True, stdout=asyncio.subprocess.PIPE, limit=2**24
        )
        self.running.add(process)
        assert process.stdout
        passing = asyncio.ensure_future(_pass_on(process.stdout))
        code = await process.wait()
        self._ended(process)
        await passing
        return code

    async def stop(self) -> None:
        """Signal all at once and wait for all of them; then less gently."""
        for number, patience in self.STOP:
            if not self.running:
                return
            for process in self.running:
                _signal_group(process.pid, number)
            waits = {asyncio.ensure_future(process.wait()): process for process in self.running}
            done, _ = await asyncio.wait(waits, timeout=patience)
            for wait in done:
                self._ended(waits[wait])

    def _ended(self, process: asyncio.subprocess.Process) -> None:
        self.running.discard(process)
        _signal_group(process.pid, signal.SIGKILL)


async def _pass_on(lines: asyncio.StreamReader) -> None:
    async for line in lines:
        if not HINTS.search(line):
            print(line.decode(errors="replace"), end="", flush=True)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def order_lock(repo: Repo, order: list[str]) -> None:
    """Put the entries of dvc.lock into this order; entries of other stages come last.

    Stages that ran side by side stand there in the order in which they ended.
    """
    path = Path(repo.root_dir) / "dvc.lock"
    places = {name: place for place, name in enumerate(order)}
    with repo.lock:
        content = parse_yaml_for_update(path.read_text(encoding="utf-8"), str(path))
        entries = content["stages"]
        wanted = sorted(entries, key=lambda name: places.get(name, len(order)))
        if wanted != list(entries):
            content["stages"] = {name: entries[name] for name in wanted}
            with atomic_path(path) as temporary:
                dump_yaml(str(temporary), content)


@contextmanager
def alone(lock: Path, told: str) -> Iterator[None]:
    """Hold a lock; raises RetraceError, as told, if a process at work holds it."""
    try:
        with FileLock(lock, timeout=0):  # which makes its folder
            yield
    except Timeout:
        raise RetraceError(told) from None
