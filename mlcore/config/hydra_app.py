"""A stage as a Hydra application: one run, or a sweep."""

import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from mlcore.config.compose import compose, compose_raw, validate
from mlcore.config.messages import masked
from mlcore.config.schema import Config
from mlcore.errors import RetraceError, one_line
from mlcore.workspace import Origin

Task = Callable[[Config, Path, Origin, list[str]], None]
"""``task(config, output folder, origin, overrides)``."""


def check_jobs(
    conf: Path, stage: str, sections: Collection[str], arguments: Sequence[str]
) -> Config:
    """Check the jobs of the command line; returns the configuration of the first.

    `sections` are those of the configuration that the stage reads. Raises RetraceError if the
    overrides of any job are wrong, as far as jobs are known beforehand, or would be recorded with
    a training that they do not change.
    """
    args = get_args(list(arguments))
    jobs = jobs_known_beforehand(args.overrides, args.multirun, conf)
    configs = [
        compose(conf, [override for override in job if not override.startswith("hydra")])
        for job in jobs
    ]
    if len({config.tracking for config in configs}) > 1:
        raise RetraceError("command line: tracking should be the same for all jobs of a sweep")
    _refuse_without_effect(_parse(args.overrides, conf), stage, sections)
    return configs[0]


def _refuse_without_effect(
    overrides: Sequence[Override], stage: str, sections: Collection[str]
) -> None:
    """Raise RetraceError if an override is of a section that the stage does not read."""
    for override in overrides:
        section = override.key_or_group.partition(".")[0]
        if section in set(Config.model_fields) - {*sections, "seed", "dtype", "tracking"}:
            read = f"reads {', '.join(sections)}" if sections else "has no parameters"
            raise RetraceError(
                masked(f"command line: {override.input_line} has no effect on {stage}")
                + f", which {read}; `dvc exp run -S` runs the stages that it has an effect on"
            )


def run_as_hydra_app(task: Task, name: str, conf: Path, arguments: Sequence[str]) -> None:
    """Run a task as a Hydra application, once or as a multirun.

    `name` is the module that is being run, as in ``python -m name``; Hydra names the job after it.
    Raises RetraceError if the overrides of the job are wrong, or results cannot be written.
    """
    args = get_args(list(arguments))
    folder = Path("multirun" if args.multirun else "outputs")  # as conf/config.yaml has it
    elsewhere = any(re.match(r"\+*hydra\.(run|sweep)\.dir=", o) for o in args.overrides)
    if not elsewhere and not os.access(folder if folder.exists() else Path(), os.W_OK):
        key = "hydra.sweep.dir" if args.multirun else "hydra.run.dir"
        raise RetraceError(f"{folder} cannot be written to; {key}=FOLDER names another folder")

    def job_of_hydra(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        sweep = hydra_config.mode == RunMode.MULTIRUN
        try:
            task(
                validate(config, "command line"),
                Path(hydra_config.runtime.output_dir),
                Origin.SWEEP if sweep else Origin.HYDRA,
                list(hydra_config.overrides.task),
            )
        except RetraceError as error:
            if sweep:
                raise CompactHydraException(f"error: {error}") from None  # printed as it is
            sys.exit(f"error: {error}")

    job_of_hydra.__module__ = name  # Hydra takes the job's name from it, also for its --help
    started_with, sys.argv = sys.argv, [name, *arguments]  # Hydra has no other way to hand them in
    try:
        hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job_of_hydra)()
    finally:
        sys.argv = started_with


def jobs_known_beforehand(arguments: list[str], multirun: bool, conf: Path) -> list[list[str]]:
    """Give the overrides of every job, as far as they are known before the first one runs.

    For a sweeper that chooses its jobs while it runs, as optimisers do, this is one job of what is
    fixed; the others are checked when they start. Raises RetraceError if the overrides cannot be
    read, or the sweeper does not offer what they ask for.
    """
    try:
        overrides = _parse(arguments, conf)
        if not multirun:
            return [arguments]
        hydras = [o.input_line or "" for o in overrides if o.key_or_group.startswith("hydra")]
        sweeper = compose_raw(conf, hydras, with_hydra=True).hydra.sweeper
        if sweeper._target_ != f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}":
            return [[o.input_line or "" for o in overrides if not o.is_sweep_override()]]
    except RetraceError:
        raise
    except Exception as error:  # Hydra and OmegaConf can raise nearly anything
        raise RetraceError(masked(f"command line: {one_line(error)}")) from None
    return expand(arguments, "command line", conf)


def expand(arguments: list[str], source: str, conf: Path) -> list[list[str]]:
    """Give the overrides of every job of a sweep, the last override varying fastest.

    They may choose from the groups of `conf`. Raises RetraceError, which names `source`, if they
    cannot be read, or make no job.
    """
    try:
        overrides = _parse(arguments, conf)
        (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        if not jobs:
            raise ValueError("a sweep should have a job; a range or a choice in it is empty")
    except Exception as error:  # Hydra can raise nearly anything
        raise RetraceError(masked(f"{source}: {one_line(error)}")) from None
    return jobs


def _parse(arguments: list[str], conf: Path) -> list[Override]:
    """Parse overrides; a glob in them chooses from the groups of `conf`."""
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return OverridesParser.create(loader).parse_overrides(arguments)
