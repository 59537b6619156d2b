"""Judge every figure and claim of the study by the rules in metrics/rules.yaml."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mlcore.files import read_json, write_json, write_table
from mlcore.judging import claims, numbers
from mlcore.judging.curves import MEASURES, with_figures
from mlcore.judging.provenance import provenance
from mlcore.judging.replicates import read_curves, read_replicates, read_runs
from mlcore.judging.rules import read_claims, read_rules

if TYPE_CHECKING:
    from pathlib import Path

    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write the verdicts: all about them, a table of the figures, and the words alone."""
    rules_file = workspace.input("metrics/rules.yaml")
    rules = read_rules(rules_file, claims.CLAIMS, MEASURES)
    mnist = read_json(workspace.input("metrics/mnist.json"))
    fashion = read_json(workspace.input("metrics/fashion_mnist.json"))
    runs = with_figures(
        read_replicates(workspace.input("metrics/replicates.csv")),
        read_curves(workspace.input("metrics/replicates_curves.csv")),
    )
    evidence = numbers.Evidence(
        rules,
        runs,
        read_runs(workspace.input("metrics/sensitivity.csv")),
        {part: fashion[part]["n_samples"] for part in ("full", "train", "val")},
    )
    figures = numbers.judge(read_json(workspace.input("metrics/summary.json")), evidence)
    results = claims.Results(runs, mnist["test"]["majority_class_share"])
    judged = [
        claims.judge_claim(claim, results, rules)
        for claim in read_claims(workspace.input("metrics/claims.yaml"), claims.CLAIMS)
    ]
    rows = [figure.as_dict() for figure in figures]
    whole: dict[str, Any] = {
        "level": rules["level"],
        "rules_sha256": hashlib.sha256(rules_file.read_bytes()).hexdigest(),
        "figures": numbers.counts(figures),
        "claims": claims.counts(judged),
        "coverage": numbers.coverage(figures, rules["level"]),
        "replicates": len(runs),
        "by_figure": {row["path"]: _with_provenance(row, config, workspace.root) for row in rows},
        "by_claim": {claim["id"]: claim for claim in judged},
    }
    write_json(workspace.output("metrics/verdict.json"), whole)
    write_table(workspace.output("metrics/verdict.csv"), [_flat(row) for row in rows])
    words = {figure.path: figure.verdict for figure in figures}
    words |= {claim["id"]: claim["verdict"] for claim in judged}
    write_json(workspace.output("metrics/verdict_words.json"), words)


def _with_provenance(row: dict[str, Any], config: Config, root: Path) -> dict[str, Any]:
    """Add to a figure's verdict where our figure comes from, if there is one."""
    if row["ours"] is None:
        return row
    return row | {"provenance": provenance(row["path"], root, config.model_dump())}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Give a figure's verdict as a row of a table."""
    nested = ("interval", "collapse", "choice", "values")
    low, high = row["interval"] or (None, None)
    return {
        **{name: value for name, value in row.items() if name not in nested},
        "low": low,
        "high": high,
        "collapsed": row["collapse"] and row["collapse"]["collapsed"],
        "chosen": row["choice"] and row["choice"]["chosen"],
    }


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
