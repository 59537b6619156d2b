"""Statements and claims on made-up runs, each of which must flip a verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlcore.errors import RetraceError
from mlcore.judging import claims
from mlcore.judging.claims import REFUTED, SUPPORTED, UNDECIDED, Claim, judge_claim, parse
from mlcore.judging.numbers import CONSISTENT, IMMATERIAL, NOT_REPRODUCED, NOT_TESTABLE, Evidence
from mlcore.judging.rules import read_rules

RULES = read_rules(Path(__file__).parents[1] / "metrics" / "rules.yaml")
SHAPE = np.array([-1, 1] * 5) * np.sqrt(9 / 10)  # mean 0, standard deviation 1


def results(runs):
    return Evidence(RULES, runs, {}, ["network/*"])


def judge(statement, runs):
    return claims.judge_statement(parse(statement), results(runs), 0.95)


A, B = "test_accuracy(network/tanh-normal)", "test_accuracy(network/relu-normal)"


def two(left, right):
    """Runs of both, one per seed."""
    rows = [(f"network/{name}-normal", seed, value, value)
            for name, column in (("tanh", left), ("relu", right))
            for seed, value in enumerate(column, start=1)]  # fmt: skip
    return pd.DataFrame(rows, columns=["name", "seed", "test_accuracy", "val_roughness"])


@pytest.mark.parametrize("sign", [">", "<"])
@pytest.mark.parametrize(
    ("shift", "expected"),
    # The half-width of the mean's interval is 2.2622 x 0.01 / sqrt(10) = 0.007154
    [(0.0073, SUPPORTED), (0.0070, UNDECIDED), (-0.0070, UNDECIDED), (-0.0073, REFUTED)],
)
def test_a_paired_t_test_by_hand(sign, shift, expected):
    common = np.linspace(0.2, 0.9, 10)  # what seeds share falls out
    shift = shift if sign == ">" else -shift
    judged = judge(f"{A} {sign} {B}", two(common + shift + 0.01 * SHAPE, common))
    assert (judged.verdict, judged.n) == (expected, 10)
    assert judged.difference == pytest.approx(shift)
    half = 2.2622 * 0.01 / 10**0.5
    assert judged.interval == pytest.approx((shift - half, shift + half), abs=1e-6)
    assert (judged.left, judged.right) == (pytest.approx(0.55 + shift), pytest.approx(0.55))


@pytest.mark.parametrize(
    ("shift", "margin", "expected"),
    # t(9) at 95 % is 1.8331: half of the 90 % interval is 0.005797; of the 95 % one 0.007154
    [(0.001, 0.0068, SUPPORTED), (0.001, 0.0067, UNDECIDED), (-0.001, 0.0068, SUPPORTED),
     (0.008, 0.0008, REFUTED), (0.008, 0.0009, UNDECIDED), (-0.008, 0.0008, REFUTED)],
)  # fmt: skip
def test_equivalence_by_two_one_sided_tests_by_hand(shift, margin, expected):
    runs = two(0.5 + shift + 0.01 * SHAPE, [0.5] * 10)
    for within in (f"{margin}", f"{100 * margin:g} points"):
        judged = judge(f"{A} = {B} within {within}", runs)
        assert (judged.verdict, judged.margin) == (expected, pytest.approx(margin))
        assert judged.interval == pytest.approx((shift - 0.005797, shift + 0.005797), abs=1e-6)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("0.89", SUPPORTED), ("0.9", REFUTED), ("0.91", REFUTED), ("9e-1", REFUTED),
        (f"{B} + 0.29", SUPPORTED), (f"{B} + 0.3", REFUTED), (f"{B} + -0.3", SUPPORTED),
        (f"{B} - 0.1", SUPPORTED), (f"1.5 * {B}", REFUTED), (f"1.4 * {B} + 0.05", SUPPORTED),
    ],
)  # fmt: skip
def test_factor_offset_and_a_number_alone(right, expected):
    """Of runs that do not vary, of which a tie refutes."""
    judged = judge(f"{A} > {right}", two([0.9] * 3, [0.6] * 3))
    assert (judged.verdict, judged.holds) == (expected, 3 if expected == SUPPORTED else 0)
    assert (judged.right is None) == (B not in right)


def test_ties_are_no_difference():
    tied = two([0.9] * 5, [0.9] * 5)
    assert judge(f"{A} > {B}", tied).verdict == judge(f"{A} < {B}", tied).verdict == REFUTED
    assert judge(f"{A} = {B} within 0", tied).verdict == SUPPORTED
    judged = judge(f"{A} > {B}", two([0.9, 0.9, 0.8, 0.9], [0.9, 0.8, 0.8, 0.9]))
    assert (judged.verdict, judged.holds) == (UNDECIDED, 1)


@pytest.mark.parametrize(("n", "expected"), [(0, UNDECIDED), (2, UNDECIDED), (3, SUPPORTED)])
def test_fewer_than_three_pairs_say_nothing(n, expected):
    # Only seeds of both count, and flat curves have no roughness
    left = [*[2.0] * n, *[np.nan] * 4, 2.0]
    found = judge(f"{A} > {B}".replace("test_accuracy", "val_roughness"), two(left, [1] * (n + 4)))
    assert (found.verdict, found.n) == (expected, n)
    assert (found.interval is None) == (n < 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a{x,y} > b{x,y}", ["ax > bx", "ay > by"]), ("a > b", ["a > b"]),
     ("a{x, y} > b{u,v}", ["ax > bu", "ax > bv", "ay > bu", "ay > bv"])],
)  # fmt: skip
def test_the_same_braces_are_bound_and_others_crossed(text, expected):
    assert list(claims.expand(text)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tanh > relu", "is not a statement: it should be like"),
        *((f"{A} {rest}", "is not a statement") for rest in
          (f"> {B}\n", f"> {B} * 2", f"= {B}", f"> {B} within 0.1", "> $threshold")),
        (f"{A} > test_accuracy( )", "should be METRIC(NAME) or METRIC(NAME, KEY"),
        ("test_acuracy(network/a) > 0",
         "test_acuracy(network/a): there is no metric test_acuracy; did you mean test_accuracy?"),
        ("xyz(network/a) > 0", "there is no metric xyz; there are test_accuracy, val_roughness"),
        (f"{A} > test_accuracy(networks/a)", "no run networks/a; did you mean network/*?"),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_named_in_one_line(text, says):
    with pytest.raises(RetraceError) as refusal:
        judge(text, two([], []))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def claim(kind="claim", **values):
    return Claim(id="B1", section="2.4", kind=kind, text="So it is.", **values)


MANY = [f"{A} > {B}", *[f"{A} > 0.{digit}" for digit in range(4)]]


@pytest.mark.parametrize(
    ("shift", "statements", "expected"),
    # One of five refutes at 99 %: t(9) at 99.5 % is 3.2498, the half-width 0.010277. Support needs
    # no correction, as all must hold
    [(-0.0075, MANY[:1], REFUTED), (-0.0075, MANY, UNDECIDED), (-0.0103, MANY, REFUTED),
     (0.0073, MANY, SUPPORTED), (0.0070, MANY, UNDECIDED)],
)  # fmt: skip
def test_all_of_several_statements_must_hold(shift, statements, expected):
    runs = two(0.5 + shift + 0.01 * SHAPE, [0.5] * 10)
    judged = judge_claim(claim(statements=statements), results(runs), {})
    verdict, *others = (statement["verdict"] for statement in judged["statements"])
    assert judged["verdict"] == verdict == expected
    assert set(others) <= {SUPPORTED}


@pytest.mark.parametrize(
    ("alone", "with_statement"),
    [(IMMATERIAL, SUPPORTED), (NOT_REPRODUCED, REFUTED), (NOT_TESTABLE, UNDECIDED)],
)
def test_the_worst_of_its_numbers_counts(alone, with_statement):
    verdicts = {"a.b": CONSISTENT, "a.c": alone}
    known = results(two([0.9] * 3, [])), verdicts | {"d": NOT_REPRODUCED}
    judged = judge_claim(claim(numbers=["a.*"]), *known)
    assert (judged["verdict"], judged["verdicts"]) == (alone, verdicts)
    both = claim(numbers=["a.*"], statements=[f"{A} > 0.8"])
    assert judge_claim(both, *known)["verdict"] == with_statement
    with pytest.raises(
        RetraceError, match=r": the claim B1: no number that is judged fits e\.\*; there "
    ):
        judge_claim(claim(numbers=["a.*", "e.*"]), *known)


def test_settings_are_given_and_opinions_not_testable():
    asked = [claim(kind, reason="It is so.") for kind in ("setting", "opinion")]
    about = [judge_claim(one, results(two([], [])), {}) for one in asked]
    assert [judged["verdict"] for judged in about] == [claims.GIVEN, claims.OPINION]
    assert claims.counts(about) == {claims.GIVEN: 1, claims.OPINION: 1}


def test_other_thresholds_and_measures_have_their_own_verdicts():
    asked = claim(
        statements=["$measure(network/tanh-normal) > $threshold"],
        **{"threshold": 0.85, "measure": "test_accuracy", "also": [{"threshold": 1}]},
    )
    judged = judge_claim(asked, results(two([0.9] * 3, [])), {})
    assert judged["verdict"] == SUPPORTED
    assert judged["variants"] == [{"threshold": 1, "verdict": REFUTED}]
    (found,) = claims.statements_of(asked, {"threshold": 1e-9, "measure": "val_loss"})
    assert found == parse("val_loss(network/tanh-normal) > 1e-09")


ONE = {"id": "B1", "section": "2.4", "kind": "claim", "text": "So it is.",
       "statements": [f"{A} > $threshold"], "threshold": 0}  # fmt: skip


def test_a_bound_of_0_or_1_leaves_nothing_behind():
    ask = f"{A} > $threshold * {B}", f"{A} < {B} - $threshold"
    told = [
        claims.statements_of(claim(statements=[text], threshold=bound), {"threshold": bound})[
            0
        ].text
        for text in ask
        for bound in (0.0, 1.0, 1.1)
    ]
    assert told == [f"{A} > 0 * {B}", f"{A} > {B}", f"{A} > 1.1 * {B}",
                    f"{A} < {B}", f"{A} < {B} - 1", f"{A} < {B} - 1.1"]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"claims": [ONE]}, "it holds {"),
        ([ONE, ONE], "the claim B1 is there 2 times"),
        ([{k: v for k, v in ONE.items() if k != "text"}], "0.text is missing"),
        ([ONE | {"id": 7}], "0.id=7: "),
        ([ONE | {"kind": "guess"}], "0.kind='guess': "),
        ([ONE | {"better": True}], "0.better=True is unknown; there are also, code, "),
        ([ONE | {"statements": [], "reason": "None."}], "B1: numbers or statements are needed"),
        ([ONE | {"kind": "opinion"}], "B1: a reason is needed"),
        ([ONE | {"threshold": None}], "claims.yaml: the claim B1: it should have a threshold or"),
        ([ONE | {"measure": "val_rising"}], "the claim B1: no statement uses its measure"),
        ([ONE | {"also": [{"measure": "val_rising"}]}], "no statement uses its measure"),
        ([ONE | {"statements": ["no"], "threshold": None}], "B1: 'no' is not a statement"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_claim_is_named_in_one_line(tmp_path, content, says):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(RetraceError) as refusal:
        claims.read_claims(path)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("test_accuracy(network/tanh-normal) is highest of network/*", SUPPORTED),
     ("test_accuracy(network/relu-normal) is lowest of network/*-normal", SUPPORTED),
     ("test_accuracy(network/relu-normal) is highest of network/*-normal", REFUTED)],
)  # fmt: skip
def test_one_of_several_may_be_the_highest(text, expected):
    runs = results(two([0.9] * 3, [0.6] * 3))
    judged = judge_claim(claim(statements=[text]), runs, {})
    (statement,) = judged["statements"]
    assert (judged["verdict"], statement["n"]) == (expected, 3)
    with pytest.raises(RetraceError, match=r"no other run net/\*; there are network/"):
        judge_claim(claim(statements=[text.split(" of ")[0] + " of net/*"]), runs, {})
