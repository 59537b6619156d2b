"""Whether the committed results come out again: ``python -m mlcore.review.verify [STAGE ...]``.

The last commit is cloned into an empty folder, its pipeline run there from nothing, and every
hash that then stands in dvc.lock compared with the committed one. On a machine that rounds
otherwise hashes cannot agree; there the values are compared, within `TOLERANCES`.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from dvc.utils.flatten import flatten
from tabulate import tabulate

from mlcore.errors import RetraceError
from mlcore.files import read_json
from mlcore.pipeline.dvc_yaml import read_lock
from mlcore.process import checkout, fingerprint, git

FOLDER = Path("build") / "verify"

ENVIRONMENT = "metrics/environment.json"
"""Where the committed results say on which machine they were made."""

NAME_PYTHON = (ENVIRONMENT, "metrics/report.html")
"""Files with the version of Python in them, on which no bits depend."""

COMPUTED = ("data/features", "history", "metrics", "models")
"""Where stages write what depends on the machine. Data and code are the same on every one."""

TOLERANCES: tuple[tuple[str, Mapping[str, float]], ...] = (
    # What is counted is the same on every machine
    ("metrics/mnist.json", {"*": 0.0}),
    ("metrics/fashion_mnist.json", {"*": 0.0}),
    ("metrics/worked_examples.json", {"*": 1e-9}),
    # Chaotic: a last bit counts as much as another seed
    ("metrics/network/*relu-random.json", {"*_accuracy": 0.05, "*_loss": 0.3}),
    # A last bit decides on which side of its kink a unit is
    ("metrics/network/*relu-normal.json", {"*_accuracy": 0.005, "*_loss": 0.02}),
    ("metrics/*classifier/relu*.json", {"*_accuracy": 0.02, "*_loss": 0.02}),
    ("metrics/autoencoder/relu-*.json", {"*_loss": 0.0005, "*_mse": 0.0005}),
    # Its tolerance may end the training an epoch earlier or later
    ("metrics/autoencoder/*-fit.json", {"*_loss": 0.0005, "*_mse": 0.0005}),
    # Another candidate may be the best
    ("metrics/search/best.json", {"val_accuracy": 0.01, "test_accuracy": 0.03}),
    # Smooth activations, and units that collapse: one image of a thousand, and rounding
    *(
        (f"metrics/{part}/*", {"*_accuracy": 0.001, "*_loss": 1e-5, "*_mse": 1e-5})
        for part in ("network", "classifier", "autoencoder", "feature_classifier")
    ),
)
"""File, and how far its values may be from the committed ones on a machine that rounds otherwise.

The first that fits counts. Measured between two kernels of OpenBLAS, Haswell and SkylakeX: the
differences are up to a third of these, and up to a fiftieth where activations are smooth.
"""

Lock = Mapping[str, Mapping[str, Mapping[str, str]]]
"""The stages of a dvc.lock, as `read_lock` gives them."""


class Difference(NamedTuple):
    """A file whose MD5 is not what dvc.lock says; None for a file that is not there."""

    stage: str
    path: str
    known: str | None
    found: str | None


def hashes(stage: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Give the MD5 of every file that a stage of `read_lock` reads or writes, by path."""
    return {path: md5 for files in stage.values() for path, md5 in files.items()}


def differences(known: Lock, found: Lock) -> list[Difference]:
    """Compare the stages of a dvc.lock, all those that ran, with the committed ones."""
    differ = []
    for stage, files in found.items():
        before, after = hashes(known.get(stage, {})), hashes(files)
        rows = (Difference(stage, p, before.get(p), after.get(p)) for p in before | after)
        differ += [row for row in rows if row.known != row.found]
    return differ


def distances(path: str, known: Any, found: Any) -> list[tuple[Any, ...]]:
    """Compare those values of a metrics file, committed and found, that have a tolerance.

    Gives those that differ: file, name, the value committed and found, NaN if it is not there, the
    tolerance, and "too far" or nothing. What is no number should be equal.
    """
    after, rows = flatten(found), []
    of_file = [item for file, of in TOLERANCES if fnmatchcase(path, file) for item in of.items()]
    for name, old in flatten(known).items():
        tolerance = next((t for value, t in of_file if fnmatchcase(name, value)), None)
        new = after.get(name, math.nan)
        if tolerance is not None and new != old:
            numbers = isinstance(old, int | float) and isinstance(new, int | float)
            near = numbers and abs(new - old) <= tolerance
            rows.append((path, name, old, new, tolerance, "" if near else "too far"))
    return rows


