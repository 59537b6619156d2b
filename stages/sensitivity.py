"""Set what other choices give beside what the study printed."""

import pandas as pd

from mlcore.files import read_json, write_json
from mlcore.study.replicates import read_curves, read_replicates, read_runs
from mlcore.study.sensitivity import judged_by_stopping, summarise
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write every alternative, beside the printed number and the default."""
    replicates = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = read_curves(workspace.input("metrics/replicates_curves.csv"))
    trained = read_runs(workspace.input("metrics/sensitivity.csv"))
    stopping = judged_by_stopping(replicates, curves)
    alternatives = pd.concat([stopping, trained])[list(trained)]
    summary = read_json(workspace.input("metrics/summary.json"))
    rows = summarise(alternatives, replicates, summary)
    write_json(workspace.output("metrics/sensitivity.json"), rows)


if __name__ == "__main__":
    main(run)
