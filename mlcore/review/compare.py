"""What a change changes, for those who review it: ``python -m mlcore.review.compare REV``.

Prints Markdown, fit for a comment on a pull request: parameters, numbers and verdicts of the
working tree beside those of a revision, as DVC tells them apart. A number's change is set against
how much it varies from seed to seed.
"""

import argparse
import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from scipy import stats
from tabulate import tabulate

from mlcore.errors import RetraceError, one_line
from mlcore.files import read_json
from mlcore.pipeline.dvc_yaml import read_stages
from mlcore.pipeline.side_by_side import stale_stages
from mlcore.process import checkout, git

VERDICT, WORDS = "metrics/verdict.json", "metrics/verdict_words.json"
MORE, NOISE, UNKNOWN = "more than noise", "within noise", "noise unknown"

Change = tuple[str, Any, Any]
"""Dotted name, old and new value of what differs; None for what is not there."""


def against_noise(change: float, sd: float | None, n: int, level: float = 0.95) -> str:
    """Say whether two single runs with different seeds would differ by as much.

    `sd` is the standard deviation of `n` runs with different seeds; `level` is the share of the
    pairs of runs that differ by less than noise.
    """
    if sd is None or n < 2:
        return UNKNOWN
    noise = stats.t.ppf((1 + level) / 2, n - 1) * sd * sqrt(2)
    return MORE if abs(change) > noise else NOISE


def changes(root: Path, revision: str) -> dict[str, list[Change]]:
    """Give what differs between a revision and the working tree.

    Lists of Change under "params", "numbers" and "words", those of the verdicts. Raises
    RetraceError if there is no git repository, or it does not know the revision.
    """
    try:
        commit = git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except RetraceError as error:
        raise RetraceError(
            f"REV={revision}: should be a branch, tag or commit that git knows: {error}"
        ) from None
    try:
        with Repo(str(root)) as repo:
            params = repo.params.diff(commit)
            results = repo.metrics.diff(commit, targets=[str(root / VERDICT), str(root / WORDS)])
    except DvcException as error:
        raise RetraceError(one_line(error)) from None
    judged = [
        (name.removeprefix("by_number.").removesuffix(".ours"), old, new)
        for name, old, new in _of(results, VERDICT)
        if name.startswith("by_number.") and name.endswith(".ours")
    ]
    return {"params": _of(params, "params.yaml"), "numbers": judged, "words": _of(results, WORDS)}


def _of(diff: Mapping[str, Any], file: str) -> list[Change]:
    """Give the changes of a file, by name; DVC names files from the working folder."""
    found = (values for path, values in diff.get("diff", {}).items() if path.endswith(file))
    changed: Mapping[str, Any] = next(found, {})
    return [(name, changed[name]["old"], changed[name]["new"]) for name in sorted(changed)]


def number_rows(numbers: Iterable[Change], verdict: Mapping[str, Any]) -> list[list[str]]:
    """Give a row for every number that differs: name, values, difference, spread, what it means.

    `verdict` is the content of metrics/verdict.json.
    """
    rows = []
    for name, old, new in numbers:
        known = verdict.get("by_number", {}).get(name, {})
        sd, n = known.get("sd"), known.get("n", 0)
        difference = meaning = ""
        if all(isinstance(value, int | float) for value in (old, new)):
            difference = f"{new - old:+.4g}"
            exact = known.get("kind") == "exact"
            meaning = MORE if exact else against_noise(new - old, sd, n, verdict.get("level", 0.95))
        spread = "" if sd is None else f"{sd:.2g} (n = {n})"
        rows.append([f"`{name}`", _shown(old), _shown(new), difference, spread, meaning])
    return rows


def _shown(value: Any) -> str:
    """Write a value so that it stays in its cell, and text."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def markdown(
    revision: str,
    changed: Mapping[str, list[Change]],
    verdict: Mapping[str, Any],
    stale: Sequence[str] = (),
) -> str:
    """Write the summary of what `changes` gives, beside the content of metrics/verdict.json.

    `stale` names the stages whose results are not those of the working tree's code.
    """
    numbers = number_rows(changed["numbers"], verdict)
    words, params = (
        [[f"`{name}`", _shown(old), _shown(new)] for name, old, new in changed[what]]
        for what in ("words", "params")
    )
    moved = sum(row[-1] == MORE for row in numbers)
    sections = [
        ("Verdicts", ["", "before", "now"], words),
        ("Numbers", ["", "before", "now", "change", "spread of the seeds", ""], numbers),
        ("Parameters", ["", "before", "now"], params),
    ]
    text = (
        f"## Results against `{revision}`\n\n"
        f"Changed: {len(params)} parameters, {len(numbers)} numbers ({moved} by more than "
        f"noise, which one in twenty would be by chance), {len(words)} verdicts.\n"
    )
    if stale:
        first, more = ", ".join(f"`{name}`" for name in stale[:3]), len(stale) - 3
        text += (
            "\n**dvc.lock is out of date: these numbers are of older code, parameters or data.** "
            f"`make repro` has to run {first}{f' and {more} more' if more > 0 else ''}.\n"
        )
    for title, header, rows in sections:
        table = tabulate(rows, header, "github", disable_numparse=True) if rows else "None."
        text += f"\n### {title}\n\n{table}\n"
    return text


def main(arguments: list[str], root: Path) -> None:
    """Print the summary of the checkout `root`."""
    parser = argparse.ArgumentParser(prog="python -m mlcore.review.compare", description=__doc__)
    parser.add_argument("revision", help="branch, tag or commit")
    revision = parser.parse_args(arguments).revision
    try:
        verdict = read_json(root / VERDICT) if (root / VERDICT).exists() else {}
        changed = changes(root, revision)
        print(markdown(revision, changed, verdict, stale_stages(root, read_stages(root))))
    except RetraceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:], checkout())
