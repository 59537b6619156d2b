"""How strongly the printed numbers alone point to how the study was run."""

from typing import Any

import pandas as pd

from mlcore.judging.claims import values_of
from mlcore.judging.joint import calibrated, unit_of
from mlcore.judging.numbers import Evidence, Number
from mlcore.judging.parts import group_of
from mlcore.judging.rules import Protocol
from mlcore.judging.statistics import Series

PART = "classifier"
"""Whose numbers tell protocols apart."""


def compare(numbers: list[Number], evidence: Evidence) -> list[dict[str, Any]]:
    """Judge all numbers of the classifiers jointly by the runs of each protocol of the rules.

    Gives for each "protocol"; "n", its draws; "chi2", "df", "p" and "rank" as `joint.calibrated`
    has them. The one that the numbers depart from least comes first; protocols that have not been
    run come last, with None.
    """
    parts = {number.path: group.part for number in numbers if (group := group_of(number.path))}
    ours = [number for number in numbers if parts.get(number.path) == PART]
    printed = pd.Series({number.path: float(number.published) for number in ours})
    half_units = pd.Series({number.path: unit_of(number.path, evidence) for number in ours})
    rows = []
    for name, protocol in evidence.rules.protocols.items():
        runs = pd.concat(
            {p: _values(p, protocol, evidence) for p in printed.index}, axis=1
        ).dropna()
        row: dict[str, Any] = {"protocol": name, "n": len(runs)}
        rows.append(row | calibrated(printed, runs, half_units))
    return sorted(rows, key=lambda row: (row["chi2"] is None, row["chi2"]))


def _values(path: str, protocol: Protocol, evidence: Evidence) -> Series:
    _, metric, activation = path.split(".")
    method = protocol.accuracies if metric.endswith("accuracy") else protocol.losses
    training = ", ".join([f"{PART}/{activation}-{method}", *protocol.overrides])
    return values_of(f"{metric}({training})", evidence)
