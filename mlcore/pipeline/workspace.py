"""What a stage is handed besides its parameters: where it reads and writes."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mlcore.errors import RetraceError
from mlcore.pipeline.dvc_yaml import made_by, read_stages


class Origin(StrEnum):
    """How a stage was started; the values are those of the tag `origin` in MLflow."""

    PIPELINE = "dvc"
    HYDRA = "hydra"
    """By hand, once."""
    SWEEP = "sweep"
    """As a job of Hydra's multirun, or of a file of sweeps."""


@dataclass(frozen=True)
class Workspace:
    """Where a stage reads and writes; paths inside it are relative, as in dvc.yaml.

    Attributes
    ----------
    root : Path
        Top of the checkout.
    out : Path
        Results go here: `root` under DVC, the job's own folder elsewhere. What earlier stages made
        is read here, too, or else at `root`.
    inputs : dict of str to Path
        What the stage has asked for, by its path in dvc.yaml.
    """

    root: Path
    out: Path
    inputs: dict[str, Path] = field(default_factory=dict)

    def input(self, path: str) -> Path:
        """Give the path of an earlier stage's result; raises RetraceError if it is not there."""
        for folder in (self.out, self.root):
            if (folder / path).exists():
                self.inputs[path] = folder / path
                return folder / path
        maker = made_by(read_stages(self.root), path)
        hint = f" yet; `make repro` makes it, and so does `dvc repro {maker}`" if maker else ""
        raise RetraceError(f"{path} does not exist{hint}")

    def output(self, path: str) -> Path:
        """Give the path to write a result to; what `mlcore.files` writes makes its folder."""
        return self.out / path
