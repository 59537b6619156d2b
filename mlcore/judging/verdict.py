"""The whole verdict on a study: its numbers, alone and together, and its claims."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mlcore.judging import joint, numbers
from mlcore.judging.claims import Claim, counts, judge_claim
from mlcore.judging.numbers import Evidence
from mlcore.judging.published import Printed


def judge(
    printed: Iterable[Printed], evidence: Evidence, claims: Sequence[Claim] = ()
) -> dict[str, Any]:
    """Judge printed numbers and claims by runs.

    Parameters
    ----------
    printed : iterable of Printed
        Of `published.read_published` or `published.printed_in`.
    evidence : Evidence
        Rules and runs.
    claims : sequence of Claim, optional

    Returns
    -------
    dict
        "by_number", each `numbers.Number` by its path; "by_claim", see `claims.judge_claim`;
        "joint", see `joint.judge_jointly`; counts of verdicts in "numbers" and "claims";
        "coverage"; "replicates", how many runs there are; "level" of every interval.

    Raises
    ------
    RetraceError
        For a number without a rule, an unknown run or metric, a claim that is none.
    """
    rules = evidence.rules
    judged = numbers.judge(printed, evidence)
    verdicts = {number.path: number.verdict for number in judged}
    on_claims = {claim.id: judge_claim(claim, evidence, verdicts) for claim in claims}
    return {
        "level": rules.level,
        "numbers": numbers.counts(judged),
        "claims": counts([*on_claims.values()]),
        "coverage": numbers.coverage(judged, rules.level),
        "replicates": evidence.n_runs,
        "joint": joint.judge_jointly(judged, evidence),
        "by_number": {number.path: asdict(number) for number in judged},
        "by_claim": on_claims,
    }
