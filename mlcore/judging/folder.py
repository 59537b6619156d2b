"""A study in a folder: published.yaml, rules.yaml, runs.csv and, if there are any, claims.yaml."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mlcore.errors import RetraceError
from mlcore.errors.validation import nearest
from mlcore.files import atomic_path, read_table
from mlcore.judging.claims import Claim, parse_quantity, read_claims, statements_of
from mlcore.judging.curves import with_measures
from mlcore.judging.numbers import KEY, Evidence, check_key, renamed
from mlcore.judging.published import Printed, read_published
from mlcore.judging.rules import Measured, Rules, read_rules

NEEDED = {
    "published.yaml": "it should have the printed numbers, nested as you like",
    "rules.yaml": "--init proposes one",
    "runs.csv": "--init writes one to fill in",
}
"""Files that a study has, and what to do where one is not there."""


def read_study(folder: Path) -> tuple[list[Printed], Evidence, list[Claim]]:
    """Read what is to be judged, and by what.

    Of curves.csv ("name", "seed", "epoch", "train_loss", "val_loss", "val_accuracy"), if it is
    there, claims get the measures of `curves.describe`. Raises RetraceError for what is wrong.
    """
    _check_there(folder, *NEEDED)
    source = folder / "runs.csv"
    runs = checked_runs(_read(source), str(source))
    if (curves := folder / "curves.csv").is_file():
        runs = with_measures(runs, _read(curves), KEY)
    claims = folder / "claims.yaml"
    printed, rules = read_published(folder / "published.yaml"), read_rules(folder / "rules.yaml")
    _check_rules(folder / "rules.yaml", rules, printed)
    for metric in {rule.metric for rule in rules.numbers if isinstance(rule, Measured)} & {*runs}:
        partly = runs.groupby("name")[metric].transform("count") > 0
        missing = runs[runs[metric].isna() & partly]
        if len(missing):
            lacking = f"{_told(missing)} has no {metric}; fill it in, or leave out the row"
            raise RetraceError(f"{source}: {lacking}")
    return printed, Evidence(rules, runs), read_claims(claims) if claims.is_file() else []


def _read(path: Path) -> pd.DataFrame:
    """Read a table of runs or epochs; raises RetraceError if it is not separated by commas."""
    with path.open("rb") as file:
        header = file.readline()
    for mark, name in (b";", "semicolons"), (b"\t", "tabs"):
        if mark in header:
            raise RetraceError(f"{path}: its columns are separated by {name}; write commas")
    return read_table(path, text=KEY[:1])


def _check_there(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise RetraceError(f"{folder / name} does not exist; {NEEDED[name]}")


def _names(rules: Rules, printed: Sequence[Printed]) -> set[str]:
    """Give the names of the runs behind numbers, or patterns of them."""
    known = ((one.rule_path, rules.rule_for(one.rule_path)) for one in printed)
    return {rule.runs_of(path) for path, rule in known if isinstance(rule, Measured)}


def _check_rules(source: Path, rules: Rules, printed: Sequence[Printed]) -> None:
    """Raise RetraceError for a pattern that no number fits, or a protocol that changes no name."""
    patterns = [(f"{source}", rule.match) for rule in rules.numbers]
    for entry, joint in rules.joint.items():
        patterns += [(f"{source}: joint.{entry}", pattern) for pattern in joint.match]
    for where, pattern in patterns:
        if not any(fnmatchcase(one.path, pattern) for one in printed):
            known = [one.path for one in printed]
            raise RetraceError(f"{where}: no number fits {pattern}; {nearest(pattern, known)}")
    for entry, joint in rules.joint.items():
        names = _names(rules, [one for one in printed if joint.takes(one.path)])
        for protocol, replaced in joint.protocols.items():
            for part in replaced:
                if not any(part in name for name in names):
                    where = f"{source}: joint.{entry}.protocols.{protocol}"
                    raise RetraceError(f"{where}: no run's name has {part}")


def not_asked_for(
    printed: Sequence[Printed], evidence: Evidence, claims: Sequence[Claim]
) -> list[str]:
    """Give the names of runs that no number, protocol or claim is about: they may be misspelt."""
    asked = _names(evidence.rules, printed)
    for joint in evidence.rules.joint.values():
        names = _names(evidence.rules, [one for one in printed if joint.takes(one.path)])
        asked |= {renamed(name, way) for name in names for way in joint.protocols.values()}
    for claim in claims:
        for statement in statements_of(claim, claim.settings()[0], evidence):
            sides = filter(None, (statement.left, statement.right))
            asked |= {parse_quantity(side)[1] for side in sides}
    return [
        name
        for name in evidence.runs["name"].unique()
        if name not in asked and not any(fnmatchcase(name, pattern) for pattern in asked)
    ]


def checked_runs(runs: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check a table with a row per run: "name", "seed", metrics, and settings as words.

    Raises RetraceError for columns that are missing, a run that is there twice, a value that is
    not finite.
    """
    check_key(runs, source)
    if runs.empty:
        raise RetraceError(f"{source}: it has no run")
    if not pd.api.types.is_integer_dtype(runs["seed"]):
        raise RetraceError(f"{source}: every run should have a seed, a whole number")
    for metric in runs.select_dtypes("number").columns.difference(KEY):
        infinite = runs[np.isinf(runs[metric].astype(float))]
        if len(infinite):
            raise RetraceError(f"{source}: {metric} of {_told(infinite)} is infinite")
    return runs


