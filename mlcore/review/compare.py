"""What a change changes, for those who review it: ``python -m mlcore.review.compare REV``.

Prints Markdown, fit for a comment on a pull request: parameters, figures and verdicts of the
working tree beside those of a revision. A figure's change is set against how much it varies from
seed to seed.
"""

import argparse
import html
import json
import subprocess
import sys
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import yaml
from scipy import stats
from tabulate import tabulate

from mlcore.config import refuse_references
from mlcore.errors import RetraceError, one_line
from mlcore.judging.numbers import numbers_of

ROOT = Path(__file__).parents[2]

MORE, NOISE, UNKNOWN = "more than noise", "within noise", "noise unknown"


def flatten(tree: Any, path: str = "") -> dict[str, Any]:
    """Give the leaves of nested mappings by their dotted paths; a list is a leaf."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{path}.{key}".lstrip("."))
    return leaves


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Give name, old and new value of everything that differs; None for what is not there."""
    names = [*after, *(name for name in before if name not in after)]
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def against_noise(change: float, sd: float | None, n: int, level: float = 0.95) -> str:
    """Say whether two single runs with different seeds would differ by as much.

    Parameters
    ----------
    change : float
    sd : float or None
        Standard deviation of `n` runs with different seeds.
    n : int
    level : float
        Share of the pairs of runs that differ by less than noise.
    """
    if sd is None or n < 2:
        return UNKNOWN
    noise = stats.t.ppf((1 + level) / 2, n - 1) * sd * sqrt(2)
    return MORE if abs(change) > noise else NOISE


def our_figures(summary: Any) -> dict[str, Any]:
    """Give our value of every figure in what `study.compare` made."""
    return {path: ours for path, _, ours in numbers_of(summary)}


def figure_rows(
    before: Mapping[str, Any], after: Mapping[str, Any], verdict: Mapping[str, Any]
) -> list[list[str]]:
    """Give a row for every figure that differs: name, values, difference, spread, what it means."""
    rows = []
    for name, old, new in changes(before, after):
        known = verdict.get("by_number", {}).get(name, {})
        sd, n = known.get("sd"), known.get("n_used", 0)
        difference = meaning = ""
        if all(isinstance(value, int | float) for value in (old, new)):
            difference = f"{new - old:+.4g}"
            exact = known.get("kind") == "exact"
            meaning = MORE if exact else against_noise(new - old, sd, n, verdict.get("level", 0.95))
        spread = "" if sd is None else f"{sd:.2g} (n = {n})"
        rows.append([_named(name), _shown(old), _shown(new), difference, spread, meaning])
    return rows


def _shown(value: Any) -> str:
    """Write a value so that it stays in its cell, and text."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def _named(name: str) -> str:
    return f"`{' '.join(name.replace('`', ' ').replace('|', ' ').split())}`"


def _section(title: str, header: list[str], rows: list[list[str]]) -> str:
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True) if rows else "None."
    return f"### {title}\n\n{table}\n"


def markdown(
    revision: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> str:
    """Write the summary.

    Parameters
    ----------
    revision : str
    before, after : mapping
        "params", "summary", "verdict" and "words": the contents of params.yaml and of
        summary.json, verdict.json and verdict_words.json in metrics/; empty where there are none.

    Raises
    ------
    RetraceError
        If one of them is laid out otherwise, as those of another version may be.
    """
    try:
        return _markdown(revision, before, after)
    except Exception as error:  # any value of any type may stand anywhere
        raise RetraceError(
            f"metrics/ of {revision} and of the working tree are not laid out alike, or not as "
            f"this version lays them out: {one_line(error)}"
        ) from None


def _markdown(
    revision: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> str:
    params, words = (
        [
            [_named(name), _shown(old), _shown(new)]
            for name, old, new in changes(flatten(before[what]), flatten(after[what]))
        ]
        for what in ("params", "words")
    )
    figures = figure_rows(
        our_figures(before["summary"]), our_figures(after["summary"]), after["verdict"]
    )
    moved = sum(row[-1] == MORE for row in figures)
    told = (
        f"{len(params)} parameters, {len(figures)} figures ({moved} by more than noise, which one "
        "in twenty would be by chance)"
    )
    return "\n".join(
        [
            f"## Results against `{revision}`\n",
            f"Changed: {told}, {len(words)} verdicts.\n",
            _section("Verdicts", ["", "before", "now"], words),
            _section(
                "Figures", ["", "before", "now", "change", "spread of the seeds", ""], figures
            ),
            _section("Parameters", ["", "before", "now"], params),
        ]
    )


FILES = {
    "params": "params.yaml",
    "summary": "metrics/summary.json",
    "verdict": "metrics/verdict.json",
    "words": "metrics/verdict_words.json",
}


def _parse(name: str, content: bytes) -> Mapping[str, Any]:
    try:
        text = content.decode()
        if name.endswith(".yaml"):
            refuse_references(text)
            parsed = yaml.safe_load(text)
        else:
            parsed = json.loads(text)
    except Exception as error:  # damaged YAML can raise nearly anything
        raise RetraceError(f"{name} cannot be read: {one_line(error)}") from None
    if not isinstance(parsed, Mapping):
        raise RetraceError(f"{name} should hold a mapping")
    return parsed


def read_tree(root: Path) -> dict[str, Mapping[str, Any]]:
    """Read what is compared from the working tree."""
    return {
        what: _parse(name, (root / name).read_bytes()) if (root / name).exists() else {}
        for what, name in FILES.items()
    }


def read_revision(root: Path, revision: str) -> dict[str, Mapping[str, Any]]:
    """Read what is compared from a revision; raises RetraceError if git does not know it."""

    def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, check=False)

    known = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if known.returncode:
        raise RetraceError(f"REV={revision}: should be a branch, tag or commit that git knows")
    commit = known.stdout.decode().strip()
    shown = {what: git("show", f"{commit}:{name}") for what, name in FILES.items()}
    return {
        what: _parse(FILES[what], result.stdout) if result.returncode == 0 else {}
        for what, result in shown.items()
    }


def main() -> None:
    """Print the summary."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.review.compare", description=__doc__)
    parser.add_argument("revision", help="branch, tag or commit")
    revision = parser.parse_args().revision
    try:
        print(markdown(revision, read_revision(ROOT, revision), read_tree(ROOT)))
    except RetraceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
