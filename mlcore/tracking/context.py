"""Those who watch a training: one module each, listed here."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from mlcore.config import Config
from mlcore.tracking.notes import SESSION
from mlcore.tracking.observer import Tracker
from mlcore.training.progress import Progress
from mlcore.training.run import Observer


@dataclass(frozen=True)
class Context:
    """How the stage was started.

    Attributes
    ----------
    root : Path
        Top of the checkout.
    out : Path
        Folder of the results: `root` under DVC.
    stage : str
        Module that runs, such as "stages.train_network".
    origin : {'dvc', 'hydra', 'sweep'}
    overrides : list of str
        Of the command line.
    group : str
        Of trainings of one sweep, whose run becomes the parent of theirs.
    inputs : dict of str to Path
        Results of earlier stages that this one builds on.
    """

    root: Path
    out: Path
    stage: str
    origin: str
    overrides: list[str] = field(default_factory=list)
    group: str = ""
    inputs: dict[str, Path] = field(default_factory=dict)


def make_observers(config: Config, context: Context) -> list[Observer]:
    """Give the observers that the configuration asks for."""
    return [Progress(), *trackers(config, context)]


def trackers(config: Config, context: Context) -> list[Observer]:
    """Give those of the observers that record."""
    session = os.environ.get(SESSION)
    if config.tracking.backend != "none" and session:
        return [Tracker(Path(session), context)]
    return []
