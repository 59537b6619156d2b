"""Judge every number and claim of the study by the rules in metrics/rules.yaml."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlcore.files import read_json, write_json, write_table
from mlcore.judging import claims, numbers
from mlcore.judging.curves import MEASURES, with_measures
from mlcore.judging.provenance import provenance
from mlcore.judging.replicates import read_curves, read_replicates, read_runs
from mlcore.judging.rules import read_claims, read_rules

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write the verdicts: all about them, a table of the numbers, and the words alone."""
    rules_file = workspace.input("metrics/rules.yaml")
    rules = read_rules(rules_file, claims.CLAIMS, MEASURES)
    texts = read_claims(workspace.input("metrics/claims.yaml"), claims.CLAIMS)
    mnist = read_json(workspace.input("metrics/mnist.json"))
    fashion = read_json(workspace.input("metrics/fashion_mnist.json"))
    replicates = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = read_curves(workspace.input("metrics/replicates_curves.csv"))
    runs = with_measures(replicates, curves)
    splits = read_runs(workspace.input("metrics/sensitivity.csv"))
    sizes = {part: fashion[part]["n_samples"] for part in ("full", "train", "val")}
    summary = read_json(workspace.input("metrics/summary.json"))
    on_numbers = numbers.judge(summary, numbers.Evidence(rules, runs, splits, sizes))
    results = claims.Results(runs, mnist["test"]["majority_class_share"])
    on_claims = {text.id: claims.judge_claim(text, results, rules) for text in texts}
    by_number: dict[str, Any] = {number.path: asdict(number) for number in on_numbers}
    write_table(workspace.output("metrics/verdict.csv"), [n.as_row() for n in on_numbers])
    for path, number in by_number.items():
        if number["ours"] is not None:
            number["provenance"] = provenance(path, workspace.input, config.model_dump())
    whole = {
        "level": rules.level,
        "rules_sha256": hashlib.sha256(rules_file.read_bytes()).hexdigest(),
        "numbers": numbers.counts(on_numbers),
        "claims": claims.counts([*on_claims.values()]),
        "coverage": numbers.coverage(on_numbers, rules.level),
        "replicates": len(runs),
        "by_number": by_number,
        "by_claim": on_claims,
    }
    write_json(workspace.output("metrics/verdict.json"), whole)
    words = {name: verdict["verdict"] for name, verdict in (by_number | on_claims).items()}
    write_json(workspace.output("metrics/verdict_words.json"), words)


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
