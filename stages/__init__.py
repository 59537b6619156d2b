"""The pipeline's stages, one module each: read, call mlcore, write."""

from typing import TYPE_CHECKING, Any

from mlcore.process import pin_threads

if TYPE_CHECKING:
    from mlcore.app import Stage
    from mlcore.config import Config as Config
    from mlcore.pipeline.workspace import Workspace as Workspace
else:  # how parameters and paths reach a stage is no dependency of it
    Config = Workspace = Any

pin_threads()  # before any stage imports NumPy


def main(run: "Stage") -> None:
    """Run a stage with the arguments of this process; see `mlcore.app.main`."""
    from mlcore.app import main  # here: a stage that is imported needs nothing of it

    main(run)
