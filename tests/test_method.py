"""docs/method.md: every number of its examples, computed again; and what docs/build.py made."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from docs import build
from mlcore.judging import joint, statistics
from mlcore.judging.claims import judge_statement, parse
from mlcore.judging.numbers import Evidence, Number, by_interval
from mlcore.judging.rules import read_rules
from mlcore.judging.statistics import further_run, mean_interval, pooled, rank, spread_of
from mlcore.plotting.style import save_svg

TEXT = (build.DOCS / "method.md").read_text()
RULES = read_rules(build.DOCS.parent / "metrics" / "rules.yaml")
RUNS = build.runs_of(TEXT)
SHAPE = (RUNS - RUNS.mean()) / RUNS.std(ddof=1)


def told(*patterns):
    """Whether the text has these words, whatever marks are between them."""
    plain = re.sub(r"[*`]", "", TEXT)
    return [pattern for pattern in patterns if pattern not in plain] == []


def ends(interval, digits=4):
    return f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def test_what_is_made_of_the_documents_is_up_to_date(tmp_path):
    save_svg(build.picture(TEXT), tmp_path / "interval.svg")
    committed = (build.DOCS / "images" / "interval.svg").read_text()
    assert (tmp_path / "interval.svg").read_text() == committed, "run `make docs`"
    pages = build.notebook((build.DOCS / "tutorial.md").read_text())
    assert json.loads((build.DOCS / "tutorial.ipynb").read_text()) == pages, "run `make docs`"


def test_the_rules_are_those_of_the_results():
    assert told(f"fewer than {RULES.min_replicates} runs")
    assert RULES.level == build.LEVEL


def test_both_intervals():
    spread = spread_of(RUNS)
    assert told(
        f"mean is {RUNS.mean():.4f}, their standard deviation (sd) {spread.sd:.4f}",
        f"holds the mean of very many runs: {ends(mean_interval(RUNS, 0.95))}",
        f"holds one further run: {ends(further_run(RUNS, spread, 0.95))}",
        f"here {stats.t.ppf(0.975, len(RUNS) - 1):.3f} for 95 %",
    )


def test_more_runs_narrow_little():
    (row,) = build.table(TEXT, "runs")
    number = [6, 10, 20, 40, 10**9]
    factors = [stats.t.ppf(0.975, n - 1) * (1 + 1 / n) ** 0.5 for n in number]
    assert row[1:] == [f"{factor:.3f}" for factor in factors]


def test_the_verdicts():
    interval = build.interval_of(RUNS)
    resolution = f"{(interval.high - interval.low) / 2:.4f}"
    assert told(f"Half of the interval, here {resolution}, is")
    rows = build.table(TEXT, "printed")
    assert len(rows) == 4
    for printed, tolerance, verdict, because in rows:
        number = Number("a", "trained", float(printed), None, 4, tolerance=float(tolerance))
        distance = f"{abs(float(printed) - RUNS.mean()):.4f}"
        assert by_interval(number, RUNS.mean(), interval).verdict == verdict
        assert (resolution if "inside" in because else distance) in because


def test_what_stands_beside_a_verdict():
    z, p = statistics.departure(0.84, RUNS, spread_of(RUNS), statistics.half_unit(4))
    assert told(
        f"For 0.8400, z is {z:.2f}", f"Its p is {p:.3f}", f"Its rank is {rank(RUNS, 0.84, 4)}:"
    )


def test_other_kinds_of_numbers():
    spread = spread_of(RUNS)
    assert told(
        f"of five, with the ten runs above: {ends(further_run(RUNS, spread, 0.95, 5))}",
        f"of five, with the ten runs above: {ends(statistics.further_sd(spread, 5, 0.95))}",
    )
    common = pooled([0.003 * SHAPE, 0.004 * SHAPE], 0.95)
    whole, part, few = (statistics.wilson_interval(k, 20, 0.95) for k in (20, 12, 7))
    assert told(
        f"together {common.sd:.4f}, with {common.df} degrees of freedom",
        f"probability 19/21 = {19 / 21:.0%}".replace("%", " %"),
        f"chosen by 7 of 20: {ends(few, 2)}, consistent",
        f"20 of 20: {ends(whole, 2)}, reproduced; 12 of 20: {ends(part, 2)}, consistent",
    )
    assert max(part.low, few.low) < 0.5 < whole.low


def test_two_numbers_together():
    correlation, apart = 0.9, 1.5
    inverse = np.linalg.inv([[1, correlation], [correlation, 1]])
    for row, signs in zip(build.table(TEXT, "departures"), ([1, 1], [1, -1]), strict=True):
        d = apart * np.array(signs)
        chi2 = d @ inverse @ d
        assert float(row[1]) == pytest.approx(chi2, abs=0.05)
        assert float(row[2]) == pytest.approx(stats.chi2.sf(chi2, 2), rel=0.2)
    sd = (2 - 2 * correlation) ** 0.5
    assert told(f"their sd here is {sd:.2f}, so that 3 is {2 * apart / sd:.1f} of it")


@pytest.mark.slow
def test_the_simulation_of_the_joint_test():
    p_row, rank_row = build.table(TEXT, "correlation")
    head = TEXT.partition("\n| correlation |")[2].partition("\n")[0]
    rng, exact, ranks = np.random.default_rng(0), pd.Series(np.zeros(12)), []
    for told_p, correlation in zip(p_row[1:], re.findall(r"[\d.]+", head), strict=True):
        root = np.linalg.cholesky(np.where(np.eye(12) == 1, 1, float(correlation)))
        draws = [pd.DataFrame(rng.standard_normal((21, 12)) @ root.T) for _ in range(300)]
        found = [statistics.joint_departure(draw.loc[20], draw[:20], exact) for draw in draws]
        share = 100 * np.mean(stats.chi2.sf(found, 12) < 0.05)
        assert share == pytest.approx(float(told_p), abs=4)
        for draw in draws[:40]:
            numbers = [Number(path, "trained", value, None) for path, value in draw.loc[20].items()]
            ranks.append(joint.calibrated(numbers, draw[:20])["rank"])
    assert max(map(float, rank_row[1:])) < 5
    assert np.mean([rank == "21 of 21" for rank in ranks]) < 0.08


def test_statements():
    for text, mean, interval, verdict in build.table(TEXT, "statement"):
        differences = RUNS - RUNS.mean() + float(mean)
        rows = [(f"network/{name}", seed, value) for name, values in
                (("A", differences), ("B", 0 * differences))
                for seed, value in values.items()]  # fmt: skip
        runs = pd.DataFrame(rows, columns=["name", "seed", "test_accuracy"])
        statement = re.sub(r"\b([AB])\b", r"test_accuracy(network/\1)", text)
        found = judge_statement(parse(statement), Evidence(RULES, runs), 0.95)
        shown = found.interval if found.text.count(">") else mean_interval(differences, 0.9)
        assert (ends(shown), found.verdict) == (interval, verdict.partition(":")[0])
