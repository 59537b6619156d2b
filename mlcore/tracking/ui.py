"""What MLflow's UI opens on: links to the networks of the grid, their columns, charts, colours."""

import json
from pathlib import Path
from urllib.parse import quote

from mlcore.tracking.store import CURRENT, Store, default_uri

# How the current networks are shown; MLflow keeps views that are shared in an experiment's tags.
# What is not said of charts is as MLflow has it
COLUMNS = [
    "params.`activation`", "params.`init`", "metrics.`final/test_accuracy`",
    "metrics.`final/val_accuracy`", "metrics.`final/test_loss`", "metrics.`final/n_epochs`",
]  # fmt: skip
VIEW = {
    "searchFilter": f"tags.{CURRENT} = 'true'",
    "orderByKey": "metrics.`final/test_accuracy`",
    "orderByAsc": False,
    "selectedColumns": COLUMNS,
    "columnOrder": COLUMNS,
    "runsHiddenMode": "SHOW_ALL",  # charts are of all runs, else of the first ten
    "isAccordionReordered": True,  # this section of charts comes first
    "compareRunSections": [{"uuid": "grid", "name": "the grid", "display": True}],
    "compareRunCharts": [
        {"uuid": "losses", "metricSectionId": "grid", "type": "LINE", "xAxisKey": "step",
         "metricKey": "epoch/val_loss", "lineSmoothness": 0,
         "selectedMetricKeys": ["epoch/train_loss", "epoch/val_loss"]},
        {"uuid": "cells", "metricSectionId": "grid", "type": "PARALLEL",
         "selectedParams": ["activation", "init"], "selectedMetrics": ["final/test_accuracy"]},
    ],
}  # fmt: skip
# That tell twelve runs apart; MLflow's own are drawn by chance
COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377",
           "#222255", "#0099bb", "#88bb33", "#ee9922", "#bb5566", "#777777")  # fmt: skip


def links(root: Path, url: str) -> dict[str, str]:
    """Give what is to be seen of the current networks in mlflow.db, by the address that shows it.

    None if no network of the pipeline is there. Raises StoreError if it is no store.
    """
    store = Store(default_uri(root), root)
    networks = store.runs(f"tags.{CURRENT} = 'true' and tags.`dvc.stage` LIKE 'train_network@%'")
    if not networks:
        return {}
    experiment = networks[0].info.experiment_id
    tag = f"mlflow.sharedViewState.{CURRENT}"
    store.client.set_experiment_tag(experiment, tag, json.dumps(VIEW))
    ids = [run.info.run_id for run in networks]
    for run, colour in zip(networks, COLOURS, strict=False):
        if "mlflow.runColor" not in run.data.tags:  # a person may have chosen another
            store.log(run.info.run_id, tags={"mlflow.runColor": colour})
    training = "workflowType=machine_learning"  # else MLflow shows what it has of language models
    table = f"{url}/#/experiments/{experiment}/runs?{training}&viewStateShareKey={CURRENT}"
    of = [quote(json.dumps(listed, separators=(",", ":"))) for listed in (ids, [experiment])]
    return {
        table: f"the {len(networks)} networks of the pipeline, the best first",
        f"{table}&compareRunsMode=CHART": "their curves",
        f"{url}/#/compare-runs?runs={of[0]}&experiments={of[1]}&{training}": "side by side",
    }
