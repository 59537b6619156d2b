"""Which of the study's claims hold: one function per claim, from results to statements.

A statement is true or false of each seed. How often it must hold, and by what margin, is in
metrics/rules.yaml.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pandas as pd

from mlcore.judging.numbers import Candidate, by_seed, search_scores
from mlcore.judging.rules import ClaimText, Rules
from mlcore.judging.statistics import Interval, Series, wilson_interval

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
CLAIM_VERDICTS = (SUPPORTED, REFUTED, UNDECIDED)

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu")
OTHER_CELLS = [
    f"{activation}-{init}"
    for activation in ACTIVATIONS
    for init in ("zero", "random", "normal")
    if (activation, init) != ("tanh", "normal")
]
"""Of the grid, but tanh with normal init."""
STUDY_CANDIDATE = Candidate("adam", 0.001, 64)
UNTUNED_CANDIDATE = Candidate("adam", 2e-5, 128)


@dataclass(frozen=True)
class Results:
    """What claims are judged by."""

    # One row per replicate: "part", "name", "seed", its final metrics, and for networks those of
    # `curves.describe`
    runs: pd.DataFrame
    majority_share: float  # of the most frequent class among MNIST's test images

    def metric(self, part: str, name: str, column: str) -> Series:
        """Give a metric of all replicates of a training, by seed."""
        return by_seed(self.runs, part, name, column)

    def accuracy(self, part: str, name: str) -> Series:
        """Give the accuracies in the test part, by seed."""
        return self.metric(part, name, "test_accuracy")


@dataclass(frozen=True)
class Statement:
    """Something that is true or false of each seed."""

    text: str
    holds: Series  # by seed: 1 true, 0 false, 0.5 a tie
    detail: str  # the numbers behind it


@dataclass(frozen=True)
class Judged:
    """A statement and how often it holds."""

    text: str
    detail: str
    verdict: str  # one of `CLAIM_VERDICTS`
    holds: float  # number of seeds; a tie counts half
    n: int  # seeds
    interval: Interval | None  # Wilson's, of the share
    exceptions: list[int]  # seeds of which it is not true


# What single statements are made of


def leads(text: str, a: Series, b: Series, by: float, *, at_least: bool = False) -> Statement:
    """State that `a` exceeds `b` by more than `by`, paired by seed; `at_least` includes `by`."""
    a, b = a.align(b, join="inner")
    # Differences of decimals that are not exact in binary
    lead = (a - b - by).round(12)
    holds = (lead > 0) + (lead == 0) * (1.0 if at_least else 0.5)
    return Statement(text, holds, _medians(a, b))


def smoother(text: str, a: Series, b: Series, by: float, *, margin: bool = False) -> Statement:
    """State that `a` is below `b` by a share of `by`, or with `margin` above by no more than it.

    For values that are positive, and may be infinite.
    """
    a, b = (series.round(9) for series in a.align(b, join="inner"))
    if margin:
        holds = (a <= b * (1 + by)).astype(float)
    else:
        holds = (a * (1 + by) < b) + 0.5 * (a * (1 + by) == b)
    return Statement(text, holds, _medians(a, b))


def bounded(text: str, values: Series, bound: float, *, above: bool) -> Statement:
    """State that values are at or above a bound, or at or below it."""
    rounded = values.round(12)
    holds = rounded >= bound if above else rounded <= bound
    return Statement(text, holds.astype(float), f"median {values.median():.4g}")


def _medians(a: Series, b: Series) -> str:
    return f"medians {a.median():.4g} and {b.median():.4g}"


def each_leads(
    results: Results,
    part: str,
    pairs: Iterable[tuple[str, str]],
    by: float,
    text: str = "{} above {}",
) -> list[Statement]:
    """State of each pair of a part's trainings that the first is more accurate than the second."""
    return [
        leads(text.format(a, b), results.accuracy(part, a), results.accuracy(part, b), by)
        for a, b in pairs
    ]


# The claims


def zero_init_is_chance(results: Results, threshold: float) -> list[Statement]:
    """State that zero init ends at the majority-class rate for every activation."""
    share = results.majority_share
    near = f"within {threshold:g} of the majority class's {share:.4f}"
    distances = {a: (results.accuracy("network", f"{a}-zero") - share).abs() for a in ACTIVATIONS}
    return [bounded(f"{a}: {near}", d, threshold, above=False) for a, d in distances.items()]


def normal_beats_random(results: Results, threshold: float) -> list[Statement]:
    """State that normal init beats random init for every activation."""
    accuracy = partial(results.accuracy, "network")
    return [
        leads(
            f"{a}: normal above random", accuracy(f"{a}-normal"), accuracy(f"{a}-random"), threshold
        )
        for a in ACTIVATIONS
    ]


def random_works_but_sigmoid(results: Results, threshold: float) -> list[Statement]:
    """State that random init trains tanh, ReLU and leaky ReLU, and fails for sigmoid."""
    accuracy = partial(results.accuracy, "network")
    works = [f"{activation}-random" for activation in ("tanh", "relu", "leaky_relu")]
    fails = "sigmoid-random"
    return [
        *(bounded(f"{c} reaches {threshold:g}", accuracy(c), threshold, above=True) for c in works),
        bounded(f"{fails} stays below {threshold:g}", accuracy(fails), threshold, above=False),
    ]


