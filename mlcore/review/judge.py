"""Judge any study: ``retrace FOLDER``, or ``python -m mlcore.review.judge FOLDER`` in a checkout.

The folder has published.yaml (what was printed), rules.yaml (how it is judged), runs.csv (runs of
yours: name, seed, metrics) and perhaps claims.yaml. The verdict is written beside them. Ends with 3
if a number is not reproduced or a claim is refuted, with 1 for an error, else with 0. How to get
from a table in a PDF to a verdict: docs/your_study.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mlcore.errors import RetraceError, one_line
from mlcore.files import write_json, write_table
from mlcore.judging import folder, judge
from mlcore.judging.numbers import row_of
from mlcore.report import folder as report

__version__ = "0.1.0"

FAILED = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the study of a folder; returns the exit code."""
    parser = argparse.ArgumentParser(
        "retrace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--init", action="store_true", help="propose rules.yaml and runs.csv")
    parser.add_argument("--html", action="store_true", help="write verdict.html, too")
    mlflow = parser.add_argument_group("runs from MLflow, which are written to runs.csv")
    mlflow.add_argument("--mlflow", metavar="URI", help="such as sqlite:///mlflow.db")
    mlflow.add_argument("--experiment", metavar="NAME", help="default: Default")
    mlflow.add_argument("--filter", help="such as \"params.optimizer = 'adam'\"")
    mlflow.add_argument("--seed", metavar="PARAM", help="with the seed, if it is not named so")
    asked = parser.parse_args(argv)
    try:
        if not asked.folder.is_dir():
            raise RetraceError(f"{asked.folder} is not a folder")
        if not asked.mlflow and (asked.experiment or asked.filter or asked.seed):
            raise RetraceError("--experiment, --filter and --seed say what to take of --mlflow URI")
        if asked.init:
            for path in folder.propose(asked.folder):
                print(f"wrote {path}")
            print("Read rules.yaml, fill in runs.csv, then judge.")
            return 0
        if asked.mlflow:
            _fetch(asked.folder / "runs.csv", asked)
        return _judge(asked.folder, html=asked.html)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough; Python writes what is left as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except RetraceError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
    return 1


def _fetch(path: Path, asked: argparse.Namespace) -> None:
    """Write runs from MLflow to a table."""
    try:
        from mlcore.tracking.table import runs_of
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise
        raise RetraceError("mlflow is not installed; pip install mlflow") from None
    experiment = asked.experiment or "Default"
    runs = runs_of(asked.mlflow, experiment, asked.filter or "", asked.seed or "seed")
    folder.checked_runs(runs, asked.mlflow)
    told, former = f"wrote {path}: {len(runs)} runs of {experiment}", path.with_name("runs.csv.old")
    if path.exists() and not former.exists():  # else it is a second fetch, the first has kept it
        told += f"; what was there is {path.replace(former)}"
    write_table(path, runs.to_dict("records"))
    print(told)


def _judge(study: Path, *, html: bool) -> int:
    asked = folder.read_study(study)
    verdict = judge(*asked)
    write_json(study / "verdict.json", verdict)
    write_table(study / "verdict.csv", [*map(row_of, verdict["by_number"].values())])
    name = study.resolve().name.replace("_", " ")
    written = report.write(study, name, verdict, html=html)
    rows = [["number", "printed", "our mean", "runs", "verdict"], *report.table(verdict)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), sep="  ")
    if spare := folder.not_asked_for(*asked):
        print(f"\nOf no number and no claim, perhaps misspelt: runs of {', '.join(spare[:8])}")
    names = ["verdict.json", "verdict.csv", *(path.name for path in written)]
    print(
        "",
        *report.summary(verdict),
        *report.claim_lines(verdict),
        f"Written to {study}: {', '.join(names)}",
        sep="\n",
        flush=True,
    )
    return FAILED if report.failed(verdict) else 0


if __name__ == "__main__":
    sys.exit(main())
