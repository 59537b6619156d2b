"""From the pipeline's results to their MLflow runs: ``python -m mlcore.tracking.runs``.

They belong together where the run's tags have the hashes that dvc.lock has; no result has a run id.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tabulate import tabulate

from mlcore.config import load
from mlcore.errors import RetraceError
from mlcore.pipeline.dvc_yaml import read_lock
from mlcore.process import checkout
from mlcore.tracking.observer import store_of
from mlcore.tracking.server import reach
from mlcore.tracking.store import Store, displayed, logged_in

RECORDED, STALE, MISSING = "recorded", "stale", "missing"


def match(outs: Mapping[str, str], runs: Sequence[Any]) -> tuple[str, Any]:
    """Say which of a stage's runs, the newest first, has made these files, by path their MD5.

    Gives "recorded" and that run; "stale" and the newest, which made others; or "missing" and None.
    """
    for run in runs:
        told = run.data.tags.get("md5", "")  # JSON, but for what people write
        if all(f'"{path}": "{md5}"' in told for path, md5 in outs.items()):
            return RECORDED, run
    return (STALE, runs[0]) if runs else (MISSING, None)


def rows(store: Store, lock: Mapping[str, Any]) -> list[list[str]]:
    """Give a row for every stage that trains: whether it is recorded, and its run."""
    done = store.runs("tags.origin = 'dvc' and attributes.status = 'FINISHED'")
    result = []
    for stage, files in lock.items():
        if any(path.startswith("models/") for path in files["outs"]):
            own = [run for run in done if run.data.tags.get("dvc.stage") == stage]
            state, run = match(files["outs"], own)
            result.append([stage, state])
            if run:
                experiment = store.client.get_experiment(run.info.experiment_id).name
                started = datetime.fromtimestamp(run.info.start_time / 1000)
                result[-1] += [experiment, run.info.run_id, f"{started:%Y-%m-%d %H:%M:%S}"]
    return result


def main(argv: Sequence[str], root: Path) -> None:
    """Print the table."""
    ArgumentParser("python -m mlcore.tracking.runs", description=__doc__).parse_args(argv)
    try:
        lock = read_lock(root)
        uri, login = reach(store_of(load(root / "params.yaml"), root), root)
        with logged_in(login):
            found = rows(Store(uri, root), lock)
    except RetraceError as error:
        sys.exit(f"error: {error}")
    print(tabulate(found, ["stage", "", "experiment", "run", "started"]))
    states = [row[1] for row in found]
    stale = f"; {states.count(STALE)} stale: the newest run made other files"
    told = f"{states.count(RECORDED)} of {len(states)} trainings are recorded in {displayed(uri)}"
    print(f"\n{told}{stale if STALE in states else ''}")


if __name__ == "__main__":
    main(sys.argv[1:], checkout())