def tanh_normal_best(results: Results, threshold: float) -> list[Statement]:
    """State that tanh with normal init has the highest test accuracy of the twelve."""
    return each_leads(results, "network", [("tanh-normal", c) for c in OTHER_CELLS], threshold)


def tanh_normal_smoothest(results: Results, threshold: float, measure: str) -> list[Statement]:
    """State that tanh with normal init has the smoothest convergence of the twelve."""
    metric = partial(results.metric, "network", column=measure)
    text, best = "tanh-normal smoother than {} by {}", metric("tanh-normal")
    return [smoother(text.format(c, measure), best, metric(c), threshold) for c in OTHER_CELLS]


def relu_normal_overfits(results: Results, threshold: float, measure: str) -> list[Statement]:
    """State that ReLU with normal init overfits: its validation loss rises after its minimum."""
    text = f"relu-normal: validation loss rises by {threshold:g} % after its minimum"
    rise = results.metric("network", "relu-normal", measure)
    return [bounded(text, rise, threshold, above=True)]


def leaky_no_rougher_than_relu(results: Results, threshold: float, measure: str) -> list[Statement]:
    """State that leaky ReLU converges at least as smoothly as ReLU."""
    metric = partial(results.metric, "network", column=measure)
    text = "{}: leaky ReLU no rougher than ReLU by {}"
    return [
        smoother(text.format(init, measure), metric(f"leaky_relu-{init}"), metric(f"relu-{init}"),
                 threshold, margin=True)
        for init in ("random", "normal")
    ]  # fmt: skip


def sigmoid_slowest(results: Results, threshold: float) -> list[Statement]:
    """State that sigmoid with normal init is the least accurate of the four with normal init."""
    pairs = [(f"{a}-normal", "sigmoid-normal") for a in ("tanh", "relu", "leaky_relu")]
    return each_leads(results, "network", pairs, threshold)


def logistic_poor_on_fashion(results: Results, threshold: float) -> list[Statement]:
    """State that on Fashion-MNIST, logistic is far behind tanh, ReLU and identity."""
    pairs = [(activation, "logistic") for activation in ("tanh", "relu", "identity")]
    text = f"{{}} above {{}} by {threshold:g}"
    return each_leads(results, "classifier", pairs, threshold, text)


def tanh_best_on_fashion(results: Results, threshold: float) -> list[Statement]:
    """State that on Fashion-MNIST, tanh has the best test accuracy of the four."""
    pairs = [("tanh", activation) for activation in ("logistic", "relu", "identity")]
    return each_leads(results, "classifier", pairs, threshold)


def others_within_a_point(results: Results, threshold: float) -> list[Statement]:
    """State that tanh, ReLU and identity are within about one point of each other."""
    accuracies = pd.concat(
        [results.accuracy("classifier", name) for name in ("tanh", "relu", "identity")],
        axis=1,
        join="inner",
    )
    spread = accuracies.max(axis=1) - accuracies.min(axis=1)
    text = f"tanh, relu and identity within {threshold:g}"
    return [bounded(text, spread, threshold, above=False)]


def search_picks_study(results: Results, threshold: float) -> list[Statement]:
    """State that the search picks adam, 0.001 and batch 64, and improves on the untuned model.

    "Improves" against the same model with the settings of the report's section 3.2, in the same
    folds.
    """
    scores = search_scores(results.runs)
    named = {str(Candidate(*settings)): scores[settings] for settings in scores}
    study, untuned = str(STUDY_CANDIDATE), str(UNTUNED_CANDIDATE)
    others = sorted(set(named) - {study, untuned})
    # A candidate that has not been run leaves its statement, and with it the claim, undecided
    none = pd.Series(dtype=float)
    return [
        leads(f"{study} above {other}", named.get(study, none), named.get(other, none), threshold)
        for other in [*others, untuned]
    ]


def identity_reconstructs_better(results: Results, threshold: float) -> list[Statement]:
    """State that the identity autoencoder reconstructs slightly better than the ReLU one."""
    error = partial(results.metric, "autoencoder", column="test_mse")
    text = "identity's mean squared error below relu's"
    return [smoother(text, error("identity"), error("relu"), threshold)]


def code_keeps_most_accuracy(results: Results, threshold: float) -> list[Statement]:
    """State that a classifier on the 32-d code stays within about 12 points of one on pixels."""
    text = f"{{}}'s code within {threshold:g} of the pixels"
    code = partial(results.accuracy, "feature_classifier")
    pixels = results.accuracy("classifier", "tanh")
    return [
        leads(text.format(name), code(name), pixels, -threshold, at_least=True)
        for name in ("relu", "identity")
    ]


