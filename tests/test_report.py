"""The page: whole in itself, readable without script, and safe whatever is on it."""

import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from jinja2 import UndefinedError

from mlcore import plotting
from mlcore.config import compose
from mlcore.files import read_json, write_json
from mlcore.pipeline.dvc_yaml import Stage
from mlcore.pipeline.workspace import Workspace
from mlcore.report import content, findings, inline_svg, render
from mlcore.report.strips import difference_strip, strip
from mlcore.report.words import amount, hydra, name_of, plain, short, shown
from stages import report

ROOT = Path(__file__).parents[1]
VERDICT = read_json(ROOT / "metrics" / "verdict.json")
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """What tests ask of a page: its elements in their order, and that they are closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


def write(workspace, overrides=()):
    report.run(compose(ROOT / "conf", overrides), workspace)
    return (workspace.out / "metrics" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The page of the committed results."""
    return write(Workspace(ROOT, tmp_path_factory.mktemp("page")))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_needs_nothing_else(text, page):
    assert len(text.encode()) < 3_000_000
    for attrs in page.all("img", "script", "link", "use", "image", "a", "iframe"):
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    css = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL))
    assert "@import" not in css
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_every_id_is_there_once_and_every_reference_leads_to_one(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("a", "use"):
        target = attrs.get("href") or attrs.get("xlink:href")
        assert target.removeprefix("#") in ids
    for _, attrs in page.elements:
        for used in re.findall(r"url\(#([^)]*)\)", " ".join(v or "" for v in attrs.values())):
            assert used in ids
        for name in ("aria-labelledby", "for"):
            assert name not in attrs or attrs[name] in ids


def test_headings_are_in_order_and_pictures_are_told(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    shows = read_json(ROOT / "metrics" / "figures.json")
    told = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("role") == "img"]
    told += [attrs["alt"] for attrs in page.all("img")]
    shows.pop("verdict_small")  # for the README
    assert {of["shows"] for of in shows.values()} <= set(told)
    assert all(told)
    assert {tag for tag, _ in page.elements} >= {"header", "main", "nav"}
    assert page.all("html")[0]["lang"] == "en"


def test_every_number_and_claim_is_on_it(page):
    for path, number in VERDICT["by_number"].items():
        assert path in page.text
        assert number["provenance"]["command"] in page.text
    for claim in VERDICT["by_claim"].values():
        assert claim["text"] in page.text
        assert all(statement["text"] in page.text for statement in claim["statements"])
    links = {attrs.get("href") for attrs in page.all("a")}
    assert {f"#{path}" for path in VERDICT["by_number"] if ".test_accuracy." in path} <= links


def test_two_figures_on_a_page_share_no_id_and_svgs_have_no_date(tmp_path):
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})
    paths = [tmp_path / name / "same.svg" for name in ("one", "two")]
    for path in paths:
        plotting.save_svg(plotting.loss_curves(history, "title"), path)
    (svg,) = {path.read_text(encoding="utf-8") for path in paths}
    pictures = [inline_svg(svg, name, 'a "curve" & more') for name in ("one", "two")]
    assert "<dc:date>" not in svg
    ids = [set(re.findall(r'\bid="([^"]*)"', picture)) for picture in pictures]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert 'aria-label="a &#34;curve&#34; &amp; more"' in pictures[0]
    assert ">title</text>" in pictures[0]  # text is text
    assert "<?xml" not in pictures[0]


def test_its_picture_of_the_pipeline_is_not_out_of_date():
    svg = (ROOT / "metrics" / "svg" / "pipeline.svg").read_text(encoding="utf-8")
    words = set(re.findall(r">([^<>\n]+)</", svg))
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        assert set(stage.split("_", 1)) <= words, "run `dvc repro -f -s plot` and commit"


