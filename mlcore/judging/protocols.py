"""How strongly the printed numbers alone point to how the study was run."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mlcore.judging.claims import Results, values_of
from mlcore.judging.joint import calibrated
from mlcore.judging.numbers import Number
from mlcore.judging.rules import Protocol
from mlcore.judging.statistics import Series

PART = "classifier"


def compare(
    protocols: Mapping[str, Protocol],
    numbers: Sequence[Number],
    half_units: Series,
    results: Results,
) -> list[dict[str, Any]]:
    """Judge all numbers of a part jointly by the runs of each protocol.

    Parameters
    ----------
    protocols : mapping of str to Protocol
    numbers : sequence of Number
        Of the classifiers, with paths like "fashion_classifier.test_loss.tanh".
    half_units : Series
        Half a unit of the last printed digit, by path.
    results : Results

    Returns
    -------
    list of dict
        "protocol"; "n", its draws; "chi2", "df", "p"; "rank" as `joint.judge_jointly` has it. The
        most likely first; protocols that have not been run last, with None.
    """
    printed = pd.Series({number.path: float(number.published) for number in numbers})
    rows = []
    for name, protocol in protocols.items():
        runs = pd.concat({p: _values(p, protocol, results) for p in printed.index}, axis=1).dropna()
        row: dict[str, Any] = {"protocol": name, "n": len(runs)}
        rows.append(row | calibrated(printed, runs, half_units))
    return sorted(rows, key=lambda row: (row["chi2"] is None, row["chi2"]))


def _values(path: str, protocol: Protocol, results: Results) -> Series:
    _, metric, activation = path.split(".")
    method = protocol.accuracies if metric.endswith("accuracy") else protocol.losses
    overrides = "".join(f", {override}" for override in protocol.overrides)
    return values_of(f"{metric}({PART}/{activation}-{method}{overrides})", results)
