"""Each claim on made-up results: some must flip it, some must leave it undecided."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcore.judging import claims
from mlcore.judging.curves import MEASURES
from mlcore.judging.rules import read_claims, read_rules

ROOT = Path(__file__).parents[1]
RULES = read_rules(ROOT / "metrics" / "rules.yaml", claims.CLAIMS, MEASURES)
CLAIMS = {claim.id: claim for claim in read_claims(ROOT / "metrics" / "claims.yaml", claims.CLAIMS)}
SEEDS = 10


NORMALS = {"sigmoid": 0.95, "tanh": 0.973, "relu": 0.971, "leaky_relu": 0.970}
MEASURED = {"val_roughness": 2.0, "train_roughness": 2.0, "val_rising": 0.4, "val_spikes_5": 3,
            "generalisation_loss": 8.0, "generalisation_loss_10": 6.0}  # fmt: skip


def study_is_right():
    """Results in which every claim holds: a value, or one by seed, by "part name column"."""
    results = {}
    for activation, accuracy in NORMALS.items():
        results[f"network {activation}-zero"] = 820 / 7000
        results[f"network {activation}-random"] = 0.117 if activation == "sigmoid" else 0.945
        results[f"network {activation}-normal"] = accuracy
        for init in ("zero", "random", "normal"):
            for column, value in MEASURED.items():
                results[f"network {activation}-{init} {column}"] = value
    return results | {
        "network tanh-normal val_roughness": 1.1, "network tanh-normal train_roughness": 1.1,
        "network tanh-normal val_rising": 0.2, "network tanh-normal val_spikes_5": 0,
        "classifier logistic": 0.45, "classifier tanh": 0.84,
        "classifier relu": 0.835, "classifier identity": 0.83,
        "feature_classifier relu": 0.72, "feature_classifier identity": 0.737,
        "autoencoder relu test_mse": 0.023, "autoencoder identity test_mse": 0.021,
        "search adam-0.001-64 val_accuracy": 0.86, "search adam-0.0005-32 val_accuracy": 0.855,
        "search adam-2e-05-128 val_accuracy": 0.82,
    }  # fmt: skip


def frame(results, n=SEEDS):
    rows = {}
    for key, values in results.items():
        part, name, *column = key.split()
        for seed, value in enumerate([values] * n if np.ndim(values) == 0 else values, start=1):
            row = rows.setdefault((part, name, seed), {"part": part, "name": name, "seed": seed})
            row[column[0] if column else "test_accuracy"] = value
    columns = ["part", "name", "seed", "test_accuracy", "test_mse", "val_accuracy", *MEASURED]
    return pd.DataFrame(list(rows.values()), columns=columns)


def judge(name, changed=None, n=SEEDS, drop=()):
    results = study_is_right() | (changed or {})
    runs = frame({key: v for key, v in results.items() if key not in drop}, n)
    return claims.judge_claim(CLAIMS[name], claims.Results(runs, 820 / 7000), RULES)


def test_every_claim_of_the_study_has_a_function_and_a_rule():
    assert list(claims.CLAIMS) == list(CLAIMS) == list(RULES.claims)


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize(
    ("n", "verdict", "said"),
    [
        (0, claims.UNDECIDED, ": no replicates."),
        (5, claims.UNDECIDED, "), too few seeds to tell."),
        (6, claims.SUPPORTED, ")."),
    ],
)
def test_it_is_supported_where_the_study_is_right_and_seeds_are_enough(name, n, verdict, said):
    judged = judge(name, n=n)
    assert (judged["verdict"], judged["text"]) == (verdict, CLAIMS[name].text)
    assert judged["evidence"].endswith(said)
    assert (f"{n} of {n} seeds" in judged["evidence"]) == (n > 0)


FLIPPED = {
    "zero_init_is_chance": ("network relu-zero", 0.118,
        "relu: within 0.0005 of the majority class's 0.1171", "median 0.0008571"),
    "normal_beats_random": ("network tanh-random", 0.98,
        "tanh: normal above random", "medians 0.973 and 0.98"),
    "random_works_but_sigmoid": ("network relu-random", 0.85,
        "relu-random reaches 0.9", "median 0.85"),
    "tanh_normal_best": ("network relu-normal", 0.974,
        "tanh-normal above relu-normal", "medians 0.973 and 0.974"),
    "tanh_normal_smoothest": ("network relu-normal val_roughness", 1.05,
        "tanh-normal smoother than relu-normal by val_roughness", "medians 1.1 and 1.05"),
    "relu_normal_overfits": ("network relu-normal generalisation_loss", 4.9,
        "relu-normal: validation loss rises by 5 % after its minimum", "median 4.9"),
    "leaky_no_rougher_than_relu": ("network leaky_relu-random val_roughness", 2.11,
        "random: leaky ReLU no rougher than ReLU by val_roughness", "medians 2.11 and 2"),
    "sigmoid_slowest": ("network leaky_relu-normal", 0.94,
        "leaky_relu-normal above sigmoid-normal", "medians 0.94 and 0.95"),
    "logistic_poor_on_fashion": ("classifier logistic", 0.74,
        "relu above logistic by 0.1", "medians 0.835 and 0.74"),
    "tanh_best_on_fashion": ("classifier relu", 0.841, "tanh above relu", "medians 0.84 and 0.841"),
    "others_within_a_point": ("classifier identity", 0.8245,
        "tanh, relu and identity within 0.015", "median 0.0155"),
    "search_picks_adam_1e-3_64": ("search adam-0.0005-32 val_accuracy", 0.861,
        "adam-0.001-64 above adam-0.0005-32", "medians 0.86 and 0.861"),
    "identity_reconstructs_better": ("autoencoder identity test_mse", 0.024,
        "identity's mean squared error below relu's", "medians 0.024 and 0.023"),
    "code_keeps_most_accuracy": ("feature_classifier relu", 0.71,
        "relu's code within 0.125 of the pixels", "medians 0.71 and 0.84"),
    "identity_code_no_worse": ("feature_classifier identity", 0.7195,
        "identity's code no worse than relu's", "medians 0.7195 and 0.72"),
}  # fmt: skip
"""What refutes a claim, the statement that decides, and its numbers."""


@pytest.mark.parametrize("name", CLAIMS)
def test_it_is_refuted_where_one_of_its_statements_is_wrong(name):
    key, wrong, text, told = FLIPPED[name]
    judged = judge(name, {key: wrong})
    assert judged["verdict"] == claims.REFUTED
    # Wilson's interval by hand: from 0 to 1.96^2 / (10 + 1.96^2)
    share = "95 % interval of the share 0.00 to 0.28"
    assert judged["evidence"] == f"{text}: in 0 of 10 seeds ({share}; {told})."


@pytest.mark.parametrize("name", CLAIMS)
def test_seeds_that_disagree_leave_it_undecided_and_a_single_one_is_named(name):
    key, wrong, *_ = FLIPPED[name]
    right = study_is_right()[key]
    judged = judge(name, {key: [right, wrong] * 5})
    assert judged["verdict"] == claims.UNDECIDED
    assert "in 5 of 10 seeds" in judged["evidence"]
    judged = judge(name, {key: [right, right, wrong, *[right] * 7]})
    assert judged["verdict"] == claims.SUPPORTED
    assert any(line.endswith("not with seed 3.") for line in judged["counter_evidence"])


@pytest.mark.parametrize(
    ("name", "changed", "text"),
    [
        ("random_works_but_sigmoid", {"network sigmoid-random": 0.95},
         "sigmoid-random stays below 0.9: "),
        ("search_picks_adam_1e-3_64", {"search adam-2e-05-128 val_accuracy": 0.87},
         "adam-0.001-64 above adam-2e-05-128: "),
        ("leaky_no_rougher_than_relu", {"network leaky_relu-normal val_roughness": 2.2},
         "normal: leaky ReLU no rougher than ReLU by val_roughness: "),
        ("code_keeps_most_accuracy", {"feature_classifier identity": 0.7},
         "identity's code within 0.125 of the pixels: "),
    ],
)  # fmt: skip
def test_every_part_of_a_claim_counts(name, changed, text):
    judged = judge(name, changed)
    assert judged["verdict"] == claims.REFUTED
    assert judged["evidence"].startswith(text)


def test_orderings_are_paired_by_seed():
    """Seeds differ more among each other than the two do within each: pairs tell them apart."""
    seeds = np.linspace(0.80, 0.89, SEEDS)
    paired = {"classifier tanh": seeds + 0.001,
              "classifier relu": seeds,
              "classifier identity": seeds}  # fmt: skip
    assert judge("tanh_best_on_fashion", paired)["verdict"] == claims.SUPPORTED
    shuffled = paired | {"classifier relu": seeds[::-1]}
    assert judge("tanh_best_on_fashion", shuffled)["verdict"] == claims.UNDECIDED


def rough(value, *cells):
    return {f"network {cell} val_roughness": value for cell in cells}


@pytest.mark.parametrize(
    ("name", "changed", "verdict"),
    [
        # A tie decides nothing
        ("tanh_normal_best", {"network relu-normal": 0.973}, "undecided"),
        ("tanh_best_on_fashion", {"classifier relu": 0.84}, "undecided"),
        # Nor does the last digit of a quotient that should be 1
        ("tanh_normal_smoothest",
         rough(1.0, "tanh-normal") | rough(np.nextafter(1, 0), "relu-normal"), "undecided"),
        # Endless roughness is rougher than any
        ("tanh_normal_smoothest", rough(np.inf, "relu-zero"), "supported"),
        ("leaky_no_rougher_than_relu", rough(np.inf, "relu-random", "leaky_relu-random"),
         "supported"),
        ("leaky_no_rougher_than_relu", rough(np.inf, "leaky_relu-random"), "refuted"),
        # 0.84 on the pixels less the 0.125 that are allowed
        *(("code_keeps_most_accuracy", {f"feature_classifier {code}": 0.715},
           "supported") for code in ("relu", "identity")),
    ],
)  # fmt: skip
def test_what_is_just_as_much(name, changed, verdict):
    judged = judge(name, changed)
    assert judged["verdict"] == verdict
    assert ("in 5 of 10 seeds" in judged["evidence"]) == (verdict == "undecided")


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        # 820 of 7,000 against 821: by 0.00014 off
        ("zero_init_is_chance", {"network tanh-zero": 821 / 7000},
         {"0.0001": "refuted", "0.001": "supported", "0.005": "supported"}),
        ("relu_normal_overfits", {"network relu-normal generalisation_loss": 12.0},
         {"1": "supported", "2": "supported", "10": "supported", "20": "refuted"}),
        ("others_within_a_point", {"classifier identity": 0.832},
         {"0.005": "refuted", "0.01": "supported", "0.02": "supported"}),
        ("code_keeps_most_accuracy", {"feature_classifier relu": 0.725},
         {"0.1": "refuted", "0.12": "supported", "0.15": "supported"}),
        # 0.005 worse: as much as one of the margins allows
        ("identity_code_no_worse", {"feature_classifier identity": 0.715},
         {"0.0025": "refuted", "0.005": "supported", "0.01": "supported"}),
        ("tanh_normal_best", {"network relu-normal": 0.9718},
         {"0.0005": "supported", "0.001": "supported", "0.002": "refuted"}),
    ],
)  # fmt: skip
def test_other_thresholds_move_the_verdict(name, changed, expected):
    judged = judge(name, changed)
    by_threshold = [v for v in judged["variants"] if "threshold" in v]
    assert {f"{v['threshold']:g}": v["verdict"] for v in by_threshold} == expected
    against = [v for v in by_threshold if v["verdict"] != judged["verdict"]]
    said = [line for line in judged["counter_evidence"] if line.startswith("With threshold")]
    assert len(said) == len(against) > 0


@pytest.mark.parametrize(
    ("name", "cell", "measure", "value"),
    [
        ("tanh_normal_smoothest", "relu-normal", "val_rising", 0.1),
        # A shorter patience may hide the overfitting
        ("relu_normal_overfits", "relu-normal", "generalisation_loss_10", 3.0),
    ],
)
def test_another_measure_is_counter_evidence(name, cell, measure, value):
    judged = judge(name, {f"network {cell} {measure}": value})
    assert judged["verdict"] == claims.SUPPORTED
    assert f"With measure {measure} it would be refuted." in judged["counter_evidence"]


@pytest.mark.parametrize("candidate", ["adam-2e-05-128", "adam-0.001-64"])
def test_a_candidate_that_was_not_run_leaves_the_search_undecided(candidate):
    judged = judge("search_picks_adam_1e-3_64", drop=[f"search {candidate} val_accuracy"])
    assert judged["verdict"] == claims.UNDECIDED


def claim_of(monkeypatch, outcomes):
    """Judge a claim that is these outcomes by seed, one list for each statement."""
    made_up = [
        claims.Statement(text, pd.Series(holds, range(1, len(holds) + 1), dtype=float), "")
        for text, holds in outcomes.items()
    ]
    monkeypatch.setitem(claims.CLAIMS, "sigmoid_slowest", lambda results, threshold: made_up)
    return judge("sigmoid_slowest")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"a": [1] * 10, "b": [1] * 9 + [0], "c": [1] * 10}, "b: in 9 of 10 seeds"),
        ({"a": [0] * 10, "b": [1] * 10, "c": [1] + [0] * 11}, "a: in 0 of 10 seeds"),
        # Five seeds are too few to refute, whatever their share
        ({"a": [0] * 5, "b": [1] + [0] * 9}, "b: in 1 of 10 seeds"),
        ({"a": [1, 0] * 3, "b": [1] * 4 + [0] * 6, "c": [1] * 10}, "b: in 4 of 10 seeds"),
        ({"a": [1] * 6 + [0] * 4, "b": []}, "b: no replicates."),
        ({"a": [1] * 4 + [0] * 6, "b": []}, "a: in 4 of 10 seeds"),
    ],
    ids=["supported", "refuted", "refuted, not the few", "undecided", "none", "below none"],
)
def test_the_statement_that_decides_and_holds_least_is_the_evidence(
    monkeypatch, outcomes, expected
):
    judged = claim_of(monkeypatch, outcomes)
    assert judged["evidence"].startswith(expected)
    assert [statement["text"] for statement in judged["statements"]] == list(outcomes)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("supported", ["a: not with seed 3, 7.", "With threshold 0.1 it would be undecided."]),
        ("refuted", ["2 of its 3 statements are supported.",
                     "With measure val_rising, threshold 0.2 it would be supported.",
                     "With threshold 0.1 it would be undecided."]),
        ("undecided", ["With measure val_rising, threshold 0.2 it would be supported."]),
    ],
)  # fmt: skip
def test_what_speaks_against_a_verdict(verdict, expected):
    statements = [
        claims.Judged("a", "", "supported", 18, 20, None, [3, 7]),
        claims.Judged("b", "", "supported", 20, 20, None, []),
        claims.Judged("c", "", verdict, 0, 0, None, []),
    ]
    variants = [
        {"measure": "val_rising", "threshold": 0.2, "verdict": "supported"},
        {"threshold": 0.1, "verdict": "undecided"},
    ]
    if verdict == "supported":
        statements.pop()
    assert claims.counter_evidence(verdict, statements, variants) == expected


def test_the_level_of_the_interval_is_said_in_per_cent():
    interval = claims.Interval(0.125, 0.875)
    judged = claims.Judged("a", "medians 1 and 2", "undecided", 4.5, 9, interval, [1])
    rules = RULES.model_copy(update={"level": 0.9, "min_replicates": 9})
    assert claims.sentence(judged, rules) == (
        "a: in 4.5 of 9 seeds (90 % interval of the share 0.12 to 0.88; medians 1 and 2)."
    )


def pairs(a, b):
    """Two metrics by seed."""
    return tuple(pd.Series(values, index=range(1, len(values) + 1)) for values in (a, b))


def test_a_lead_of_just_as_much_is_a_tie_or_enough():
    # 0.3 - 0.1 - 0.2 is below zero in binary
    above, below = pairs([0.3, 0.31, 0.29], [0.1, 0.1, 0.1])
    assert claims.leads("", above, below, 0.2).holds.tolist() == [0.5, 1, 0]
    assert claims.leads("", above, below, 0.2, at_least=True).holds.tolist() == [1, 1, 0]


def test_the_margin_of_smoothness_is_part_of_it():
    a, b = pairs([1.05, 1.06, 1.04], [1.0, 1.0, 1.0])
    assert claims.smoother("", a, b, 0.05, margin=True).holds.tolist() == [1, 0, 1]
    assert claims.smoother("", b, a, 0.05).holds.tolist() == [0.5, 1, 0]


def test_a_bound_is_within():
    values, _ = pairs([0.1 + 0.2, 0.31, 0.29], [])
    assert claims.bounded("", values, 0.3, above=True).holds.tolist() == [1, 1, 0]
    assert claims.bounded("", values, 0.3, above=False).holds.tolist() == [1, 0, 1]


def test_the_spread_of_three_is_taken_of_the_seeds_that_all_have():
    """By seed 0.02, 0.01 and, with one of the three not run, none."""
    runs = frame({
        "classifier tanh": [0.85, 0.75, 0.65],
        "classifier relu": [0.84, 0.74, 0.65],
        "classifier identity": [0.83, 0.745],
    })  # fmt: skip
    (statement,) = claims.others_within_a_point(claims.Results(runs, 0.1), 0.015)
    assert statement.holds.to_dict() == {1: 0, 2: 1}


def test_seeds_that_only_one_of_two_has_do_not_count():
    a, b = pairs([1.0, 1.0, 1.0], [1.1, 1.1])
    assert claims.smoother("", a, b, 0.05).holds.to_dict() == {1: 1, 2: 1}
    assert claims.leads("", b, a, 0.05).holds.to_dict() == {1: 1, 2: 1}


@pytest.mark.parametrize(
    ("holds", "n", "expected"),
    [
        (6, 6, "supported"),    # Wilson's lower end 0.61
        (5, 5, "undecided"),    # too few
        (8, 10, "undecided"),   # lower end 0.490
        (9, 10, "supported"),   # 0.596
        (15, 20, "supported"),  # 0.531, share 0.75
        (14, 20, "undecided"),  # 0.481
        (70, 100, "undecided"), # 0.604, but share below 0.75
        (1, 10, "refuted"),     # upper end 0.404
        (2, 10, "undecided"),   # 0.510
    ],
)  # fmt: skip
def test_how_often_a_statement_must_hold(holds, n, expected):
    outcomes = pd.Series([1.0] * holds + [0.0] * (n - holds), index=range(1, n + 1))
    judged = claims.judge_statement(claims.Statement("x", outcomes, ""), RULES)
    assert judged.verdict == expected
    assert judged.exceptions == list(range(holds + 1, n + 1))