def test_a_strip_places_values_between_its_ends():
    s = strip([1.0, 3.0], printed=2.0, ours=1.5, interval=[0.0, 4.0], tolerance=0.1)
    # The dots a quarter and three quarters of the way from 4 to 96
    told = "2 seeds from 1 to 3; printed 2"
    assert s == ([27.0, 73.0], 50.0, 38.5, (4.0, 96.0), told, (0.0, 4.0))
    # It does not make much of a difference below the tolerance
    s = strip([0.117143] * 3, printed=0.1171, ours=0.117143, tolerance=0.005)
    assert s.dots == [pytest.approx(50, abs=0.5)] * 3
    assert s.printed == 50.0
    # An interval that would press all else together is cut off
    s = strip([0.9, 1.1], printed=1.0, interval=[-50.0, 60.0], tolerance=0.1)
    assert s.interval == (4.0, 96.0)
    assert s.dots[1] - s.dots[0] == pytest.approx(92 / 3, abs=0.1)
    # A difference stands beside zero
    s = difference_strip(0.5, (0.25, 1.0))
    assert s.label == "difference 0.5, from 0.25 to 1"
    assert s.printed < s.interval[0] < s.ours < s.interval[1]
    # and between the ends of its margin, if there is one
    s = difference_strip(0.5, (0.25, 1.0), 0.75)
    assert s.dots[0] < s.printed < s.interval[0] < s.ours < s.dots[1] < s.interval[1]
    # on a scale of their own
    small, large = (difference_strip(0.5 * x, (0.25 * x, x)) for x in (0.001, 1000.0))
    assert small.interval == large.interval


def test_numbers_are_in_the_studys_order_with_names():
    names = {
        "worked_examples.backprop.loss_before": "Q1 a: loss before",
        "mnist_grid.test_accuracy.tanh.zero": "MNIST, test accuracy: tanh, zero",
        "mnist_grid.test_accuracy.tanh.normal": "MNIST, test accuracy: tanh, normal",
        "mnist_grid.test_accuracy.leaky_relu.zero": "MNIST, test accuracy: leaky ReLU, zero",
        "fashion_search.cv_accuracy": "Search, accuracy over the folds",
    }
    numbers = [number(path, "exact", values=[], ours=1) for path in sorted(names)]
    found = content.in_order(verdict_with(numbers) | {"level": 0.95}, [])
    assert [(number["path"], number["name"]) for number in found] == [*names.items()]


def test_the_seconds_of_a_stage_are_those_of_all_its_runs():
    outline = [Stage("a", "for a", []), Stage("b", "for b", ["a"]), Stage("c", "for c", ["b"])]
    shown = content.timed(outline, {"a": 1.5, "b@x": 2.0, "b@y-z": 3.0})
    told = [(stage["name"], stage["runs"], stage["seconds"]) for stage in shown]
    assert told == [("a", 1, 1.5), ("b", 2, 5.0), ("c", 0, 0)]


@pytest.mark.parametrize(
    ("means", "rank", "moved"),
    # What rounds to the printed 0.4400 is a tie
    [
        ([0.43, 0.45, 0.46, 0.50], "2 of 5", True),
        ([0.44, 0.44004, 0.44004, 0.45], "2.5 of 5", False),
    ],
)
def test_a_choice_says_how_ordinary_the_printed_value_is_among_its_alternatives(means, rank, moved):
    path = "fashion_classifier.val_loss.tanh"
    row = {"choice": "he", "number": path, "published": 0.44, "default": 0.45}
    other = row | {"choice": "unscaled", "mean": 0.4, "default": None}  # without replicates yet
    rows = [other, *(row | {"mean": mean} for mean in means)]
    (found,) = content.choices(rows, {path: number(path, "exact", tolerance=0.02, decimals=4)})
    assert found["n_moved"] == moved
    (told,) = found["numbers"]
    assert (told["lowest"], told["highest"], told["rank"]) == (min(means), max(means), rank)
    assert len(told["strip"].dots) == 4


def test_every_alternative_has_a_dot():
    sensitivity = read_json(ROOT / "metrics" / "sensitivity.json")
    shown = content.choices(sensitivity, VERDICT["by_number"])
    assert sum(len(c["numbers"]) for c in shown) == len(
        {(row["choice"], row["number"]) for row in sensitivity}
    )
    dots = sum(len(number["strip"].dots) for c in shown for number in c["numbers"])
    assert dots == len(sensitivity)


MINUS = "\N{MINUS SIGN}"


