"""The verdict on any study, as page, picture and Markdown: what needs no knowledge of ours."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mlcore.files import atomic_path
from mlcore.judging.claims import MIN_RUNS, REFUTED
from mlcore.judging.numbers import NOT_REPRODUCED, NOT_TESTABLE, VERDICTS, row_of
from mlcore.plotting import save_svg, verdict_chart
from mlcore.report import content, findings, inline_svg, render
from mlcore.report.words import amount, capital, plain, signed

UNSETTLED = (NOT_REPRODUCED, NOT_TESTABLE)
"""Verdicts that the command's table has with their reasons."""

DESCRIPTION = "The printed numbers against the intervals that the runs give."


def write(folder: Path, name: str, verdict: Mapping[str, Any], *, html: bool) -> list[Path]:
    """Write verdict.md, verdict.svg and, if asked, verdict.html; gives what was written."""
    context = of_study(name, verdict)
    text, svg, page = (folder / f"verdict.{kind}" for kind in ("md", "svg", "html"))
    charts = charts_of(context["numbers"])
    if charts:
        save_svg(verdict_chart(charts, f"{name}: printed numbers against runs"), svg)
        context["svg"] = inline_svg(svg.read_text(encoding="utf-8"), "verdict", DESCRIPTION)
    html = html or page.exists()  # one of an earlier verdict would mislead
    for path in (text, page) if html else (text,):
        with atomic_path(path) as temporary:
            temporary.write_text(render(context, f"folder{path.suffix}.jinja"), encoding="utf-8")
    written = {text: True, svg: bool(charts), page: html}
    return [path for path in written if written[path]]


def of_study(name: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the templates take of a verdict."""
    shown = partial(written, verdict["by_number"])
    numbers = content.in_order(verdict, [], shown)
    trained = verdict["numbers"]["trained"]
    kinds = [("Numbers of runs", {word: trained[word] for word in VERDICTS if trained[word]})]
    if verdict["claims"]:
        kinds.append(("Claims", verdict["claims"]))
    return {
        "title": f"{name}: {findings.title(verdict)}",
        "summary": summary(verdict),
        "findings": findings,
        "verdict": verdict,
        "protocol_rows": [
            {**row, "protocol": f"{name.replace('_', ' ')}: {row['protocol']}"}
            for name, of in verdict["joint"].items()
            for row in of["protocols"]
        ],
        "kinds": kinds,
        "numbers": numbers,
        "by_severity": content.by_severity(numbers),
        "claim_lines": claim_lines(verdict),
        "claims": content.by_severity(map(content.told, verdict["by_claim"].values())),
        "shown": shown,
        "svg": "",
    }


def summary(verdict: Mapping[str, Any]) -> list[str]:
    """Say in sentences what came out."""
    numbers = verdict["by_number"].values()
    n_runs = amount(verdict["replicates"], "run")
    told = [
        f"{capital(amount(len(numbers), 'printed number'))}, judged by {n_runs}: "
        f"{findings.counted(n['verdict'] for n in numbers)}."
    ]
    if bad := findings.not_reproduced(verdict):
        told.append(f"Not reproduced: {'; '.join(bad)}.")
    if verdict["claims"]:
        counts = ", ".join(f"{n} {word}" for word, n in verdict["claims"].items())
        told.append(f"{capital(amount(len(verdict['by_claim']), 'claim'))}: {counts}.")
    for name, of in verdict["joint"].items():
        told.append(findings.together(verdict, name, ""))
        rows = []
        for row in of["protocols"]:
            chi2 = "too few runs" if row["chi2"] is None else f"{row['chi2']:.1f}"
            rows.append(f"{row['protocol']} ({chi2})")
        if rows:
            told[-1] += f" Its chi-squares by protocol, the nearest first: {'; '.join(rows)}."
    return told


def claim_lines(verdict: Mapping[str, Any]) -> list[str]:
    """Tell each claim, and the statement that decides it if it is not supported."""
    lines = []
    for claim in map(content.told, verdict["by_claim"].values()):
        lines.append(f"{claim['id']} {claim['verdict']}: {claim['text']}")
        if s := claim["decisive"]:
            why = f"there are {s['n']} runs of a common seed, where {MIN_RUNS} are needed"
            if s["interval"]:
                low, high = s["interval"]
                why = f"the difference is {s['difference']:.4g}, from {low:.4g} to {high:.4g}"
            lines[-1] += f" ({s['text']}: {why})"
    return lines


def written(
    numbers: Mapping[str, Mapping[str, Any]], path: str, value: Any, *, sign: bool = False
) -> str:
    """Write a value with the digits that the number of its path is printed with."""
    number = numbers.get(path)
    if number is None or isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value, sign=sign)
    digits = number["decimals"] + (value != number["published"])
    return signed(f"{value:{'+' if sign else ''}.{digits}f}")


def charts_of(numbers: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Give the rows of the picture, by what their paths begin with."""
    charts: dict[str, list[dict[str, Any]]] = {}
    for number in numbers:
        if number["interval"] and number["tolerance"]:
            heading, _, label = number["path"].partition(".")
            printed = f"{number['published']:.{number['decimals']}f}"
            row = {**row_of(number), "label": label.replace(".", " "), "printed": printed}
            charts.setdefault(heading.replace("_", " "), []).append(row)
    return {heading: pd.DataFrame(rows) for heading, rows in charts.items()}


def table(verdict: Mapping[str, Any]) -> list[list[str]]:
    """Give the rows of the table that the command prints."""
    shown = partial(written, verdict["by_number"])
    return [
        [n["path"], shown(n["path"], n["published"]), shown(n["path"], content.mean_of(n)),
         str(n["n"]), n["verdict"] + (f": {n['reason']}" if n["verdict"] in UNSETTLED else "")]
        for n in verdict["by_number"].values()
    ]  # fmt: skip


def failed(verdict: Mapping[str, Any]) -> bool:
    """Say whether anything does not hold: a number is not reproduced, or a claim is refuted."""
    judged = [*verdict["by_number"].values(), *verdict["by_claim"].values()]
    return any(one["verdict"] in (NOT_REPRODUCED, REFUTED) for one in judged)
