"""Run a file of sweeps: ``python -m mlcore.sweeps FILE [--seeds N] [tracking=off]``.

Jobs run side by side, one per core, or with --address on the workers of a Dask cluster. What stands
in the file's table is not run again; every job that ends is written there at once, so that Ctrl-C
loses those at work and no other.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mlcore.process import checkout, pin_threads

pin_threads()  # before NumPy is imported

from joblib.externals.loky.process_executor import TerminatedWorkerError  # noqa: E402

from mlcore.errors import RetraceError, one_line  # noqa: E402
from mlcore.sweeps.cluster import ADDRESS  # noqa: E402
from mlcore.sweeps.run import run_file  # noqa: E402

GOES_ON = "the same command goes on from here"


def natural(text: str) -> int:
    """Read a number from 1 on."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: should be 1 or more")
    return int(text)


def main(arguments: Sequence[str], root: Path) -> None:
    """Run a file of sweeps; ends the process with an exit code if something is wrong."""
    parser = argparse.ArgumentParser(
        "python -m mlcore.sweeps", description=__doc__, exit_on_error=False
    )
    parser.add_argument("file", type=Path, help="such as sweeps/replicates.yaml")
    parser.add_argument("--seeds", type=natural, default=1, help="number of seeds, from 1 on")
    parser.add_argument(
        "--jobs", type=natural, default=-1, help="processes (default: one per core)"
    )
    parser.add_argument(
        "--address",
        default=os.environ.get(ADDRESS),
        help=f"of a Dask scheduler whose workers do it, such as tcp://host:8786; also ${ADDRESS}",
    )
    parser.add_argument(
        "--again",
        type=natural,
        metavar="N",
        help="run N finished jobs of each sweep again and compare; nothing is written",
    )
    parser.add_argument("overrides", nargs="*", help="of the tracking, such as tracking=off")
    try:
        run_file(parser.parse_intermixed_args(arguments), root)
    except TerminatedWorkerError:
        sys.exit(f"error: a worker was killed (no memory left?); {GOES_ON}")
    except (RetraceError, argparse.ArgumentError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # no room, or no permission
        sys.exit(f"error: {one_line(error)}; {GOES_ON}")
    except KeyboardInterrupt:
        print(f"stopped; {GOES_ON}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C
        signal.signal(number, signal.default_int_handler)
    main(sys.argv[1:], checkout())