def test_numbers_are_written_as_they_are_read():
    written = [plain(value) for value in (-2.0, 0.97331, 56000, None)]
    assert written == [f"{MINUS}2", "0.9733", "56000", "\N{EN DASH}"]
    assert (short(3.2872008), short(-8.5)) == ("3.2872", f"{MINUS}8.5")
    accuracy, loss = "mnist_grid.test_accuracy.tanh.zero", "fashion_classifier.val_loss.tanh"
    assert shown(accuracy, 0.117142857) == "11.71 %"
    assert shown("bottleneck_probe.test_accuracy.relu", 0.7205) == "72.05 %"
    assert shown(accuracy, -0.017, sign=True) == f"{MINUS}1.70 points"
    assert (shown(loss, 0.44194), shown(loss, 0.004, sign=True)) == ("0.4419", "+0.0040")
    assert shown("fashion_search.best.solver", "adam") == "adam"
    assert shown("fashion_search.size.fits", 108) == "108"
    assert [hydra([256, 128]), hydra(None), hydra(False)] == ["[256,128]", "null", "false"]
    assert name_of("new_study.number") == "new study, number"
    assert [amount(n, "claim") for n in (0, 1, 13)] == ["no claims", "one claim", "13 claims"]


TANH = "fashion_classifier.test_accuracy.tanh"
LOSS = "fashion_classifier.test_loss.tanh"
BY_HAND = "worked_examples.backprop.loss_before"


def number(path, verdict, **more):
    base = {"path": path, "kind": "trained", "published": 0.7, "mean": 0.71, "n": 20, "p": 0.5}
    base |= {"interval": [0.69, 0.73], "resolution": 0.02, "z": -0.5, "rank": "3 of 21"}
    told = {"spread": "own", "by_runs": None, "reason": "inside", "verdict": verdict}
    return base | told | {"printed_runs": 1, "of_sd": False} | more


def claims_of(*verdicts, n=20):
    statement = {"verdict": "undecided", "n": n}
    return [{"id": f"A{i}", "section": "3", "verdict": verdict, "statements": [statement],
             "text": f"So it is {i}.", "variants": []}
            for i, verdict in enumerate(verdicts)]  # fmt: skip


def verdict_with(numbers=(), claims=(), by_hand=(), joint=None):
    def counts(of):
        return Counter(one["verdict"] for one in of)

    return {
        "by_number": {n["path"]: n for n in (*numbers, *by_hand)},
        "by_claim": {c["id"]: c for c in claims},
        "numbers": {"trained": counts(numbers), "arithmetic": counts(by_hand)},
        "claims": counts(claims),
        "joint": joint or {},
        "coverage": {"n_intervals": len(numbers), "expected_outside": 0.05 * len(numbers)},
    }


CONTRAST = {"metric": "bottleneck_probe.test_accuracy", "first": "relu", "second": "identity",
            "published": -0.017, "mean": 0.0059, "interval": [-0.01, 0.02], "p": 0.007}  # fmt: skip
LAST = {"rank": "21 of 21", "df": 12, "chi2": 50.0, "p": 0.0001, "contrasts": [CONTRAST]}