def _told(runs: pd.DataFrame) -> str:
    first = runs.iloc[0]
    return f"{first['name']} with seed {first['seed']}"


def propose(folder: Path) -> list[Path]:
    """Write rules.yaml and a runs.csv to fill in that fit published.yaml, where there are none.

    A rule for each of its first keys, which are taken for metrics; the rest of a number's path, if
    there is any, is the name of its runs. Gives what was written; raises RetraceError if both are
    there.
    """
    rules, runs = folder / "rules.yaml", folder / "runs.csv"
    if rules.exists() and runs.exists():
        raise RetraceError(f"{rules} and {runs} are there; remove the one to propose again")
    _check_there(folder, "published.yaml")
    printed = [one for one in read_published(folder / "published.yaml") if not one.of_sd]
    texts = {rules: _rules_for(printed), runs: _runs_for(printed)}
    written = [path for path in texts if not path.exists()]
    for path in written:
        with atomic_path(path) as temporary:
            temporary.write_text(texts[path], encoding="utf-8")
    return written


def _rules_for(printed: Sequence[Printed]) -> str:
    values: dict[str, list[Any]] = {}
    for one in printed:
        metric, nested, _ = one.path.partition(".")
        values.setdefault(f"{metric}.*" if nested else metric, []).append(one.value)
    proposed = Rules(numbers=[]).model_dump(include={"level", "min_replicates"})
    proposed["numbers"] = [_rule_for(match, of_it) for match, of_it in values.items()]
    return (
        "# Proposed from published.yaml. Decide before there are runs: is `metric` the right\n"
        "# column of runs.csv, is `tolerance` the largest difference that would not matter?\n"
        + yaml.safe_dump(proposed, sort_keys=False)
    )


def _rule_for(match: str, values: Sequence[Any]) -> dict[str, Any]:
    if any(isinstance(value, str | bool) for value in values):
        return {"match": match, "kind": "given"}
    metric = match.removesuffix(".*")
    less = any(word in metric for word in ("loss", "error"))
    tolerance: dict[str, float] = {"relative_tolerance": 0.05}
    if not less and min(values) >= 0.1 and max(values) <= 1:
        tolerance = {"tolerance": 0.01}
    elif "acc" in metric and max(values) <= 100:
        tolerance = {"tolerance": 1.0}
    runs = metric if match == metric else "*"
    rule = {"match": match, "kind": "trained", "runs": runs, "metric": metric}
    return rule | ({"better": "lower"} if less else {}) | tolerance


def _runs_for(printed: Sequence[Printed]) -> str:
    numbers = [one.path for one in printed if not isinstance(one.value, str | bool)]
    metrics = dict.fromkeys(path.partition(".")[0] for path in numbers)
    names = dict.fromkeys(path.partition(".")[2] or path for path in numbers)
    seeds = range(1, Rules(numbers=[]).min_replicates + 1)
    rows = [(name, seed) for name in names for seed in seeds]
    table = pd.DataFrame(rows, columns=KEY).reindex(columns=[*KEY, *metrics])
    return str(table.to_csv(index=False, lineterminator="\n"))
