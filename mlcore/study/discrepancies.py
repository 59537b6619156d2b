"""Where the study's report and its code disagree, and what difference it makes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlcore.errors.validation import Section, checked
from mlcore.files import read_yaml
from mlcore.judging.claims import expand, judge_statement, parse
from mlcore.judging.numbers import Evidence


class Difference(Section):
    """Two quantities, as metrics/claims.yaml has them: as the code does it, and as the report."""

    left: str
    right: str


class Discrepancy(Section):
    """A point on which report and code disagree; see metrics/discrepancies.yaml."""

    id: str
    section: str
    report: str
    code: str
    difference: Sequence[Difference] = ()
    reason: str = ""


def judge(path: Path, evidence: Evidence) -> list[dict[str, Any]]:
    """Read the points and give each with its "differences"; raises RetraceError for a wrong file.

    Each has "left" and "right", the means of both quantities, their paired "difference" with its
    "interval", and "n" runs.
    """
    points: list[Discrepancy] = checked(list[Discrepancy], read_yaml(path), path)
    return [
        {
            **point.model_dump(exclude={"difference"}),
            "differences": [
                _row(text, evidence)
                for two in point.difference
                for text in expand(f"{two.left} > {two.right}")
            ],
        }
        for point in points
    ]


def _row(text: str, evidence: Evidence) -> dict[str, Any]:
    row = asdict(judge_statement(parse(text), evidence, evidence.rules.level))
    del row["verdict"], row["holds"]
    return row | {"text": text.replace(" > ", " against ")}
