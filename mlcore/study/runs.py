"""The study's runs by the names that metrics/rules.yaml and metrics/claims.yaml have for them."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlcore.errors import RetraceError
from mlcore.judging.claims import named
from mlcore.judging.curves import with_measures
from mlcore.judging.numbers import Evidence
from mlcore.judging.rules import Rules
from mlcore.study.parts import PARTS
from mlcore.study.replicates import METRICS

CANDIDATE = r"search/(?P<solver>[^-]+)-(?P<learning_rate_init>.+)-(?P<batch_size>\d+)"
"""The name of a candidate of the search; its settings go by their names in published.yaml."""


def evidence_of(
    rules: Rules,
    replicates: pd.DataFrame,
    curves: pd.DataFrame,
    others: pd.DataFrame,
    networks: Mapping[str, Any],
) -> Evidence:
    """Give what the study is judged by.

    See `named_runs`; `networks` are the study's own, as metrics/study_models.json has them.
    """
    runs = named_runs(with_measures(replicates, curves), others)
    scored = {
        f"mnist_grid.test_accuracy.{cell.replace('-', '.')}": of["test_accuracy"]["scored"]
        for cell, of in networks.items()
    }
    return Evidence(rules, runs, scored, [f"{part}/*" for part in PARTS])


def named_runs(replicates: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Give all trainings by name: "PART/NAME", or "PART/NAME, KEY=VALUE" with other parameters.

    A training of both tables is taken from the first. Candidates of the search have their settings
    as columns. Raises RetraceError if sweeps have a training with several results.
    """
    both = pd.concat([_named(replicates.assign(overrides="")), _named(others)], ignore_index=True)
    metrics = [metric for metric in METRICS if metric in both]
    both[metrics] = both[metrics].astype(float)  # an empty table has no types
    ours = both["name"].isin(both["name"][: len(replicates)])
    runs = both[~ours | (both.index < len(replicates))]
    found = runs.drop_duplicates(["name", "seed", *metrics])
    if (twice := found[found.duplicated(["name", "seed"])]["name"]).size:
        raise RetraceError(f"sweeps have several trainings {twice.iloc[0]} that differ")
    settings = found["name"].str.extract(f"^{CANDIDATE}$").astype({"learning_rate_init": float})
    settings["batch_size"] = pd.to_numeric(settings["batch_size"])
    return found.join(settings)


def _named(runs: pd.DataFrame) -> pd.DataFrame:
    cells = zip(runs["part"], runs["name"], runs["overrides"], strict=True)
    names = [named(f"{part}/{name}", differing(overrides)) for part, name, overrides in cells]
    return runs.assign(name=pd.Series(names, runs.index, dtype=str))


def differing(overrides: str) -> frozenset[str]:
    """Give the overrides that make an alternative: not what is run over, nor the draw."""
    return frozenset(
        word
        for word in overrides.split()
        if not re.fullmatch(r"\w+\.(activation|init|method)=.*|.*=\$\{seed\}", word)
    )
