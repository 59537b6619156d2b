"""What the tracker is told of how a training was started."""

from dataclasses import dataclass, field
from pathlib import Path

from mlcore.tracking.observer import Tracker
from mlcore.training.run import Observer
from mlcore.workspace import Origin


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
    origin : Origin
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
    origin: Origin
    overrides: list[str] = field(default_factory=list)
    group: str = ""
    inputs: dict[str, Path] = field(default_factory=dict)


def trackers(session: Path | None, context: Context) -> list[Observer]:
    """Give the observers that record: none where a command has no session."""
    return [Tracker(session, context)] if session else []
