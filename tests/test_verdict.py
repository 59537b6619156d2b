"""The rules for numbers on made-up results, each of which must flip a verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcore.errors import RetraceError
from mlcore.files import read_json
from mlcore.judging import numbers
from mlcore.judging.claims import CLAIMS
from mlcore.judging.curves import MEASURES
from mlcore.judging.parts import GROUPS
from mlcore.judging.replicates import METRICS
from mlcore.judging.rules import read_rules

ROOT = Path(__file__).parents[1]
RULES = read_rules(ROOT / "metrics" / "rules.yaml", CLAIMS, MEASURES)
SIZES = {"full": 8000, "train": 6400, "val": 1600}
TANH = "mnist_grid.test_accuracy.tanh.normal"
RELU = "mnist_grid.test_accuracy.relu.random"
ZERO = "mnist_grid.test_accuracy.tanh.zero"
FASHION = "fashion_classifier.test_accuracy.tanh"
VAL_LOSS = "fashion_classifier.val_loss.tanh"

# Ten values of mean 0 whose standard deviation is 1
SHAPE = np.array([-1, 1] * 5) * np.sqrt(9 / 10)


def replicates(part, name, values, **columns):
    rows = {"part": part, "name": name, "seed": range(1, len(values) + 1), "test_accuracy": values}
    return pd.DataFrame(rows | columns)


CELL = replicates("network", "tanh-normal", 0.97 + 0.001 * SHAPE)


NO_SPLITS = pd.DataFrame(columns=["sweep", *METRICS, "part", "name", "seed"])


def evidence(runs, splits=NO_SPLITS):
    return numbers.Evidence(RULES, runs, splits, SIZES)


def judge(path, published, runs, ours=0.9, splits=NO_SPLITS, **changed):
    rule = RULES.rule_for(path)
    rule = type(rule)(**rule.model_dump(exclude_none=True) | changed)
    return numbers.judge_trained(path, published, ours, rule, evidence(runs, splits))


def around(mean, variance, half_unit):
    """The interval: t(9) at 97.5 % in printed tables, and half a unit of the last digit."""
    half = 2.2622 * variance**0.5 + half_unit
    return pytest.approx((mean - half, mean + half), abs=1e-5)


@pytest.mark.parametrize(
    ("published", "sd", "expected"),
    [
        # The half-width is 2.262 x 1.0488 x sd = 2.372 sd, the tolerance 0.005
        (0.9710, 0.001, numbers.REPRODUCED),
        (0.9723, 0.001, numbers.REPRODUCED),
        (0.9725, 0.001, numbers.IMMATERIAL),
        (0.9675, 0.001, numbers.IMMATERIAL),
        (0.9750, 0.001, numbers.IMMATERIAL),
        (0.9752, 0.001, numbers.NOT_REPRODUCED),
        (0.9640, 0.001, numbers.NOT_REPRODUCED),
        (0.9752, 0.003, numbers.TOO_NOISY),
        (0.9710, 0.003, numbers.TOO_NOISY),
        (0.9800, 0.003, numbers.NOT_REPRODUCED),
    ],
)
def test_the_verdict_follows_interval_and_tolerance(published, sd, expected):
    number = judge(TANH, published, replicates("network", "tanh-normal", 0.97 + sd * SHAPE))
    assert number.verdict == expected
    assert (number.n, number.mean, number.sd) == (10, pytest.approx(0.97), pytest.approx(sd))
    assert number.interval == around(0.97, sd**2 * 1.1, 0.00005)
    half = 2.2622 * sd * 1.1**0.5 + 0.00005
    where = f"[{0.97 - half:.4f}, {0.97 + half:.4f}]"
    assert number.reason.startswith(("inside ", "outside "))
    assert where in number.reason


def test_runs_that_do_not_vary_reproduce_what_rounds_to_them():
    runs = replicates("network", "tanh-zero", [820 / 7000] * 10)
    assert judge(ZERO, 0.1171, runs).verdict == numbers.REPRODUCED
    assert judge(ZERO, 0.1172, runs).verdict == numbers.IMMATERIAL
    assert judge(ZERO, 0.1271, runs).verdict == numbers.NOT_REPRODUCED


@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_six_replicates_are_enough(n):
    number = judge(TANH, 0.97, replicates("network", "tanh-normal", [0.97] * n))
    assert (number.verdict == numbers.NOT_TESTABLE) == (number.interval is None) == (n < 6)
    if n < 6:
        assert number.reason == f"too few replicates: {n}, where 6 are needed"
    runs = replicates("classifier", "tanh", 0.84 + 0.001 * SHAPE)
    splits = replicates("classifier", "tanh", 0.84 + 0.002 * SHAPE[:n], sweep="classifier-split")
    number = judge(FASHION, 0.84, runs, splits=splits)
    assert ("has not been run" in number.reason) == (n < 6)


def test_a_tolerance_may_be_a_share_of_the_printed_value():
    losses = replicates("classifier", "tanh", [0.8] * 10, test_loss=0.5 + 0.0001 * SHAPE)
    path = "fashion_classifier.test_loss.tanh"
    assert judge(path, 0.52, losses).tolerance == pytest.approx(0.026)
    assert judge(path, 0.52, losses).verdict == numbers.IMMATERIAL
    assert judge(path, 0.53, losses).verdict == numbers.NOT_REPRODUCED


def test_a_run_at_the_threshold_has_not_collapsed():
    number = judge(RELU, 0.9, replicates("network", "relu-random", [0.9] * 8 + [0.1] * 2))
    assert (number.collapse["collapsed"], number.n_used) == (2, 8)
    assert number.collapse["published_is_in"] == "trained"
    six = judge(RELU, 0.94, replicates("network", "relu-random", [0.94] * 6 + [0.1] * 4))
    assert (six.n_used, six.mean) == (6, pytest.approx(0.94))


def test_replicates_of_other_trainings_do_not_count():
    others = [replicates(*other, [0.1] * 10)
              for other in (("network", "relu-normal"), ("classifier", "tanh-normal"))]  # fmt: skip
    assert judge(TANH, 0.97, pd.concat([CELL, *others])).mean == pytest.approx(0.97)


SPREAD = np.arange(960, 970) / 1000


@pytest.mark.parametrize(
    ("values", "published", "expected"),
    [
        *((SPREAD, 0.9625, "4 of 11"), (SPREAD, 0.95, "1 of 11"), (SPREAD, 0.98, "11 of 11")),
        (SPREAD, 0.962, "3.5 of 11"),
        # Eight of 820 in 7,000 round to 0.1171; one of 821 is above, one of 818 below
        (np.array([820] * 8 + [821, 818]) / 7000, 0.1171, "6 of 11"),
    ],
)
def test_rank_counts_the_runs_below_and_half_of_those_that_print_the_same(
    values, published, expected
):
    assert judge(TANH, published, replicates("network", "tanh-normal", values)).rank == expected


def test_better_is_what_lies_outside_on_the_good_side():
    better = [judge(TANH, printed, CELL).ours_better for printed in (0.96, 0.98, 0.9695)]
    assert better == [True, False, False]
    losses = replicates("classifier", "tanh", [0.8] * 10, test_loss=0.5 + 0.001 * SHAPE)
    path = "fashion_classifier.test_loss.tanh"
    assert judge(path, 0.6, losses).ours_better
    assert not judge(path, 0.4, losses).ours_better


def test_two_modes_are_judged_apart():
    values = [0.94, 0.942, 0.944, 0.946, 0.948, 0.95, 0.945, 0.943, 0.11, 0.85]
    runs = replicates("network", "relu-random", values)
    number = judge(RELU, 0.9416, runs)
    assert (number.mean, number.n, number.n_used) == (pytest.approx(np.mean(values[:8])), 10, 8)
    assert number.collapse == {
        "collapse_below": 0.9, "collapsed": 2, "n": 10, "published_is_in": "trained",
        # Wilson's, for 2 of 10, as printed in tables
        "interval": pytest.approx([0.0567, 0.5098], abs=1e-4),
    }  # fmt: skip
    # Two runs are too few to say how a collapsed one ends
    collapsed = judge(RELU, 0.1171, runs)
    assert collapsed.collapse["published_is_in"] == "collapsed"
    assert (collapsed.verdict, collapsed.interval) == (numbers.TOO_NOISY, None)
    assert collapsed.reason == "2 of 10 runs ended as the printed one did"
    never = judge(RELU, 0.1171, runs[runs["test_accuracy"] > 0.9])
    assert never.verdict == numbers.NOT_REPRODUCED


def test_other_images_widen_the_interval():
    sd = 0.9  # between single images
    columns = {"val_loss": 0.49 + 0.001 * SHAPE, "val_loss_sd": [sd] * 10}
    runs = replicates("classifier", "tanh", [0.8] * 10, **columns)
    number = judge(VAL_LOSS, 0.4419, runs)
    variance = 0.001**2 * 1.1 + 2 * sd**2 / 1600 * (1 - 1600 / 8000)
    assert number.interval == around(0.49, variance, 0.00005)
    assert number.verdict == numbers.TOO_NOISY
    # 5 % of the printed one
    assert "is above the tolerance of 0.0221; of the seed and the images alone" in number.reason
    runs["val_loss_sd"] = 0.1
    assert judge(VAL_LOSS, 0.4419, runs).verdict == numbers.NOT_REPRODUCED


SAME = numbers.REPRODUCED, "the same to the digits printed"
OTHER = numbers.NOT_REPRODUCED, "the exact value is "


@pytest.mark.parametrize(
    ("path", "published", "ours", "expected", "tolerance"),
    [
        ("worked_examples.backprop.loss_before", 4.375, 4.375, SAME, 0.0005),
        ("worked_examples.backprop.loss_before", 4.375, 4.3754, SAME, 0.0005),
        ("worked_examples.backprop.loss_before", 4.375, 4.376, OTHER, 0.0005),
        ("worked_examples.backprop.loss_after", 3.30, 3.2872,
         (numbers.IMMATERIAL, "the exact value is 3.2872: the study computes it from "), 0.0173),
        ("worked_examples.backprop.loss_after", 3.30, 3.2952, SAME, 0.005),
        ("worked_examples.backprop.loss_after", 3.30, 3.28, OTHER, 0.005),
        ("worked_examples.given_hyperplane.margin", 1.0, 1.0, SAME, 0.5),
        ("mnist_grid.split.train", 56000, 56001, OTHER, 0.5),
    ],
)  # fmt: skip
def test_exact_numbers_match_to_the_printed_digits(path, published, ours, expected, tolerance):
    number = numbers.judge_exact(path, published, ours, RULES.rule_for(path))
    assert (number.verdict, number.published, number.ours) == (expected[0], published, ours)
    assert number.reason.startswith(expected[1])
    assert number.tolerance == tolerance


def search_runs(study, other):
    """Scores of two candidates by seed."""
    return pd.DataFrame(
        {"part": "search", "name": name, "seed": seed, "val_accuracy": score}
        for name, scores in (("adam-0.001-64", study), ("adam-5e-05-32", other))
        for seed, score in enumerate(scores, start=1)
    )


def judge_choice(runs, setting="learning_rate_init", published=0.001, ours=5e-05):
    path = f"fashion_search.best.{setting}"
    rule = RULES.rule_for(path)
    return numbers.judge_choice(path, published, ours, rule, evidence(runs))


@pytest.mark.parametrize(
    ("study", "other", "expected", "reason"),
    [
        ([0.86] * 10, [0.85] * 10, numbers.REPRODUCED, "chosen by 10 of 10 seeds"),
        ([0.86] * 6, [0.85] * 6, numbers.REPRODUCED, "chosen by 6 of 6 seeds"),
        ([0.86] * 4 + [0.84] * 6, [0.85] * 10, numbers.TOO_NOISY, "chosen by 4 of 10 seeds"),
        ([0.86] + [0.84] * 9, [0.85] * 10, numbers.TOO_NOISY, "chosen by 1 of 10 seeds"),
        ([0.845, 0.835] * 5, [0.85, 0.84] * 5, numbers.IMMATERIAL,
         "chosen by 0 of 10 seeds; the best with it is 0.0050 behind"),
        ([0.83] * 10, [0.85] * 10, numbers.NOT_REPRODUCED, "chosen by 0 of 10 seeds"),
        ([0.86] * 5, [0.85] * 5, numbers.NOT_TESTABLE,
         "too few replicates: 5, where 6 are needed"),
    ],
)  # fmt: skip
def test_a_choice_is_judged_by_the_seeds_that_make_it(study, other, expected, reason):
    number = judge_choice(search_runs(study, other))
    assert (number.verdict, number.reason) == (expected, reason)
    assert (number.choice is None) == (expected == numbers.NOT_TESTABLE)
    if reason == "chosen by 4 of 10 seeds":
        assert (number.kind, number.n, number.n_used, number.tolerance) == ("choice", 10, 10, 0.01)
        # Wilson's, as printed in tables
        interval = pytest.approx([0.168, 0.687], abs=1e-3)
        assert number.choice == {"chosen": 4, "n": 10, "interval": interval}
    batch_size = judge_choice(search_runs(study, other), "batch_size", 64, 32)
    assert (batch_size.verdict, batch_size.difference) == (expected, -32)


@pytest.mark.parametrize(("published", "which"), [("adam", "all"), ("sgd", "none")])
def test_what_all_or_none_of_the_candidates_have_tells_nothing(published, which):
    number = judge_choice(search_runs([0.84] * 10, [0.85] * 10), "solver", published, "adam")
    assert number.verdict == numbers.NOT_TESTABLE
    assert number.reason == f"{which} of the candidates that are replicated have it"


def test_another_split_widens_the_interval():
    runs = replicates("classifier", "tanh", 0.84 + 0.001 * SHAPE)
    alone = judge(FASHION, 0.8355, runs)
    assert alone.verdict == numbers.IMMATERIAL
    assert alone.reason.endswith("of the seed alone: what another split changes has not been run")
    splits = replicates("classifier", "tanh", 0.84 + 0.002 * SHAPE).assign(sweep="classifier-split")
    number = judge(FASHION, 0.8355, runs, splits=splits)
    assert number.interval == around(0.84, 0.001**2 * 1.1 + 2 * 0.002**2, 0.00005)
    assert (number.verdict, number.reason) == (numbers.REPRODUCED, "inside [0.8331, 0.8469]")
    # Other sweeps' and other trainings' rows are not taken for splits
    for other in (splits.assign(sweep="validation-share"), splits.assign(name="relu")):
        assert judge(FASHION, 0.8355, runs, splits=other).interval == alone.interval
    # A cell of the grid has a path with a part more
    runs, splits = (table.assign(part="network", name="tanh-normal") for table in (runs, splits))
    number = judge(TANH, 0.97, runs, splits=splits, split="classifier-split", collapse_below=0.5)
    assert number.interval == around(0.84, 0.001**2 * 1.1 + 2 * 0.002**2, 0.00005)


@pytest.mark.parametrize(
    ("spread", "variance"),
    [
        (0.01, 2 * 0.01**2),
        # Less than what 6,400 other images of 8,000 bring with them, 60 % of which are right
        (0.001, 2 * 0.24 / 6400 * (1 - 6400 / 8000)),
        (None, 2 * 0.24 / 6400 * (1 - 6400 / 8000)),
    ],
)
def test_images_drawn_anew_are_part_of_what_another_split_changes(spread, variance):
    def codes(sd):
        accuracies = {"train_accuracy": 0.6 + sd * SHAPE}
        return replicates("feature_classifier", "relu", [0.7] * 10, **accuracies)

    splits = codes(spread).assign(sweep="code-split") if spread else NO_SPLITS
    number = judge("bottleneck_probe.train_accuracy.relu", 0.6, codes(0.001), splits=splits)
    assert number.interval == around(0.6, 0.001**2 * 1.1 + variance, 0.0005)
    known = "of the seed and the images alone: what another split changes has not been run"
    assert number.reason.endswith(known) == (spread is None)


def test_our_own_run_is_seen_against_the_replicates():
    assert judge(TANH, 0.97, CELL, ours=0.9715).ours_inside
    assert not judge(TANH, 0.97, CELL, ours=0.98).ours_inside
    never_varies = replicates("network", "tanh-zero", [820 / 7000] * 10)
    assert judge(ZERO, 0.1171, never_varies, ours=820 / 7000).ours_inside
    assert not judge(ZERO, 0.1171, never_varies, ours=821 / 7000).ours_inside


def test_the_score_is_the_best_of_each_seed():
    path = "fashion_search.cv_accuracy"
    runs = search_runs(study=[0.85, 0.86] * 5, other=[0.855] * 10)
    found = numbers.replicates(path, RULES.rule_for(path), runs)
    assert sorted(found) == [0.855] * 5 + [0.86] * 5


def test_every_printed_number_has_a_rule_and_a_verdict():
    summary = read_json(ROOT / "metrics" / "summary.json")
    paths = [path for path, _, _ in numbers.numbers_of(summary)]
    kinds = [RULES.rule_for(path).kind for path in paths]
    empty = pd.DataFrame(columns=["part", "name", "seed", "test_accuracy", "val_accuracy",
                                  "train_accuracy", "test_loss", "val_loss"])  # fmt: skip
    found = numbers.judge(summary, evidence(empty))
    assert len(found) == len(paths) - kinds.count("given")
    # Twelve cells, three found of four classifiers, the score and four of the codes
    assert kinds.count("trained") == 12 + 3 * 4 + 4
    assert {f.verdict for f in found if f.kind == "trained"} == {numbers.NOT_TESTABLE}
    counts = numbers.counts(found)
    assert sum(counts["exact"].values()) == kinds.count("exact")
    assert counts["trained"] == dict.fromkeys(numbers.VERDICTS, 0) | {
        numbers.NOT_TESTABLE: len(found) - kinds.count("exact")
    }


@pytest.mark.parametrize("depth", ["new", "new.tanh.normal"])
def test_a_number_without_a_rule_is_an_error(depth):
    with pytest.raises(RetraceError, match=rf"no rule fits mnist\.{depth}"):
        RULES.rule_for(f"mnist.{depth}")


def pair(published, ours):
    return {"published": published, "ours": ours}


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"mnist_grid": {"test_accuracy": {"tanh": {"zero": pair(1, None)}}}},
         ("trained", 1, None, None, "it was not run")),
        ({"mnist_grid": {"split": {"train": pair(56000, 56001)}}},
         ("exact", 56000, 56001, 1, "the exact value is 56001")),
        ({"fashion_search": {"best": {"solver": pair("adam", "sgd")}}},
         ("choice", "adam", "sgd", None, "all of the candidates that are replicated have it")),
        ({"worked_examples": {"max_margin": {"labels": [pair(1, 1)]}}}, None),
    ],
)  # fmt: skip
def test_the_difference_is_ours_less_the_printed_value(summary, expected):
    runs = search_runs([0.84] * 10, [0.85] * 10)
    told = [(n.kind, n.published, n.ours, n.difference, n.reason)
            for n in numbers.judge(summary, evidence(runs))]  # fmt: skip
    assert told == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("summary", "says"),
    [(5, "^the summary holds 5, not"), ({"a": {"b": [5]}}, r"^a\.b\[0\] holds 5")],
)
def test_what_is_no_number_is_named(summary, says):
    with pytest.raises(ValueError, match=says):
        list(numbers.numbers_of(summary))


@pytest.mark.parametrize("sides", [(0.97, "many"), ("many", 0.97)])
def test_a_number_beside_a_word_is_an_error(sides):
    summary = {"mnist_grid": {"test_accuracy": {"tanh": {"normal": pair(*sides)}}}}
    with pytest.raises(ValueError, match=r"^mnist_grid\.test_accuracy\.tanh\.normal: ours is "):
        numbers.judge(summary, evidence(CELL))


def test_images_drawn_anew_are_of_a_known_size():
    runs = replicates("classifier", "tanh", 0.84 + 0.001 * SHAPE)
    says = r"^metrics/rules\.yaml: .* of full, train, val, not test$"
    with pytest.raises(RetraceError, match=says):
        judge(FASHION, 0.84, runs, images="redrawn")


def test_the_table_of_parts_and_the_rules_tell_the_same_digits():
    trained = {rule.match.rstrip(".*"): rule.decimals for rule in RULES.numbers
               if rule.kind in ("trained", "score")}  # fmt: skip
    assert trained == {group.path: group.decimals for group in GROUPS if group.chart}


def test_coverage_counts_the_intervals_that_miss():
    found = [judge(TANH, published, CELL) for published in (0.97, 0.9705, 0.9695, 0.98, 0.9)]
    # Of 20 equal values floating-point numbers have a tiny standard deviation
    found.append(judge(ZERO, 0.1171, replicates("network", "tanh-zero", [820 / 7000] * 20)))
    told = {"n_intervals": 5, "expected_outside": 0.25, "outside": 2}
    assert numbers.coverage(found, 0.95) == told
