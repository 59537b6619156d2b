"""Several numbers together, protocols and disagreements of report and code, on made-up runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import chi2 as chi_square
from scipy.stats import norm
from scipy.stats import t as student

from mlcore.errors import RetraceError
from mlcore.judging import joint
from mlcore.judging.numbers import Evidence, Number, judge
from mlcore.judging.published import printed_in
from mlcore.judging.rules import Rules, read_rules
from mlcore.study import discrepancies

RULES = read_rules(Path(__file__).parents[1] / "metrics" / "rules.yaml")
ACTIVATIONS = ["logistic", "tanh", "relu", "identity"]
ACCURACY = "fashion_classifier.test_accuracy"


def draws(n=20, *, method="fit", mean=0.8, otherwise=""):
    """Draws of images, which make all activations better or worse alike."""
    rng = np.random.default_rng(len(method))
    alike = 0.01 * rng.normal(size=n)
    return pd.concat(
        pd.DataFrame({"name": f"classifier/{activation}-{method}{otherwise}", "seed": range(n),
                      "test_accuracy": mean + alike + 0.001 * rng.normal(size=n)})
        for activation in ACTIVATIONS
    )  # fmt: skip


def judged(runs, printed, section="fashion_classifier"):
    evidence = Evidence(RULES, runs, {}, ["*/*"])
    numbers = judge(printed_in({section: {"test_accuracy": printed}}), evidence)
    return joint.judge_jointly(numbers, evidence)


def test_numbers_of_one_draw_go_up_and_down_together():
    up = dict.fromkeys(ACTIVATIONS, 0.82)
    together = judged(draws(), up)
    across = judged(draws(), up | {"tanh": 0.78, "identity": 0.78})
    assert together["3.2"]["numbers"] == [f"{ACCURACY}.{name}" for name in ACTIVATIONS]
    assert (together["3.2"]["df"], together["3.2"]["n"]) == (4, 20)
    assert together["3.2"]["p"] > 0.05 > across["3.2"]["p"]
    assert across["3.2"]["rank"] == "21 of 21"
    assert int(together["3.2"]["rank"].split()[0]) < 20
    assert together["3.2"]["p"] == pytest.approx(chi_square.sf(together["3.2"]["chi2"], 4))
    assert together["2.4"] == {"numbers": [], "left_out": [], "n": 0, "contrasts": [],
                               "protocols": [], "chi2": None, "df": 0, "p": None,
                               "rank": None}  # fmt: skip


def test_the_joint_rank_is_that_among_the_runs_each_judged_by_the_others():
    """A run that is taken for the printed one stands where it does among all."""
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(12, 2)))
    table.loc[5] = [30.0, -30.0]

    def calibrated(printed, runs):
        numbers = [Number(path, "trained", value, None) for path, value in printed.items()]
        return joint.calibrated(numbers, runs)

    ordinary = calibrated(table.mean(), table)
    assert (ordinary["rank"], ordinary["chi2"], ordinary["df"]) == ("1 of 13", 0, 2)
    assert calibrated(table.loc[5], table.drop(index=5))["rank"] == "12 of 12"


RULE_OF_A = {"match": "a", "kind": "trained", "runs": "slow/a", "metric": "accuracy",
             "tolerance": 1.0}  # fmt: skip
VARIED = np.random.default_rng(3).normal(size=8)
ALL_BUT_ONE = np.array([1.0] * 7 + [2.0])  # without that one there is no variance


@pytest.mark.parametrize(
    ("paired", "values"),
    [*((True, second) for second in (VARIED[:5], np.ones(8), ALL_BUT_ONE)),
     *((False, second) for second in (VARIED[:5], np.ones(8)))],
)  # fmt: skip
def test_few_runs_and_runs_that_do_not_vary_say_nothing_together(paired, values):
    rules = Rules(numbers=[RULE_OF_A | {"match": "*", "runs": "*"}],
                  joint={"all": {"match": ["*"], "paired": paired}})  # fmt: skip
    numbers = [Number(path, "trained", 0.0, None) for path in "ab"]
    runs = {"a": pd.Series(VARIED), "b": pd.Series(values)}
    found = joint.together(rules.joint["all"], numbers, runs, rules)
    assert found == {"n": len(values), "chi2": None, "df": 2, "p": None, "rank": None}


def test_protocols_of_unpaired_numbers_add_their_deviates():
    """By hand: of one number the joint p is its own."""
    shape = np.array([-1, 1] * 5)
    runs = pd.concat(
        pd.DataFrame({"name": f"{way}/a", "seed": range(10), "accuracy": at + shape})
        for way, at in (("slow", 3.0), ("fast", 0.0))
    )
    ways = {"as printed": {}, "fast": {"slow/": "fast/"}}
    both = {"match": ["a"], "paired": False, "protocols": ways}
    evidence = Evidence(Rules(numbers=[RULE_OF_A], joint={"both": both}), runs)
    numbers = judge(printed_in({"a": 0.5}), evidence)
    fast, slow = joint.judge_jointly(numbers, evidence)["both"]["protocols"]
    assert (fast["protocol"], slow["protocol"]) == ("fast", "as printed")
    # Standard errors: sd 1.0541, one run and ten, and a rounding of 0.05 to either side
    error = (10 / 9 * 1.1 + 0.05**2 / 3) ** 0.5
    assert fast["p"] == pytest.approx(2 * student.sf(0.5 / error, 9))
    assert slow["p"] == pytest.approx(2 * student.sf(2.5 / error, 9))


def test_unpaired_numbers_add_their_deviates():
    """Cells of the grid, with a p each; what has none is left out."""
    shape = 0.001 * np.array([-1, 1] * 5)
    runs = pd.concat(
        pd.DataFrame({"name": f"network/{name}", "seed": range(10), "test_accuracy": values})
        for name, values in (("tanh-normal", 0.97 + shape), ("relu-normal", 0.96 + shape),
                             ("tanh-zero", [0.1171] * 10))
    )  # fmt: skip
    cells = {"tanh": {"normal": 0.972, "zero": 0.1171}, "relu": {"normal": 0.963}}
    found = judged(runs, cells, "mnist_grid")["2.4"]
    assert found["left_out"] == ["mnist_grid.test_accuracy.tanh.zero"]
    # t with 9 + 9 pooled degrees of freedom: 1.8091 and 2.7136, p 0.0872 and 0.0142
    expected = norm.isf(0.0872 / 2) ** 2 + norm.isf(0.0142 / 2) ** 2
    assert found["chi2"] == pytest.approx(expected, rel=0.002)
    assert (found["df"], found["rank"]) == (2, None)


def test_contrasts_are_of_the_same_images():
    runs = draws()
    together = judged(runs, {"tanh": 0.83, "relu": 0.829, "identity": 0.82})
    contrasts = {(c["first"], c["second"]): c for c in together["3.2"]["contrasts"]}
    assert list(contrasts) == [("tanh", "relu"), ("tanh", "identity"), ("relu", "identity")]
    found = contrasts["tanh", "identity"]
    tanh, identity = (
        runs[runs["name"] == f"classifier/{a}-fit"]["test_accuracy"] for a in ("tanh", "identity")
    )
    d = tanh.to_numpy() - identity.to_numpy()
    half = 2.0930 * d.std(ddof=1) * 1.05**0.5 + 2 * 0.00005  # t(19) at 97.5 %
    assert found["interval"] == pytest.approx((d.mean() - half, d.mean() + half), abs=1e-6)
    assert found["published"] == pytest.approx(0.01)
    assert found["p"] < 0.001 < 0.05 < contrasts["tanh", "relu"]["p"]
    assert judged(draws(5), {"tanh": 0.83, "relu": 0.829})["3.2"]["contrasts"] == []


def test_protocols_are_sorted_and_what_was_not_run_comes_last():
    partial = draws(method="partial_fit", mean=0.7)
    others = draws(mean=0.75, otherwise=", classifier.images=train")
    found = judged(pd.concat([draws(), partial, others]), dict.fromkeys(ACTIVATIONS, 0.75))
    rows = found["3.2"]["protocols"]
    assert sorted(row["protocol"] for row in rows) == sorted(RULES.joint["3.2"].protocols)
    run = ["one model, fit, 90:10", "the study's code", "one model, partial_fit, 90:10"]
    assert [row["protocol"] for row in rows[:3]] == run
    assert rows[0]["chi2"] < 4 < rows[1]["chi2"] <= rows[2]["chi2"]
    assert (rows[0]["n"], rows[0]["df"]) == (20, 4)
    assert all((row["n"], row["chi2"], row["rank"]) == (0, None, None) for row in rows[3:])


POINT = {
    "id": "D1", "section": "3.2", "report": "One model.", "code": "Two models.",
    "difference": [{"left": "test_accuracy(classifier/{tanh,relu}-fit)",
                    "right": "test_accuracy(classifier/{tanh,relu}-partial_fit)"}],
}  # fmt: skip


def written(folder, points):
    path = folder / "discrepancies.yaml"
    path.write_text(yaml.safe_dump(points), encoding="utf-8")
    return path


def test_a_discrepancy_has_its_differences(tmp_path):
    runs = pd.concat([draws(mean=0.8), draws(method="partial_fit", mean=0.7)])
    silent = {**POINT, "id": "D2", "difference": [], "reason": "No number depends on it."}
    path = written(tmp_path, [POINT, silent])
    point, other = discrepancies.judge(path, Evidence(RULES, runs, {}, ["*/*"]))
    row, relu = point["differences"]
    text = "test_accuracy(classifier/relu-fit) against test_accuracy(classifier/relu-partial_fit)"
    assert relu["text"] == text
    assert (row["n"], row["difference"]) == (20, pytest.approx(0.1, abs=0.01))
    assert row["interval"].low < row["difference"] < row["interval"].high
    assert row["left"] - row["right"] == pytest.approx(row["difference"])
    assert (point["report"], point["code"]) == ("One model.", "Two models.")
    assert (other["differences"], other["reason"]) == ([], "No number depends on it.")
    few = Evidence(RULES, runs[runs["seed"] < 2])
    assert discrepancies.judge(path, few)[0]["differences"][0]["interval"] is None


@pytest.mark.parametrize(
    ("point", "says"),
    [({k: v for k, v in POINT.items() if k != "code"}, "0.code is missing"),
     ({**POINT, "difference": [{"left": "a", "right": "b"}]}, "'a > b' is not a statement")],
)  # fmt: skip
def test_what_is_wrong_in_a_discrepancy_is_named(tmp_path, point, says):
    with pytest.raises(RetraceError) as refusal:
        discrepancies.judge(written(tmp_path, [point]), Evidence(RULES, draws()))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
