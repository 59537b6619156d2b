"""Judge every number and claim of the study by metrics/rules.yaml and metrics/claims.yaml."""

import hashlib
from dataclasses import asdict
from typing import Any

from mlcore.files import read_json, write_json, write_table
from mlcore.judging import claims, discrepancies, joint, numbers, protocols
from mlcore.judging.curves import with_measures
from mlcore.judging.provenance import provenance
from mlcore.judging.replicates import read_curves, read_replicates, read_runs
from mlcore.judging.rules import read_rules
from stages import Config, Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write the verdicts: all about them, tables of numbers and protocols, and the words alone."""
    files = [workspace.input(f"metrics/{name}.yaml") for name in ("rules", "claims")]
    rules, texts = read_rules(files[0]), claims.read_claims(files[1])
    replicates = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = read_curves(workspace.input("metrics/replicates_curves.csv"))
    runs = with_measures(replicates, curves)
    alternatives = read_runs(workspace.input("metrics/sensitivity.csv"))
    scored = {
        f"mnist_grid.test_accuracy.{cell.replace('-', '.')}": of["test_accuracy"]["scored"]
        for cell, of in read_json(workspace.input("metrics/study_models.json"))["networks"].items()
    }
    evidence = numbers.Evidence(rules, runs, scored, alternatives)
    on_numbers = numbers.judge(read_json(workspace.input("metrics/summary.json")), evidence)
    verdicts = {number.path: number.verdict for number in on_numbers}
    on_claims = {text.id: claims.judge_claim(text, evidence, verdicts) for text in texts}
    by_number: dict[str, Any] = {number.path: asdict(number) for number in on_numbers}
    write_table(workspace.output("metrics/verdict.csv"), [n.as_row() for n in on_numbers])
    for path, number in by_number.items():
        if number["ours"] is not None:
            number["provenance"] = provenance(path, workspace.input, config.model_dump())
    compared = protocols.compare(on_numbers, evidence)
    write_table(workspace.output("metrics/protocols.csv"), compared)
    whole = {
        "level": rules.level,
        "rules_sha256": hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest(),
        "numbers": numbers.counts(on_numbers),
        "claims": claims.counts([*on_claims.values()]),
        "coverage": numbers.coverage(on_numbers, rules.level),
        "replicates": len(runs),
        "joint": joint.judge_jointly(on_numbers, evidence),
        "protocols": compared,
        "discrepancies": discrepancies.judge(
            workspace.input("metrics/discrepancies.yaml"), evidence
        ),
        "by_number": by_number,
        "by_claim": on_claims,
    }
    write_json(workspace.output("metrics/verdict.json"), whole)
    words = verdicts | {name: claim["verdict"] for name, claim in on_claims.items()}
    write_json(workspace.output("metrics/verdict_words.json"), words)


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