def other_machine(known: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say what is not as where the committed results were made, of all that bits depend on."""
    return [
        f"{name}: {known.get(name)} there, {value} here"
        for name, value in here.items()
        if name != "python" and value != known.get(name)
    ]


def misplaced(
    differ: Sequence[Difference], folders: Sequence[str], found: Lock
) -> list[Difference]:
    """Give the differences in what stages of dvc.lock did not make, or not in these folders."""
    made = [path for stage in found.values() for path in stage["outs"]]
    return [
        d
        for d in differ
        if not any(PurePath(out).is_relative_to(d.path) for out in made)  # a dep may be a folder
        or not any(PurePath(d.path).is_relative_to(folder) for folder in folders)
    ]


def may_differ(machine: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the folders and files that may differ between the committed machine and this one."""
    if other_machine(machine, here):
        return COMPUTED
    return NAME_PYTHON if machine["python"] != here["python"] else ()


def clone(root: Path, folder: Path) -> str:
    """Clone the last commit into an empty folder, with nothing to take results from; name it."""
    shutil.rmtree(folder, ignore_errors=True)
    git(root, "clone", "-q", "--no-tags", str(root), str(folder))
    # A cache that DVC's global configuration names would give results back
    (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    return git(folder, "rev-parse", "HEAD")


def environment() -> dict[str, str]:
    """Give the environment of a run from nothing: no setting of another one, but the data's."""
    others = ("DVC_", "MLFLOW_", "RETRACE_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(others)}
    if data := os.environ.get("RETRACE_DATA"):
        kept["RETRACE_DATA"] = str(Path(data).resolve())
    return kept


def run(folder: Path, *arguments: str) -> None:
    """Run ``python -m stages`` in a clone; raises RetraceError if it fails."""
    command = [sys.executable, "-m", "stages", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment())
    try:
        code = process.wait()
    except KeyboardInterrupt:  # subprocess.run would kill it, and its stages would go on
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if code:
        raise RetraceError(f"it did not run to its end; what it made is in {folder}")


def verify(root: Path, *arguments: str) -> bool:
    """Run stages in a clone, print what is not as committed, and say whether the results hold."""
    folder = root / FOLDER
    commit = clone(root, folder)
    print(f"commit {commit[:12]}, without what is not committed, in {FOLDER}", flush=True)
    known, machine, here = read_lock(folder), committed(folder, ENVIRONMENT), fingerprint()
    (folder / "dvc.lock").unlink()  # all that stands in it afterwards ran here
    began = time.monotonic()
    run(folder, *arguments)
    found = read_lock(folder)
    differ = differences(known, found)
    n_files = len({path for stage in found.values() for path in hashes(stage)})
    n_same = n_files - len({d.path for d in differ})
    print(f"\n{len(found)} stages ran in {time.monotonic() - began:.0f} s.", end=" ")
    print(f"{n_same} of {n_files} files are byte for byte what dvc.lock says.")
    wrong = misplaced(differ, may_differ(machine, here), found)
    if wrong:
        print(tabulate(wrong, ["stage", "file", "MD5 in dvc.lock", "now"]))
    others = other_machine(machine, here)
    if not others:
        return not wrong
    print("\nThis machine may round otherwise than that of the committed results:")
    print("\n".join(f"  {line}" for line in others))
    return values_are_near(folder, {d.path for d in differ}) and not wrong


def committed(folder: Path, path: str) -> Any:
    """Give the content of a JSON file as committed."""
    return json.loads(git(folder, "show", f"HEAD:{path}"))


def values_are_near(folder: Path, paths: Collection[str]) -> bool:
    """Print the values of files that differ from the committed ones; say whether all are near."""
    rows = [
        row
        for path in sorted(paths)
        if path.endswith(".json")
        for row in distances(path, committed(folder, path), read_json(folder / path))
    ]
    if rows:
        print(tabulate(rows, ["file", "value", "committed", "here", "tolerance", ""]))
    return not any(too_far for *_, too_far in rows)


def main(arguments: list[str], root: Path) -> int:
    """Verify what the command line names; gives the exit code, 1 if it does not come out again."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.review.verify", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="only these and what they need (default: all)"
    )
    parser.add_argument("--jobs", help="stages at a time (default: one per core)")
    options = parser.parse_args(arguments)
    jobs = ["--jobs", options.jobs] if options.jobs else []
    try:
        holds = verify(root, *options.stages, *jobs)
    except RetraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\nThe committed results hold." if holds else "\nerror: they do not come out again")
    return int(not holds)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:], checkout()))
