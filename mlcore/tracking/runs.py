"""From the pipeline's results to their MLflow runs and back: ``python -m mlcore.tracking.runs``.

A run and a result belong together if the run's tags have the hashes that dvc.lock has. No run id
is ever part of a result, so that results are the same bytes with any store, or none.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from mlcore.config import load
from mlcore.errors import RetraceError
from mlcore.files import read_yaml
from mlcore.tracking.observer import store_of
from mlcore.tracking.server import URI, logged_in, read_login
from mlcore.tracking.store import SERVER, Store, StoreError, displayed

ROOT = Path(__file__).parents[2]

RECORDED, STALE, MISSING = "recorded", "stale", "missing"

MODELS = "models/"
"""Where stages that train write what they trained."""


def trainings(lock: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Give the stages of dvc.lock that train, each with the MD5 of its files by path."""
    found = {}
    for name, stage in lock["stages"].items():
        outs = {out["path"]: out["md5"] for out in stage.get("outs", [])}
        if any(path.startswith(MODELS) for path in outs):
            found[name] = outs
    return found


def match(
    outs: Mapping[str, str], runs: Sequence[Mapping[str, Any]]
) -> tuple[str, Mapping[str, Any]]:
    """Say whether a run has made these files, and which.

    Parameters
    ----------
    outs : mapping of str to str
        MD5 by path.
    runs : sequence of mapping
        The stage's runs, the newest first; "tags" of each.

    Returns
    -------
    (str, mapping)
        "recorded" and the newest run with these hashes; "stale" and the newest of all, which made
        others; or "missing" and nothing.
    """
    for run in runs:
        if all(run["tags"].get(f"output.{path}") == md5 for path, md5 in outs.items()):
            return RECORDED, run
    return (STALE, runs[0]) if runs else (MISSING, {})


def rows(store: Store, lock: Mapping[str, Any]) -> list[list[str]]:
    """Give a row for every training: its stage, whether it is recorded, and its run."""
    made = store.runs_of_stages()
    result = []
    for stage, outs in trainings(lock).items():
        state, run = match(outs, made.get(stage, []))
        result.append(
            [stage, state, *(run.get(key, "") for key in ("experiment", "run_id", "started"))]
        )
    return result


def main() -> None:
    """Print the table."""
    try:
        config = load(ROOT / "params.yaml")
        uri = store_of(config, ROOT)
        login = read_login(ROOT) if uri == SERVER else {}
        uri = login.get(URI, uri)
        given = os.environ.get("MLFLOW_TRACKING_URI", "")
        if displayed(given) == uri:  # with its password, which is nowhere else
            uri = given
        if not (ROOT / "dvc.lock").exists():
            raise RetraceError("dvc.lock is not there; `make repro` makes it")
        try:
            with logged_in(login):
                found = rows(Store(uri, ROOT), read_yaml(ROOT / "dvc.lock"))
        except StoreError as error:
            raise RetraceError(f"{displayed(uri)}: {error}") from None
    except RetraceError as error:
        sys.exit(f"error: {error}")
    print(tabulate(found, ["stage", "", "experiment", "run", "started"]))
    states = [row[1] for row in found]
    print(
        f"\n{states.count(RECORDED)} of {len(states)} trainings are recorded in {displayed(uri)}",
        end="",
    )
    print(
        f"; {states.count(STALE)} stale: the newest run made other files" if STALE in states else ""
    )


if __name__ == "__main__":
    main()
