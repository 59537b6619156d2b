"""Where the study's report and its code disagree, and what difference it makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlcore.judging.claims import Results, expand, judge_statement, parse
from mlcore.judging.rules import Section, checked


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


def judge(path: Path, results: Results) -> list[dict[str, Any]]:
    """Read the points and give each with its differences.

    Each difference has "left" and "right", the means of both quantities, their paired "difference"
    with its "interval", and "n" runs.

    Raises
    ------
    RetraceError
        If the file is not like that.
    """
    points: list[Discrepancy] = checked(list[Discrepancy], path)
    judged = []
    for point in points:
        rows = []
        for of in point.difference:
            for text in expand(f"{of.left} > {of.right}"):
                found = judge_statement(parse(text), results, results.level)
                rows.append(
                    {
                        "text": text.replace(" > ", " against "),
                        "n": found.n,
                        "left": found.left,
                        "right": found.right,
                        "difference": found.difference,
                        "interval": found.interval,
                    }
                )
        judged.append({**point.model_dump(exclude={"difference"}), "differences": rows})
    return judged
