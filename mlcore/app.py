"""From the command line to a stage's `run` function, and from there to the tracker.

Stages do not know how they were started. DVC sets DVC_STAGE: parameters then come from params.yaml
and results go to the pipeline's paths. Otherwise the stage is a Hydra application: parameters are
composed from conf/, results go to Hydra's output folder, and the pipeline's own stay untouched.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from joblib import parallel_config
from joblib.parallel import get_active_backend

from mlcore.config import Config, load
from mlcore.config.help import SECTIONS
from mlcore.config.hydra_app import answers, check_jobs, run_as_hydra_app
from mlcore.errors import RetraceError, one_line
from mlcore.pipeline.digests import inputs_digest
from mlcore.pipeline.dvc_yaml import read_stages
from mlcore.pipeline.workspace import Origin, Workspace
from mlcore.process import checkout, pin_threads
from mlcore.sweeps.cluster import ADDRESS, connected
from mlcore.tracking.observer import Tracker, run_name, session, sweep_parent
from mlcore.training.progress import NO_LIVE_LINE, Progress
from mlcore.training.run import Observer, Training
from mlcore.training.run import run as run_training

log = logging.getLogger(__name__)

Stage = Callable[[Config, Workspace], Training | None]

# Said after Ctrl-C
INTERRUPTED = "interrupted: what is finished is kept, what is not leaves no results"


@dataclass(frozen=True)
class Task:
    """A stage as a job runs it, also in another process."""

    run: Stage
    stage: str  # its name in dvc.yaml
    root: Path  # top of the checkout
    session: Path | None = None  # the command's notes for the tracker, where trainings are tracked
    group: str = ""  # of the trainings of one sweep, whose run becomes the parent of theirs
    cluster: str | None = None  # address of the Dask scheduler whose workers do a search's fits
    live: bool = False  # whether progress is one live line in the terminal

    def __call__(
        self, config: Config, out: Path, origin: Origin, overrides: list[str]
    ) -> Mapping[str, float]:
        """Run the stage, and train what it declares; returns the final metrics, if any.

        Raises RetraceError if the training diverges, or values or files are wrong.
        """
        pin_threads()  # again, for workers in which NumPy was loaded before
        workspace = Workspace(self.root, out)
        check = self._unchanged(config, overrides) if origin == Origin.PIPELINE else lambda: None
        try:
            training = self.run(config, workspace)
            if training is None:
                check()
                metrics: Mapping[str, float] = {}
            else:
                known = read_stages(self.root).get(self.stage)
                name = run_name(training.name, known, origin, overrides)
                watching: list[Observer] = [Progress(self.live, name)]
                if self.session:  # told first: what interrupts others does not keep its notes open
                    about = (self.stage, origin, config, overrides, self.group)
                    watching.insert(0, Tracker(self.session, workspace, *about))
                metrics = self._train(training, workspace, watching, check)
        except (FloatingPointError, ValueError, OSError) as error:  # diverged, no room, ...
            if os.environ.get("HYDRA_FULL_ERROR") == "1":  # Hydra's own switch for tracebacks
                raise
            raise RetraceError(f"stages.{self.stage}: {one_line(error)}") from None
        if out != self.root:
            log.info("results in %s", out)
        return metrics

    def _train(
        self,
        training: Training,
        workspace: Workspace,
        observers: list[Observer],
        check: Callable[[], None],
    ) -> Mapping[str, float]:
        def output(path: str) -> Path:
            check()  # before the first file is written
            return workspace.output(path)

        with ExitStack() as stack:
            # On a worker of a sweep the search has its own core alone
            beside_others = get_active_backend()[0].nesting_level > 0
            if self.cluster and training.parallel and not beside_others:
                client = stack.enter_context(connected(self.cluster, self.root))
                stack.enter_context(parallel_config("dask", client=client))
            return run_training(training, output, observers).metrics

    def _unchanged(self, config: Config, overrides: list[str]) -> Callable[[], None]:
        """Give a check that what the stage comes from is as it is now; only its first call looks.

        DVC hashes it when the stage has ended, and would note the results as those of code, data
        and parameters that came meanwhile.
        """
        stage = read_stages(self.root)[self.stage]
        before = inputs_digest(stage, config, self.root)

        @cache
        def check() -> None:
            now = load(self.root / "params.yaml", overrides)
            if inputs_digest(stage, now, self.root) != before:
                told = f"what {self.stage} comes from has changed while it ran: run it again"
                raise RetraceError(told)

        return check


def main(run: Stage, arguments: Sequence[str] | None = None, root: Path | None = None) -> None:
    """Run a stage with the arguments of a command line, and train what it declares.

    ``run(config, workspace)`` writes its results itself and returns None, or returns what is to be
    trained. If not given, `arguments` are those of this process, and `root`, the top of the
    checkout, is that of this code.
    """
    module = run.__module__
    if module == "__main__":
        module = sys.modules[module].__spec__.name  # type: ignore[union-attr]
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _start(run, module.removeprefix("stages."), list(arguments), root or checkout())
    except RetraceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def _start(run: Stage, stage: str, arguments: list[str], root: Path) -> None:
    """Run the stage as DVC's or as a Hydra application, as the environment has it."""
    cluster = os.environ.get(ADDRESS)
    live = sys.stderr.isatty() and not os.environ.get(NO_LIVE_LINE)
    if "DVC_STAGE" in os.environ:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        config = load(root / "params.yaml", arguments)
        with session(config, root) as folder:
            task = Task(run, stage, root, folder, cluster=cluster, live=live)
            task(config, root, Origin.PIPELINE, arguments)
        return
    conf, known = root / "conf", read_stages(root).get(stage)
    # Of a stage that dvc.yaml does not have yet nothing is known
    what, sections = (known.desc, known.sections) if known else (stage, SECTIONS)
    if answers(conf, stage, what, sections, arguments):
        return
    config = check_jobs(conf, stage, sections, arguments)
    with session(config, root) as folder, sweep_parent(folder, stage, arguments) as group:
        task = Task(run, stage, root, folder, group, cluster, live)
        run_as_hydra_app(task, stage, conf, arguments)
