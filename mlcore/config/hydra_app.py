"""A stage as a Hydra application: one run, or a sweep."""

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from mlcore.config import help, sweep_table
from mlcore.config.compose import compose_raw, validate
from mlcore.config.messages import in_one_line
from mlcore.config.schema import Config
from mlcore.errors import RetraceError, one_line
from mlcore.errors.validation import masked
from mlcore.pipeline.workspace import Origin

Task = Callable[[Config, Path, Origin, list[str]], Mapping[str, float]]
"""``task(config, output folder, origin, overrides)`` gives the final metrics of a training."""

LONGEST = 255  # bytes of a folder's name, as file systems have it


def answers(conf: Path, stage: str, what: str, sections: Sequence[str], words: list[str]) -> bool:
    """Answer a command line that asks something and runs nothing, as ``--help``; say whether it is.

    Raises RetraceError if what it asks about is wrong.
    """
    args = get_args(words)
    if args.shell_completion and "install=bash" in words:
        print(help.BASH)
        return True
    if args.shell_completion and (choices := help.completions(os.environ.get("COMP_LINE", ""))):
        print(*choices)
        return True
    if not (args.shell_completion or args.help or args.hydra_help or args.cfg or args.info):
        return False
    if not args.shell_completion:
        check_jobs(conf, stage, sections, words)
        config = compose_raw(conf, args.overrides, with_hydra=True)
        parts = {
            "what": what,
            "parameters": help.parameters(conf, sections, config),
            "examples": help.examples(stage, sections),
        }
        OmegaConf.register_new_resolver("stage", parts.__getitem__, replace=True)
    _run_hydra(lambda config: None, stage, conf, words)
    return True


def check_jobs(
    conf: Path, stage: str, sections: Collection[str], arguments: Sequence[str]
) -> Config:
    """Check the jobs of the command line; returns the configuration of the first.

    `sections` are those of the configuration that the stage reads. Raises RetraceError if the
    overrides of any job are wrong, as far as jobs are known beforehand, or would be recorded with
    a training that they do not change, or if a job's folder cannot be made.
    """
    args = get_args(list(arguments))
    configs = []
    jobs = jobs_known_beforehand(args.overrides, args.multirun, conf)
    for number, job in enumerate(jobs):
        composed = compose_raw(conf, job, with_hydra=True)
        _check_folder(composed, stage, number, args.multirun)
        with open_dict(composed):
            del composed["hydra"]
        configs.append(validate(composed, "command line" if args.overrides else f"{conf.name}/"))
    if len({config.tracking for config in configs}) > 1:
        raise RetraceError("command line: tracking should be the same for all jobs of a sweep")
    for override in dict.fromkeys([*args.overrides, *chain.from_iterable(jobs)]):
        _refuse_without_effect(override, stage, sections, conf)
    return configs[0]


def _check_folder(composed: DictConfig, stage: str, number: int, sweep: bool) -> None:
    """Raise RetraceError if the folder of a job has too long a name."""
    with open_dict(composed.hydra.job):
        composed.hydra.job.update(name=stage, num=number, id=str(number))
    for key in ["hydra.sweep.dir", "hydra.sweep.subdir"] if sweep else ["hydra.run.dir"]:
        try:
            folder = str(OmegaConf.select(composed, key))
        except Exception:  # it names what is there when the job runs, as ${hydra:job.num} does
            continue
        length, name = max((len(os.fsencode(part)), part) for part in folder.split("/"))
        if length > LONGEST:
            raise RetraceError(
                f"command line: {key} gives a folder whose name has {length} bytes, and may have "
                f"{LONGEST}: {name[:30]}..."
            )


def _refuse_without_effect(
    override: str, stage: str, sections: Collection[str], conf: Path
) -> None:
    """Raise RetraceError if an override is of sections alone that the stage does not read."""
    key, _, value = override.lstrip("+~").partition("=")
    experiment = conf / "experiment" / f"{value}.yaml"
    of = {re.split("[.@]", key)[0]}
    if key == "experiment" and experiment.is_file():
        of = {*OmegaConf.load(experiment)}
    if of and of <= set(help.SECTIONS) - set(sections):
        read = f"reads {', '.join(sections)}" if sections else "has no parameters"
        raise RetraceError(
            f"command line: {masked(override)} has no effect on {stage}, "
            f"which {read}; `dvc exp run -S` runs the stages that it has an effect on"
        )


