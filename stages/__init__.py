"""The pipeline's stages, one module each: read, call mlcore, write."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlcore.process import pin_threads

if TYPE_CHECKING:
    from mlcore.config import Config as Config
    from mlcore.workspace import Workspace as Workspace
else:  # how parameters and paths reach a stage is no dependency of it
    Config = Workspace = Any

pin_threads()  # before any stage imports NumPy


def _in_a_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Leave out the traceback where Ctrl-C comes before a stage's imports are done."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[0] == "-m":  # Python is about to run a module of this package
    sys.excepthook = _in_a_line