@pytest.mark.parametrize(
    ("verdict", "title", "summary"),
    [
        (
            verdict_with([number(TANH, "consistent")], claims_of("refuted", "supported")),
            "None of the study's numbers is contradicted; one of its 2 claims is",
            [
                "One of 1 numbers of trained models lies inside the interval of one further run of "
                "ours: none in a narrow one (reproduced), one in a wide one (consistent).",
                "No number by itself. One of 2 claims is refuted, all in section 3.",
                "Our runs vary, so that a difference from the printed number could go unseen: "
                "up to 2.00 points in one accuracy.",
            ],
        ),
        (
            verdict_with(
                [number(TANH, "not reproduced"), number(LOSS, "exact")],
                claims_of("refuted", "refuted", "undecided", "undecided"),
                [number(BY_HAND, "not reproduced", kind="exact", mean=None, ours=0.69)],
            ),
            "Two of the study's 3 numbers do not come out again; 2 of its 4 claims do not hold",
            [
                "One of 2 numbers of trained models comes out to the last digit, from the study's "
                "own networks, which are public. Of 1 numbers worked by hand or counted 0 are "
                "exact.",
                "Not reproduced: Fashion-MNIST, test accuracy: tanh (printed 70.00 %, ours 71.00 % "
                "on average); Q1 a: loss before (printed 0.7000, ours 0.6900). "
                "Of 2 numbers with an interval fewer than one would lie outside by chance alone. "
                "Two of 4 claims are refuted, all in section 3.",
                "Two claims are undecided by our runs.",
            ],
        ),
        (
            verdict_with(
                [number(LOSS, "consistent"), number(TANH, "not testable")],
                claims_of("undecided", n=2),
                joint={"3.2": LAST},
            ),
            "None of the study's numbers and claims is contradicted",
            [
                "One of 2 numbers of trained models lies inside the interval of one further run of "
                "ours: none in a narrow one (reproduced), one in a wide one (consistent).",
                "No number by itself. All numbers of section 3.2 together: they depart from our "
                "runs more than each of our 20 own runs does (chi-square 50.0 on 12, p = 0.0001). "
                "One difference between numbers of section 3.2: 32-d codes, test accuracy, ReLU "
                "less identity, is printed as \N{MINUS SIGN}1.70 points; our runs give +0.59 "
                "points on average (p = 0.007, one of 1 differences).",
                "Our runs vary, so that a difference from the printed number could go unseen: "
                "up to 0.0200 in one loss. "
                "One number cannot be judged by the runs there are. One claim waits for more runs.",
            ],
        ),
        (
            verdict_with(),
            "Too few runs to say anything yet",
            ["Nothing has been compared yet.", "No number by itself.", "Nothing that was asked."],
        ),
    ],
    ids=["one of each", "several bad", "together", "nothing"],
)
def test_the_findings_in_words(verdict, title, summary):
    assert findings.title(verdict) == title
    assert findings.summary(verdict) == summary


def test_the_joint_finding_is_the_rank_in_words():
    joint = {"3.2": {"rank": "9 of 21", "df": 12, "chi2": 7.0, "p": 0.86}}
    told = "together: 12 of our 20 own runs depart more from the rest than they do"
    assert told in findings.together({"joint": joint}, "3.2")
    joint["3.2"]["rank"] = None
    told = "The 12 numbers of section 3.2 together: chi-square 7.0 on 12, p = 0.86."
    assert told in findings.together({"joint": joint}, "3.2")
    assert "too few" in findings.together({"joint": {}}, "3.2")


def test_a_panel_says_why():
    path = f"{CONTRAST['metric']}.relu"
    joint = {"3.5": {"contrasts": [CONTRAST, {**CONTRAST, "p": 0.2}]}}
    assert content.why(number(path, "consistent", spread="pooled"), joint, None) == [
        "At least 95 of 100 further runs would lie between 69.00 % and 73.00 %; 70.00 % is "
        "printed, inside.",
        "One printed run could show no departure below 2.00 points.",
        "It lies 0.5 standard errors below the mean of our 20 runs (p = 0.5). Its rank among them, "
        "from below, is 3 of 21.",
        "Its spread is estimated together with that of similar numbers.",
        "ReLU less identity is printed as \N{MINUS SIGN}1.70 points; our runs, seed by seed, "
        "give \N{MINUS SIGN}1.00 points to +2.00 points (p = 0.007).",
    ]
    of_range = number(path, "consistent", spread="range", resolution=None, z=None)
    told = "Our 20 runs give 69.00 % to 73.00 %; 70.00 % is printed, inside."
    assert content.why(of_range, {}, None) == [told]
    nearest = {"choice": "he", "mean": 0.701, "alternative": "network.init=he"}
    assert content.why(number(path, "consistent"), {}, nearest)[-1] == (
        "The alternative that comes nearest gives 70.10 %: he's own initialisation in place of the "
        "study's normal one (network.init=he)."
    )


@pytest.mark.parametrize(
    ("values", "mean", "ours", "shown"),
    [([0.25, 0.75], None, 0.9, 0.5), ([0.2] * 6, 0.2, 0.9, 0.2), ([], None, 0.9, 0.9)],
)
def test_the_mean_is_of_all_runs_that_there_are(values, mean, ours, shown):
    assert content.mean_of({"values": values, "mean": mean, "ours": ours, "of_sd": False}) == shown


