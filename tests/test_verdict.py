"""The rules for numbers on made-up results, each of which must flip a verdict."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcore.files import read_yaml
from mlcore.judging import numbers
from mlcore.judging.numbers import (
    CONSISTENT,
    EXACT,
    IMMATERIAL,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    Evidence,
)
from mlcore.judging.published import Printed, printed_in
from mlcore.judging.rules import read_rules
from mlcore.study.parts import group_of

ROOT = Path(__file__).parents[1]
RULES = read_rules(ROOT / "metrics" / "rules.yaml")
TANH = "mnist_grid.test_accuracy.tanh.normal"
RELU = "mnist_grid.test_accuracy.relu.random"
ZERO = "mnist_grid.test_accuracy.tanh.zero"
SHAPE = np.array([-1, 1] * 5) * np.sqrt(9 / 10)  # mean 0, standard deviation 1


def replicates(part, name, values, metric="test_accuracy"):
    seeds = range(1, len(values) + 1)
    return pd.DataFrame({"name": f"{part}/{name}", "seed": seeds, metric: values})


def judge_all(printed, runs, scored=None):
    return numbers.judge(printed, Evidence(RULES, runs, scored or {}, ["*/*"]))


def judge(path, published, runs, ours=0.9, scored=None):
    scored = {} if scored is None else {path: scored}
    (number,) = judge_all([Printed(path, published, ours)], runs, scored)
    return number


@pytest.mark.parametrize(
    ("published", "sd", "expected"),
    # The half-width is 2.2622 x 1.0488 x sd = 2.373 sd, and 0.00005; the tolerance 0.005
    [(0.9710, 0.001, REPRODUCED), (0.9724, 0.001, REPRODUCED), (0.9725, 0.001, IMMATERIAL),
     (0.9675, 0.001, IMMATERIAL), (0.9752, 0.001, NOT_REPRODUCED), (0.9640, 0.001, NOT_REPRODUCED),
     (0.9752, 0.003, CONSISTENT), (0.9710, 0.003, CONSISTENT), (0.9800, 0.003, NOT_REPRODUCED)],
)  # fmt: skip
def test_the_verdict_follows_interval_and_tolerance(published, sd, expected):
    other = replicates("network", "relu-normal", [0.1] * 10)
    runs = replicates("network", "tanh-normal", 0.97 + sd * SHAPE)
    number = judge(TANH, published, pd.concat([runs, other, other.assign(name="classifier/x")]))
    assert number.verdict == expected
    assert (number.n, number.mean, number.sd) == (10, pytest.approx(0.97), pytest.approx(sd))
    half = 2.2622 * sd * 1.1**0.5 + 0.00005  # t(9) at 97.5 % in printed tables
    assert number.interval == pytest.approx((0.97 - half, 0.97 + half), abs=1e-6)
    assert number.resolution == pytest.approx(half, abs=1e-6)
    error = (1.1 * sd**2 + 0.00005**2 / 3) ** 0.5
    assert number.z == pytest.approx((published - 0.97) / error)
    assert f"[{0.97 - half:.4f}, {0.97 + half:.4f}]" in number.reason
    if expected == CONSISTENT:
        assert number.reason.endswith(f"could have shown a departure of {half:.4f}")


@pytest.mark.parametrize(("widest", "expected"), [(0.0012, "pooled"), (0.02, "own")])
def test_spreads_are_pooled_within_a_rule_where_they_are_alike(widest, expected):
    sds = {"sigmoid": 0.001, "tanh": 0.001, "relu": 0.001, "leaky_relu": widest}
    runs = [replicates("network", f"{a}-normal", 0.97 + sd * SHAPE) for a, sd in sds.items()]
    cells = [Printed(f"mnist_grid.test_accuracy.{a}.normal", 0.97) for a in sds]
    found = judge_all(cells, pd.concat(runs))
    assert {number.spread for number in found} == {expected}
    # t(36) at 97.5 %, with the root of the mean variance; t(9) with its own
    half = 2.0281 * ((3 + 1.44) / 4) ** 0.5 if expected == "pooled" else 2.2622
    for number in found[:3]:
        assert number.resolution == pytest.approx(half * 0.001 * 1.1**0.5 + 0.00005, abs=1e-7)
        assert number.verdict == REPRODUCED


@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_six_replicates_are_enough(n):
    number = judge(TANH, 0.97, replicates("network", "tanh-normal", [0.97] * n))
    assert (number.verdict == NOT_TESTABLE) == (number.interval is None) == (n < 6)
    if n < 6:
        assert number.reason == f"too few replicates: {n}, where 6 are needed"


@pytest.mark.parametrize(
    ("published", "expected"), [(0.52, IMMATERIAL), (0.53, NOT_REPRODUCED), (0.5, REPRODUCED)]
)
def test_a_tolerance_may_be_a_share_and_losses_are_of_their_own_model(published, expected):
    runs = replicates("classifier", "tanh-partial_fit", 0.5 + 0.0001 * SHAPE, "test_loss")
    other = runs.assign(name="classifier/tanh-fit", test_loss=0.1)
    number = judge("fashion_classifier.test_loss.tanh", published, pd.concat([runs, other]))
    assert (number.verdict, number.tolerance) == (expected, pytest.approx(0.05 * published))


@pytest.mark.parametrize(
    ("same", "published", "expected", "says"),
    [
        # Wilson's lower end is 0.596 for 9 of 10, 0.490 for 8, in printed tables
        (10, 0.1171, REPRODUCED, "10 of 10 runs give 0.1171"),
        (9, 0.1171, REPRODUCED, "9 of 10 runs give 0.1171"),
        (8, 0.1171, CONSISTENT, "8 of 10 runs give 0.1171"),
        (9, 0.95, CONSISTENT, "1 of 10 runs give 0.95"),
        (9, 0.1172, IMMATERIAL, "0 of 10 runs give 0.1172"),
        (9, 0.1271, NOT_REPRODUCED, "0 of 10 runs give 0.1271; most give 0.1171"),
    ],
)
def test_one_value_in_nearly_all_runs(same, published, expected, says):
    runs = replicates("network", "tanh-zero", [820 / 7000] * same + [0.95] * (10 - same))
    number = judge(ZERO, published, runs)
    assert (number.verdict, number.reason, number.spread) == (expected, says, "mode")
    assert number.interval is number.p is None


@pytest.mark.parametrize(
    ("published", "expected"),
    [(0.9401, CONSISTENT), (0.11, CONSISTENT), (0.5, CONSISTENT), (0.9501, NOT_REPRODUCED)],
)
def test_two_modes_are_a_range(published, expected):
    number = judge(RELU, published, replicates("network", "relu-random", [0.94, 0.11, *[0.95] * 8]))
    assert number.interval == pytest.approx((0.10995, 0.95005))
    assert (number.verdict, number.spread, number.p) == (expected, "range", None)


@pytest.mark.parametrize(
    ("scored", "expected", "says"),
    [
        (0.97334, EXACT, "the study's own network gives 0.9733 on our images; our runs: repro"),
        (0.97336, NOT_REPRODUCED, "the study's own network gives 0.973360 on our images"),
        (None, REPRODUCED, "inside ["),
    ],
)
def test_the_studys_own_network_decides(scored, expected, says):
    runs = replicates("network", "tanh-normal", 0.973 + 0.001 * SHAPE)
    number = judge(TANH, 0.9733, runs, scored=scored)
    assert (number.verdict, number.reason[: len(says)]) == (expected, says)
    assert number.by_runs == (None if scored is None else REPRODUCED)


SAME = EXACT, "the same to the digits printed"
OTHER = NOT_REPRODUCED, "the exact value is "


@pytest.mark.parametrize(
    ("path", "published", "ours", "expected", "tolerance"),
    [
        ("worked_examples.backprop.loss_before", 4.375, 4.3754, SAME, 0.0005),
        ("worked_examples.backprop.loss_before", 4.375, 4.376, OTHER, 0.0005),
        ("worked_examples.backprop.loss_after", 3.30, 3.2872,
         (IMMATERIAL, "the exact value is 3.2872: the study computes it from "), 0.0346),
        ("worked_examples.backprop.loss_after", 3.30, 3.2952, SAME, 0.005),
        ("worked_examples.backprop.loss_after", 3.30, 3.26, OTHER, 0.005),
    ],
)  # fmt: skip
def test_exact_numbers_match_to_the_printed_digits(path, published, ours, expected, tolerance):
    number = judge(path, published, replicates("network", "x", []), ours)
    assert number.verdict == expected[0]
    assert number.reason.startswith(expected[1])
    assert number.tolerance == tolerance


def search_runs(study, other):
    """Scores of two candidates by draw, and of a third on the first draw alone."""
    return pd.DataFrame(
        {"name": f"search/{solver}-{rate}-{size}", "seed": seed, "val_accuracy": score,
         "solver": solver, "learning_rate_init": rate, "batch_size": size}
        for solver, rate, size, scores in (("adam", 0.001, 64, study), ("adam", 5e-05, 32, other),
                                           ("sgd", 0.001, 64, [0.99]))
        for seed, score in enumerate(scores, start=1)
    )  # fmt: skip


BEST = "fashion_search.best"


@pytest.mark.parametrize(
    ("study", "other", "expected", "reason"),
    [
        ([0.86] * 6, [0.85] * 6, REPRODUCED, "chosen by 6 of 6 draws"),
        ([0.86] * 4 + [0.84] * 6, [0.85] * 10, CONSISTENT, "chosen by 4 of 10 draws"),
        ([0.845, 0.835] * 5, [0.85, 0.84] * 5, IMMATERIAL,
         "chosen by 0 of 10 draws; the best with it is 0.0050 behind"),
        ([0.83] * 10, [0.85] * 10, NOT_REPRODUCED, "chosen by 0 of 10 draws"),
        ([0.86] * 5, [0.85] * 5, NOT_TESTABLE, "too few replicates: 5, where 6 are needed"),
    ],
)  # fmt: skip
def test_a_choice_is_judged_by_the_draws_that_make_it(study, other, expected, reason):
    runs = search_runs(study, other)
    number = judge(f"{BEST}.learning_rate_init", 0.001, runs, 5e-05)
    assert (number.verdict, number.reason) == (expected, reason)
    told = None if expected == NOT_TESTABLE else int(reason.split()[2])
    assert numbers.row_of(asdict(number))["chosen"] == told
    assert judge(f"{BEST}.batch_size", 64, runs, 32).verdict == expected


@pytest.mark.parametrize(("published", "which"), [("adam", "all"), ("sgd", "none")])
def test_what_all_or_none_of_the_candidates_have_tells_nothing(published, which):
    number = judge(f"{BEST}.solver", published, search_runs([0.84] * 10, [0.85] * 10), "adam")
    assert number.verdict == NOT_TESTABLE
    assert number.reason == f"{which} of the candidates that are replicated have it"


def test_the_score_is_the_best_of_each_draw():
    runs = search_runs(study=[0.85, 0.86] * 5, other=[0.855] * 10)
    found = numbers.replicates("fashion_search.cv_accuracy", Evidence(RULES, runs))
    assert sorted(found) == [0.855] * 5 + [0.86] * 5


@pytest.mark.parametrize(
    ("path", "published", "ours", "expected"),
    [
        (ZERO, 1, None, ("trained", NOT_TESTABLE)),
        ("worked_examples.backprop.loss_before", 4.375, 5.375, ("exact", NOT_REPRODUCED)),
        ("worked_examples.backprop.loss_before", 4.375, None, ("exact", NOT_TESTABLE)),
        (f"{BEST}.solver", "adam", "sgd", ("choice", NOT_TESTABLE)),
    ],
)
def test_each_kind_of_number_is_judged_by_its_rule(path, published, ours, expected):
    runs = search_runs([0.84] * 10, [0.85] * 10).assign(test_accuracy=0.5)
    given = Printed("worked_examples.max_margin.labels[0]", 1, 1)
    found = judge_all([Printed(path, published, ours), given], runs)
    assert [(n.kind, n.verdict) for n in found] == [expected]
    counts = numbers.counts(found)
    assert sum(sum(counts[kind].values()) for kind in ("arithmetic", "trained")) == 1


def test_the_table_of_parts_and_the_rules_tell_the_same():
    """Whether a number is of a training, and of which."""
    published = read_yaml(ROOT / "metrics" / "published.yaml")
    for printed in printed_in({k: v for k, v in published.items() if k != "notebook"}):
        group, rule = group_of(printed.path), RULES.rule_for(printed.path)
        assert group.trained == (rule.kind == "trained")
        if group.trained:
            training = group.training(printed.path) or "*"
            assert rule.runs_of(printed.path) == f"{group.part}/{training}"


def test_coverage_counts_the_intervals_that_miss():
    runs = replicates("network", "tanh-normal", 0.97 + 0.001 * SHAPE)
    found = [judge(TANH, published, runs) for published in (0.97, 0.9705, 0.9695, 0.98, 0.9)]
    # Neither modes nor what does not vary
    found.append(judge(ZERO, 0.1171, replicates("network", "tanh-zero", [820 / 7000] * 20)))
    found.append(judge(TANH, 0.9, replicates("network", "tanh-normal", [0.97] * 10)))
    told = {"n_intervals": 5, "expected_outside": 0.25, "outside": 2}
    assert numbers.coverage(found, 0.95) == told
    counted = numbers.counts([judge(TANH, 0.9733, runs, scored=0.9733)])
    assert counted["trained"][EXACT] == 1
