"""The pipeline's stages, one module each: read, call mlcore, write."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlcore.process import pin_threads

if TYPE_CHECKING:
    from mlcore.config import Config as Config
    from mlcore.pipeline.workspace import Workspace as Workspace
else:  # how parameters and paths reach a stage is no dependency of it
    Config = Workspace = Any

pin_threads()  # before any stage imports NumPy


def main(run: Callable[..., Any]) -> None:
    """Run a stage as the command line has it, see `mlcore.app.main`."""
    from mlcore.app import main

    main(run)
