"""From the command line to a stage's `run` function, and from there to the tracker.

Stages do not know how they were started. DVC sets DVC_STAGE: parameters then come from params.yaml
and results go to the pipeline's paths. Otherwise the stage is a Hydra application: parameters are
composed from conf/, results go to Hydra's output folder, and the pipeline's own stay untouched.
"""

import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path

from mlcore.config import Config, load
from mlcore.config.hydra_app import check_jobs, run_as_hydra_app
from mlcore.config.messages import one_line
from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.pipeline.digests import sections_of
from mlcore.process import pin_threads
from mlcore.sweeps import finished
from mlcore.sweeps.cluster import fits_elsewhere
from mlcore.tracking.context import Context, make_observers
from mlcore.tracking.notes import SWEEP
from mlcore.tracking.observer import session, sweep_parent
from mlcore.training.run import Output, Training
from mlcore.training.run import run as run_training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """Where a stage reads and writes; paths inside it are relative, as in dvc.yaml.

    Attributes
    ----------
    root : Path
        Top of the checkout.
    out : Path
        Results go here: `root` under DVC, the job's own folder under Hydra. What earlier stages
        made is read here, too, or else at `root`.
    used : dict of str to Path
        What of it was asked for.
    """

    root: Path
    out: Path
    used: dict[str, Path] = field(default_factory=dict)

    def input(self, path: str) -> Path:
        """Give the path of an earlier stage's result; raises RetraceError if it is not there."""
        for folder in (self.out, self.root):
            if (folder / path).exists():
                self.used[path] = folder / path
                return folder / path
        raise RetraceError(f"{path} does not exist{_maker(self.root, path)}")

    def output(self, path: str) -> Path:
        """Give the path to write a result to, its folder made."""
        full = self.out / path
        full.parent.mkdir(parents=True, exist_ok=True)
        return full


def _maker(root: Path, path: str) -> str:
    """Say how a file is made, if a stage of the pipeline makes it."""
    for name, stage in read_yaml(root / "dvc.yaml")["stages"].items():
        made = (out for key in ("outs", "metrics", "plots") for out in stage.get(key, []))
        for out in made:
            pattern = re.sub(r"\$\{.*?\}", "*", out if isinstance(out, str) else next(iter(out)))
            if fnmatchcase(path, pattern):
                return f" yet; `make repro` makes it, and so does `dvc repro {name}`"
    return ""


Stage = Callable[[Config, Workspace], Training | None]

INTERRUPTED = "interrupted: what is finished is kept, of what was not nothing is written"
"""Said after Ctrl-C."""

ROOT = Path(__file__).parents[1]


def checked(output: Output, check: Callable[[], None]) -> Output:
    """Give a function like `output` that makes a check before the first file is written."""
    check_once = cache(check)

    def path_of(name: str) -> Path:
        check_once()
        return output(name)

    return path_of


@dataclass(frozen=True)
class Task:
    """A stage as a job runs it.

    No function inside another: on a worker that has a checkout of its own, ROOT is that one's.

    Attributes
    ----------
    run : callable
    module : str
        As in ``python -m``.
    """

    run: Stage
    module: str

    def __call__(self, config: Config, out: Path, origin: str, overrides: list[str]) -> None:
        """Run the stage, train what it declares, and note that the job of a sweep is finished.

        Raises
        ------
        RetraceError
            If the training diverges, or values or files are wrong.
        """
        pin_threads()  # again, for workers in which NumPy was loaded before
        workspace = Workspace(ROOT, out)
        digest = "" if origin == "hydra" else finished.digest_of(self.module, config, ROOT)
        if origin == "sweep":
            if earlier := finished.find(digest, out):
                log.info("skipped, its results are in %s", earlier)
                return
            finished.begin(out)
        check = partial(self._check, digest, config, overrides if origin == "dvc" else None)
        try:
            training = self.run(config, workspace)
            if training is None:
                check()
            else:
                sweep = os.environ.get(SWEEP, "")
                context = Context(ROOT, out, self.module, origin, overrides, sweep, workspace.used)
                with fits_elsewhere(training.part == "search"):
                    output = checked(workspace.output, check)
                    run_training(training, output, make_observers(config, context))
        except (
            FloatingPointError,
            ValueError,
            OSError,
        ) as error:  # diverged, bad values, disk full
            if os.environ.get("HYDRA_FULL_ERROR") == "1":  # Hydra's own switch for tracebacks
                raise
            raise RetraceError(f"{self.module}: {one_line(error)}") from None
        if digest and origin == "sweep":
            finished.note(digest, out)
        if out != ROOT:
            log.info("results in %s", out)

    def _check(self, digest: str, config: Config, overrides: list[str] | None) -> None:
        """Raise RetraceError if what the stage comes from is not as when it began.

        DVC hashes it when the stage has ended, and would note the results as those of code, data
        and parameters that came meanwhile. With its `overrides`, parameters are read again.
        """
        now = config if overrides is None else load(ROOT / "params.yaml", overrides)
        if digest and finished.digest_of(self.module, now, ROOT) != digest:
            stage = self.module.removeprefix("stages.")
            raise RetraceError(f"what {stage} comes from has changed while it ran: run it again")


def main(run: Stage) -> None:
    """Run the stage that was started with ``python -m``, and train what it declares.

    Parameters
    ----------
    run : callable
        ``run(config, workspace)``; writes its results itself and returns None, or returns what is
        to be trained.
    """
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "stages are run with python -m"
    module = spec.name

    task = Task(run, module)
    try:
        if "DVC_STAGE" in os.environ:
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
            config = load(ROOT / "params.yaml", sys.argv[1:])
            with session(config, ROOT):
                task(config, ROOT, "dvc", sys.argv[1:])
        else:
            stage, known = module.removeprefix("stages."), read_yaml(ROOT / "dvc.yaml")["stages"]
            # Of a stage that dvc.yaml does not have yet nothing is known
            sections = sections_of(known[stage]) if stage in known else list(Config.model_fields)
            config = check_jobs(ROOT / "conf", stage, sections)
            with session(config, ROOT), sweep_parent(module, sys.argv[1:]):
                run_as_hydra_app(task, module, ROOT / "conf")
    except RetraceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