def run_as_hydra_app(task: Task, stage: str, conf: Path, arguments: Sequence[str]) -> None:
    """Run a task as a Hydra application, once or as a multirun, which ends with a table.

    Raises RetraceError if the overrides of the job are wrong, or results cannot be written.
    """
    args = get_args(list(arguments))
    folder = Path("multirun" if args.multirun else "outputs")  # as conf/config.yaml has it
    elsewhere = any(re.match(r"\+*hydra\.(run|sweep)\.dir=", o) for o in args.overrides)
    if not elsewhere and not os.access(folder if folder.exists() else Path(), os.W_OK):
        key = "hydra.sweep.dir" if args.multirun else "hydra.run.dir"
        raise RetraceError(f"{folder} cannot be written to; {key}=FOLDER names another folder")
    with _table_of_jobs(conf.parent, args.multirun) as notes:

        def job_of_hydra(config: DictConfig) -> float | None:
            hydra_config = HydraConfig.get()
            sweep = hydra_config.mode == RunMode.MULTIRUN
            overrides = list(hydra_config.overrides.task)
            out = Path(hydra_config.runtime.output_dir)
            try:
                valid = validate(config, "command line")
                metrics = task(valid, out, Origin.SWEEP if sweep else Origin.HYDRA, overrides)
            except RetraceError as error:
                if not sweep:
                    sys.exit(f"error: {error}")
                sweep_table.note(notes, hydra_config.job.num, overrides, {"error": str(error)})
                raise CompactHydraException(f"error: {error}") from None  # printed as it is
            if sweep:
                sweep_table.note(notes, hydra_config.job.num, overrides, metrics)
            return sweep_table.number(metrics)  # for sweepers that look for the best

        _run_hydra(job_of_hydra, stage, conf, arguments)


@contextmanager
def _table_of_jobs(root: Path, multirun: bool) -> Iterator[Path]:
    """Give a folder for notes of jobs, which workers see, too; print them at the end."""
    shared = root / "build"
    if multirun and os.access(root, os.W_OK):
        shared.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        try:
            yield Path(folder)
        finally:  # what is done when a job fails, or the sweep is broken off, is told, too
            if table := sweep_table.table(Path(folder)):
                print(f"\n{table}", flush=True)


def _run_hydra(
    job: Callable[[DictConfig], float | None], stage: str, conf: Path, arguments: Sequence[str]
) -> None:
    job.__module__ = stage  # Hydra takes the job's name from it, also for its --help
    # Hydra has no other way to hand arguments in
    started_with, sys.argv = sys.argv, [f"stages.{stage}", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job)()
    except ValueError as error:  # flags that exclude each other
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise RetraceError(f"command line: {one_line(error)}") from None
    finally:
        sys.argv = started_with


def jobs_known_beforehand(arguments: list[str], multirun: bool, conf: Path) -> list[list[str]]:
    """Give the overrides of every job, as far as they are known before the first one runs.

    For a sweeper that chooses its jobs while it runs, as optimisers do, this is one job of what is
    fixed; the others are checked when they start.
    """
    with in_one_line("command line"):
        overrides = _parse(arguments, conf)
    if not multirun:
        return [arguments]
    hydras = [o.input_line or "" for o in overrides if o.key_or_group.startswith("hydra")]
    composed = compose_raw(conf, hydras, with_hydra=True)
    with in_one_line("command line"):
        sweeper = composed.hydra.sweeper._target_
    if sweeper != f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}":
        return [[o.input_line or "" for o in overrides if not o.is_sweep_override()]]
    return expand(arguments, "command line", conf)


def expand(arguments: list[str], source: str, conf: Path) -> list[list[str]]:
    """Give the overrides of every job of a sweep, the last override varying fastest.

    They may choose from the groups of `conf`. Raises RetraceError, which names `source`, if they
    cannot be read, or make no job.
    """
    with in_one_line(source):
        (jobs,) = BasicSweeper.split_arguments(_parse(arguments, conf), max_batch_size=None)
        if not jobs:
            raise ValueError("a sweep should have a job; a range or a choice in it is empty")
    return jobs


def _parse(arguments: list[str], conf: Path) -> list[Override]:
    """Parse overrides; a glob in them chooses from the groups of `conf`."""
    for word in arguments:
        key, equals, _ = word.partition("=")
        if not (equals or word.startswith("~")) or key != key.rstrip():
            raise ValueError(f"{word}: a parameter is set by key=value, without spaces")
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return OverridesParser.create(loader).parse_overrides(arguments)
