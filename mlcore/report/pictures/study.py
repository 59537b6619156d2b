"""The study as a whole: the verdict, its section A, what other choices give, and the pipeline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcore import plotting
from mlcore.pipeline.dvc_yaml import outline
from mlcore.plotting import Picture, display
from mlcore.report.words import position
from mlcore.study.parts import GROUPS

Grid = Mapping[str, Sequence[str]]

SECTIONS = {
    "worked_examples": "Worked by hand",
    "mnist_grid": "MNIST, grid of networks",
    "fashion_classifier": "Fashion-MNIST, classifiers",
    "fashion_search": "Fashion-MNIST, grid search",
    "autoencoder": "Autoencoders and codes",
    "bottleneck_probe": "Autoencoders and codes",
}
"""First words of the paths of printed numbers, and the part of the study that they are in."""

INTERVENTIONS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("zero-broken", "Zero weights, but random biases", {}),
    ("sigmoid-random-rate", "Sigmoid, random weights, at a rate above the study's 0.02",
     {"network.learning_rate": "rate"}),
    ("sigmoid-normal-rate", "Sigmoid, normal weights, at a rate above the study's 0.02",
     {"network.learning_rate": "rate"}),
    ("random-scale", "Tanh, random weights that are larger",
     {"network.init_scale": "\N{MULTIPLICATION SIGN}"}),
    ("he", "Normal init replaced by He's, with biases of zero", {}),
    ("unscaled", "Fashion-MNIST: pixels from 0 to 255 instead of 0 to 1", {}),
    ("other-codes", "Fashion-MNIST: 32-d codes replaced by 32 other features", {"features.by": ""}),
)  # fmt: skip
"""Of sweeps/sensitivity.yaml those that intervene: what is changed, and which of their overrides
tell their runs apart."""

WORDS = {"pca": "principal components", "projection": "random projections"}


def verdict(table: pd.DataFrame) -> Picture:
    """Draw the printed numbers of trained models against the intervals of ours."""
    charts, told = {}, Counter[str]()
    by_path = table.set_index("path")
    for group in GROUPS:
        if not group.trained:
            continue
        paths = by_path.index[by_path.index.str.startswith(group.path)]
        rows = by_path.loc[sorted(paths, key=position)]
        unit, fewer = (100, 2) if group.per_cent else (1, 0)
        values = rows["published"].astype(float)
        digits = rows["decimals"] - fewer
        names = [path.removeprefix(group.path).strip(".").split(".") for path in rows.index]
        charts[f"{group.name}{', %' * group.per_cent}"] = rows.assign(
            label=[" ".join(map(display, name)) for name in names],
            printed=[f"{unit * v:.{d}f}" for v, d in zip(values, digits, strict=True)],
            published=values,
        )
        told.update(rows["verdict"])
    return (
        plotting.verdict_chart(charts, "What the study printed, against runs of ours"),
        f"{told.total()} printed numbers against the intervals that our runs give: "
        f"{_counts(told)}. The choices of the search have no interval and are not drawn.",
    )


def verdict_small(table: pd.DataFrame) -> Picture:
    """Draw a dot for each printed number, of whatever kind."""
    parts: dict[str, list[str]] = {name: [] for name in SECTIONS.values()}
    for path, of_number in zip(table["path"], table["verdict"], strict=True):
        parts[SECTIONS[path.partition(".")[0]]].append(of_number)
    return (
        plotting.verdict_dots(parts, f"The {len(table)} printed numbers, by verdict"),
        f"A dot for each of {len(table)} printed numbers: {_counts(Counter(table['verdict']))}.",
    )


def _counts(told: Counter[str]) -> str:
    return "; ".join(f"{n} {verdict}" for verdict, n in told.most_common())


def interventions(alternatives: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw test accuracies before and after a change: what `study.sensitivity.summarise` gave."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for choice, heading, keys in INTERVENTIONS:
        rows = [
            {**row, "label": _changed(row, keys)}
            for row in alternatives
            if row["choice"] == choice and ".test_accuracy." in row["number"]
        ]
        groups[heading] = sorted(rows, key=lambda row: position(row["number"]))
    told = [
        f"{what}: {', '.join(map(_before_after, rows))}" for what, rows in groups.items() if rows
    ]
    title = "Test accuracy before and after a change"
    shows = f"Test accuracy, %, before and after. {'; '.join(told) or 'Not run yet'}."
    return plotting.before_after(groups, title), shows


def _before_after(row: Mapping[str, Any]) -> str:
    before = "" if row["default"] is None else f"{100 * row['default']:.1f} to "
    return f"{row['label']} {before}{100 * row['mean']:.1f}"


def _changed(row: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    """Name the run of an intervention: "tanh", or "rate 0.5"."""
    values = dict(part.partition("=")[::2] for part in row["alternative"].split())
    told = [f"{word} {WORDS.get(values[key], values[key])}".strip() for key, word in keys.items()]
    return ", ".join(told) or display(row["number"].split(".")[2])


def hyperplanes(worked: Mapping[str, Any]) -> Picture:
    """Draw the two lines of section A that separate points (report, Q1 b and c)."""
    fitted, given = worked["max_margin"], worked["given_hyperplane"]
    left = fitted["w"], fitted["b"], fitted["support_vectors"], fitted["labels"], np.empty((0, 2))
    right = given["w"], given["b"], given["samples"], np.sign(given["scores"]), [given["query"]]
    planes = {
        "Q1 b: the line of maximum margin": plotting.Hyperplane(*left),
        "Q1 c: a given line, and a point to classify": plotting.Hyperplane(*right),
    }
    return (
        plotting.hyperplanes(planes),
        f"Left, {len(fitted['support_vectors'])} points, all support vectors, on the margins of a "
        f"line between two classes. Right, {len(given['support_vectors'])} of "
        f"{len(given['samples'])} points on the margins; the query lies on the side of "
        f"{given['query_label']:+d}.",
    )


def pipeline(described: Mapping[str, Any], runs: Grid) -> Picture:
    """Draw the stages of dvc.yaml, with how often each runs."""
    stages = outline(described)
    times = {stage.name: len(stage.names({"grid": runs})) for stage in stages}
    return (
        plotting.pipeline_graph({stage.name: stage.needs for stage in stages}, times),
        f"{len(stages)} stages, from {stages[0].name} to {stages[-1].name}; the table below names "
        "what each takes.",
    )