@pytest.mark.parametrize(
    ("ps", "told"),
    [
        ([0.9, 0.5, 0.01], "Of 3 protocols the printed numbers alone rule out one: b. What the "
                           "study's code did comes second of them."),
        ([0.9, 0.5, 0.3], "Of 3 protocols the printed numbers alone rule out none. What the "
                          "study's code did comes second of them."),
        ([0.9], "There are too few runs of other protocols yet."),
    ],
)  # fmt: skip
def test_protocols_that_the_numbers_exclude_are_named(ps, told):
    ranks = ["1 of 21", "9 of 21", "21 of 21", None]
    rows = zip(("a", "the study's code", "b", "c"), [*ps, *[None] * 3], ranks, strict=False)
    rows = [{"protocol": name, "p": p, "rank": rank} for name, p, rank in rows]
    assert findings.protocols(rows) == told


def test_a_difference_is_sure_if_its_interval_leaves_out_zero_allowing_for_their_number():
    def of(n, low, high, text="test_accuracy(a) against test_accuracy(b)"):
        return {"n": n, "interval": [low, high], "difference": (low + high) / 2, "text": text}

    near, far, few = of(20, 0.05, 1.05), of(20, 0.5, 1.5), of(2, 0.5, 1.5)
    epochs = of(20, 5, 6, "n_epochs(a) against n_epochs(b)")
    assert findings.sure([near]) == [near]
    # Of two, t is 2.433 in place of 2.093: the first becomes -0.03 to 1.13
    assert findings.sure([near, far, few, epochs]) == [far]
    allowing = "is sure, allowing for how many they are"
    assert findings.moved([near, far]) == f"One of two differences {allowing}"
    counted = f"One of one difference {allowing}; epochs are not counted"
    assert findings.moved([far, epochs]) == counted
    assert findings.moved([few]) == f"None of one difference {allowing}"
    points = [{"differences": [far]}, {"differences": [few]}, {"differences": []}]
    assert findings.discrepancies(points) == (
        "Report and code disagree in three points. For one of them runs tell what difference it "
        "makes: one moves a result for sure."
    )


def test_a_narrowed_grid_has_a_page(tmp_path, text):
    results = read_json(ROOT / "metrics" / "verdict.json")
    for path, of_path in results["by_number"].items():
        if path.startswith("mnist_grid.test_accuracy.relu"):
            of_path |= {"ours": None, "mean": None, "values": [], "n": 0}
    write_json(tmp_path / "metrics" / "verdict.json", results)
    narrow = write(Workspace(ROOT, tmp_path), ["grid.activation=[sigmoid,tanh,leaky_relu]"])
    assert "of 9 cells never learn in print, the same in ours" in narrow
    assert "of 12 cells never learn in print, the same in ours" in text


def test_the_report_in_markdown_has_the_findings_and_every_number(tmp_path, text):
    assert write(Workspace(ROOT, tmp_path)) == text  # the same results give the same bytes
    told = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert told.startswith(f"# {findings.title(VERDICT)}\n")
    for path, of_path in VERDICT["by_number"].items():
        assert (f"| {name_of(path)} |" in told) == (of_path["kind"] != "exact")
    assert all(c["text"] in told for c in VERDICT["by_claim"].values() if c["verdict"] == "refuted")


def test_a_page_without_its_results_is_an_error():
    with pytest.raises(UndefinedError):
        render({})


def test_refuted_claims_that_no_run_and_no_bound_supports_are_told():
    against = {"verdict": "refuted", "n": 9, "holds": 0}
    plain, longer, turned, few = claims_of(*["refuted"] * 4)
    plain["statements"] = longer["statements"] = turned["statements"] = [against]
    few["statements"] = [against | {"n": 3}]
    longer["text"] = "So it is, and more."
    turned["variants"] = [{"threshold": 1, "verdict": "supported"}]
    told = findings.summary(verdict_with(claims=[longer, turned, few, plain]))[1]
    quoted = "A0 (So it is 0) and A1 (So it is, and more)"
    firm = f"Three of the four, such as {quoted}, stay refuted wherever we drew the line "
    firm += 'for words such as "slightly".'
    assert told.endswith(firm)
