"""The study as a whole: the verdict, its section A, and the pipeline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcore import plotting
from mlcore.judging.parts import GROUPS
from mlcore.pipeline.dvc_yaml import Stage
from mlcore.plotting import Picture, display


def verdict(table: pd.DataFrame) -> Picture:
    """Draw the printed numbers of trained models against the intervals of ours."""
    charts, verdicts = {}, Counter[str]()
    for group in GROUPS:
        if not group.chart:
            continue
        per_cent = group.chart.endswith("%")
        unit, digits = (100, group.decimals - 2) if per_cent else (1, group.decimals)
        rows = table[table["path"].str.startswith(group.path)]
        printed = rows["published"].astype(float)
        names = rows["path"].str.removeprefix(group.path).str.strip(".").str.split(".")
        labels = [
            f"{' '.join(map(display, name))}\N{EN SPACE}{unit * value:.{digits}f}"
            for name, value in zip(names, printed, strict=True)
        ]
        charts[group.chart] = rows.assign(label=labels, published=printed)
        verdicts.update(rows["verdict"])
    return (
        plotting.verdict_chart(charts, "What the study printed, against runs of ours"),
        f"{verdicts.total()} printed numbers against the intervals that our runs give: "
        + "; ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        + ". The choices of the search have no interval and are not drawn.",
    )


def hyperplanes(worked: Mapping[str, Any]) -> Picture:
    """Draw the two lines of section A that separate points (report, Q1 b and c)."""
    fitted, given = worked["max_margin"], worked["given_hyperplane"]
    left = fitted["w"], fitted["b"], fitted["support_vectors"], fitted["labels"], np.empty((0, 2))
    right = given["w"], given["b"], given["samples"], np.sign(given["scores"]), [given["query"]]
    planes = {
        "Q1 b: the line of maximum margin": plotting.Hyperplane(*left),
        "Q1 c: the line that was given": plotting.Hyperplane(*right),
    }
    return (
        plotting.hyperplanes(planes),
        f"Left, {len(fitted['support_vectors'])} points, all support vectors, on the margins of a "
        f"line between two classes. Right, {len(given['support_vectors'])} of "
        f"{len(given['samples'])} points on the margins; the query lies on the side of "
        f"{given['query_label']:+d}.",
    )


def pipeline(stages: Sequence[Stage]) -> Picture:
    """Draw the pipeline's stages."""
    return (
        plotting.pipeline_graph({stage.name: stage.needs for stage in stages}),
        f"{len(stages)} stages, from {stages[0].name} to {stages[-1].name}; the table below names "
        "what each takes.",
    )
