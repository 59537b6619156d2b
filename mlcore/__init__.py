"""The library behind the pipeline: arrays and parameters in, arrays and numbers out."""

import sys
from types import TracebackType


def _in_a_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Leave out the traceback where Ctrl-C ends a command, also while it imports its libraries."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2].startswith(("mlcore.", "stages")):
    sys.excepthook = _in_a_line
