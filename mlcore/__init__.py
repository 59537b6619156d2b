"""The library behind the pipeline: arrays and parameters in, arrays and numbers out."""

import sys
from types import TracebackType


def _in_a_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Leave out the traceback of Ctrl-C while a command imports its libraries, or lacks them."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, ModuleNotFoundError) and sys.prefix == sys.base_prefix:
        told = "`make setup` installs all, then `source .venv/bin/activate`"
        print(f"error: {error}; {told}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2].startswith(("mlcore.", "stages")):
    sys.excepthook = _in_a_line