def identity_code_no_worse(results: Results, threshold: float) -> list[Statement]:
    """State that the identity code classifies at least as well as the ReLU code."""
    accuracy = partial(results.accuracy, "feature_classifier")
    text = "identity's code no worse than relu's"
    return [leads(text, accuracy("identity"), accuracy("relu"), -threshold, at_least=True)]


CLAIMS: dict[str, Callable[..., list[Statement]]] = {
    "zero_init_is_chance": zero_init_is_chance,
    "normal_beats_random": normal_beats_random,
    "random_works_but_sigmoid": random_works_but_sigmoid,
    "tanh_normal_best": tanh_normal_best,
    "tanh_normal_smoothest": tanh_normal_smoothest,
    "relu_normal_overfits": relu_normal_overfits,
    "leaky_no_rougher_than_relu": leaky_no_rougher_than_relu,
    "sigmoid_slowest": sigmoid_slowest,
    "logistic_poor_on_fashion": logistic_poor_on_fashion,
    "tanh_best_on_fashion": tanh_best_on_fashion,
    "others_within_a_point": others_within_a_point,
    "search_picks_adam_1e-3_64": search_picks_study,
    "identity_reconstructs_better": identity_reconstructs_better,
    "code_keeps_most_accuracy": code_keeps_most_accuracy,
    "identity_code_no_worse": identity_code_no_worse,
}
"""By the claim's id in metrics/claims.yaml."""


# The verdicts


def judge_statement(statement: Statement, rules: Rules) -> Judged:
    """Say how often a statement holds, and what follows."""
    n, holds = len(statement.holds), float(statement.holds.sum())
    interval = wilson_interval(holds, n, rules.level) if n else None
    verdict = UNDECIDED
    if interval is not None and n >= rules.min_replicates:
        if interval.low > 0.5 and holds / n >= rules.supported_at_least:
            verdict = SUPPORTED
        elif interval.high < 0.5:
            verdict = REFUTED
    exceptions = [int(seed) for seed in statement.holds.index[statement.holds < 1]]
    return Judged(statement.text, statement.detail, verdict, holds, n, interval, sorted(exceptions))


def combine(statements: Sequence[Judged]) -> str:
    """Give the verdict on a claim that is all of these statements."""
    verdicts = [statement.verdict for statement in statements]
    if REFUTED in verdicts:
        return REFUTED
    return SUPPORTED if set(verdicts) == {SUPPORTED} else UNDECIDED


def judge_claim(claim: ClaimText, results: Results, rules: Rules) -> dict[str, Any]:
    """Judge one claim.

    Returns
    -------
    dict
        "id", "text"; "verdict"; "evidence", a sentence about the statement that decides, of
        several the one that holds least often; "counter_evidence", sentences about what speaks
        against the verdict; "statements", each as `Judged`; "threshold" and "measure";
        "variants", the verdict by each other threshold or measure.
    """

    def judged_by(settings: Mapping[str, Any]) -> list[Judged]:
        return [judge_statement(s, rules) for s in CLAIMS[claim.id](results, **settings)]

    rule = rules.claims[claim.id]
    settings, others = rule.settings(), [variant.settings() for variant in rule.also]
    statements = judged_by(settings)
    verdict = combine(statements)
    variants = [{**other, "verdict": combine(judged_by(settings | other))} for other in others]
    deciding = min(
        (statement for statement in statements if statement.verdict == verdict),
        key=lambda statement: statement.holds / statement.n if statement.n else 0.5,
    )
    return {
        "id": claim.id,
        "text": claim.text,
        "verdict": verdict,
        "evidence": sentence(deciding, rules),
        "counter_evidence": counter_evidence(verdict, statements, variants),
        "statements": [asdict(statement) for statement in statements],
        **settings,
        "variants": variants,
    }


def sentence(statement: Judged, rules: Rules) -> str:
    """Say in one sentence how often a statement holds."""
    if statement.interval is None:
        return f"{statement.text}: no replicates."
    low, high = statement.interval
    few = ", too few seeds to tell" if statement.n < rules.min_replicates else ""
    return (
        f"{statement.text}: in {statement.holds:g} of {statement.n} seeds "
        f"({100 * rules.level:g} % interval of the share {low:.2f} to {high:.2f}; "
        f"{statement.detail}){few}."
    )


def counter_evidence(
    verdict: str, statements: Sequence[Judged], variants: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say what speaks against a verdict: single seeds, other statements, other thresholds."""
    against = []
    supported = sum(statement.verdict == SUPPORTED for statement in statements)
    if verdict == REFUTED and supported:
        against.append(f"{supported} of its {len(statements)} statements are supported.")
    for statement in statements:
        if verdict == SUPPORTED and statement.exceptions:
            seeds = ", ".join(map(str, statement.exceptions))
            against.append(f"{statement.text}: not with seed {seeds}.")
    for variant in variants:
        if variant["verdict"] != verdict:
            setting = ", ".join(f"{k} {v}" for k, v in variant.items() if k != "verdict")
            against.append(f"With {setting} it would be {variant['verdict']}.")
    return against


def counts(judged: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the verdicts."""
    return {word: sum(claim["verdict"] == word for claim in judged) for word in CLAIM_VERDICTS}
