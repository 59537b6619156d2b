"""Judge every number and claim of the study by metrics/rules.yaml and metrics/claims.yaml."""

import hashlib

from mlcore.files import read_json, write_json, write_table
from mlcore.judging.claims import read_claims
from mlcore.judging.numbers import row_of
from mlcore.judging.published import numbers_of
from mlcore.judging.rules import read_rules
from mlcore.judging.verdict import judge
from mlcore.study import discrepancies
from mlcore.study.provenance import provenance
from mlcore.study.replicates import read_curves, read_replicates, read_runs
from mlcore.study.runs import evidence_of
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write the verdicts: all about them, tables of numbers and protocols, and the words alone."""
    files = [workspace.input(f"metrics/{name}.yaml") for name in ("rules", "claims")]
    evidence = evidence_of(
        read_rules(files[0]),
        read_replicates(workspace.input("metrics/replicates.csv")),
        read_curves(workspace.input("metrics/replicates_curves.csv")),
        read_runs(workspace.input("metrics/sensitivity.csv")),
        read_json(workspace.input("metrics/study_models.json"))["networks"],
    )
    printed = numbers_of(read_json(workspace.input("metrics/summary.json")))
    whole = judge(printed, evidence, read_claims(files[1]))
    by_number, by_claim = whole["by_number"], whole["by_claim"]
    write_table(workspace.output("metrics/verdict.csv"), [*map(row_of, by_number.values())])
    for path, number in by_number.items():
        if number["ours"] is not None:
            number["provenance"] = provenance(path, workspace.input, config.model_dump())
    protocols = [row for section in whole["joint"].values() for row in section["protocols"]]
    write_table(workspace.output("metrics/protocols.csv"), protocols)
    whole |= {
        "rules_sha256": hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest(),
        "discrepancies": discrepancies.judge(
            workspace.input("metrics/discrepancies.yaml"), evidence
        ),
    }
    write_json(workspace.output("metrics/verdict.json"), whole)
    words = {name: judged["verdict"] for name, judged in (by_number | by_claim).items()}
    write_json(workspace.output("metrics/verdict_words.json"), words)


if __name__ == "__main__":
    main(run)
