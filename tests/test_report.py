"""The page: whole in itself, readable without script, and safe whatever is on it."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from jinja2 import UndefinedError

from mlcore import plotting
from mlcore.config import compose
from mlcore.files import read_json
from mlcore.pipeline.dvc_yaml import Stage
from mlcore.report import content, digits, inline_svg, render, short
from mlcore.report.strips import strip
from mlcore.workspace import Workspace
from stages import report

ROOT = Path(__file__).parents[1]
LIMIT = 3_000_000
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

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


def write(workspace):
    report.run(compose(ROOT / "conf"), workspace)
    return (workspace.out / "metrics" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The page of the committed results."""
    return write(Workspace(ROOT, tmp_path_factory.mktemp("page")))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_needs_nothing_else(text, page):
    assert len(text.encode()) < LIMIT
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
    assert {of["shows"] for of in shows.values()} <= set(told)
    assert all(told)
    assert {tag for tag, _ in page.elements} >= {"header", "main", "nav"}
    assert page.all("html")[0]["lang"] == "en"


def test_every_number_and_claim_is_on_it(text, page):
    verdict = read_json(ROOT / "metrics" / "verdict.json")
    for path, number in verdict["by_number"].items():
        assert path in page.text
        assert number["provenance"]["command"] in page.text
    for claim in verdict["by_claim"].values():
        assert claim["text"] in page.text
        assert all(statement["text"] in page.text for statement in claim["statements"])
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text,
                         re.DOTALL)  # fmt: skip
    assert json.loads(data) == verdict


def test_the_same_results_give_the_same_bytes(tmp_path, text):
    assert write(Workspace(ROOT, tmp_path)) == text


HISTORY = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})


def test_two_figures_on_a_page_share_no_id_and_svgs_have_no_date(tmp_path):
    paths = [tmp_path / name / "same.svg" for name in ("one", "two")]
    for path in paths:
        plotting.save_svg(plotting.loss_curves(HISTORY, "title"), path)
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
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    svg = (ROOT / "metrics" / "svg" / "pipeline.svg").read_text(encoding="utf-8")
    words = set(re.findall(r">([^<>\n]+)</", svg))
    for stage in pipeline:
        assert set(stage.split("_", 1)) <= words, "run `dvc repro -f -s plot` and commit"


def test_a_strip_places_values_between_its_ends():
    s = strip([1.0, 3.0], printed=2.0, ours=1.5, interval=[0.0, 4.0], tolerance=0.1)
    # The dots a quarter and three quarters of the way from 4 to 96
    told = "2 seeds from 1 to 3; printed 2"
    assert s == ([27.0, 73.0], 50.0, 38.5, (4.0, 96.0), told)
    # It does not make much of a difference below the tolerance
    s = strip([0.117143] * 3, printed=0.1171, ours=0.117143, tolerance=0.005)
    assert s.dots == [pytest.approx(50, abs=0.5)] * 3
    assert s.printed == 50.0
    # An interval that would press all else together is cut off
    s = strip([0.9, 1.1], printed=1.0, interval=[-50.0, 60.0], tolerance=0.1)
    assert s.interval == (4.0, 96.0)
    assert s.dots[1] - s.dots[0] == pytest.approx(92 / 3, abs=0.1)


def test_numbers_are_in_the_studys_order_with_names():
    paths = [
        "fashion_search.cv_accuracy",
        "mnist_grid.test_accuracy.leaky_relu.zero",
        "mnist_grid.test_accuracy.tanh.normal",
        "mnist_grid.test_accuracy.tanh.zero",
        "worked_examples.backprop.loss_before",
    ]
    bare = {"published": 1, "values": []}
    found = content.in_order({path: {**bare, "path": path} for path in paths})
    assert [number["path"] for number in found] == paths[::-1]
    assert [number["name"] for number in found] == [
        "Q1 a: loss before",
        "MNIST, test accuracy: tanh, zero",
        "MNIST, test accuracy: tanh, normal",
        "MNIST, test accuracy: leaky ReLU, zero",
        "Search, accuracy over the folds",
    ]


def test_the_seconds_of_a_stage_are_those_of_all_its_runs():
    outline = [Stage("a", "for a", []), Stage("b", "for b", ["a"]), Stage("c", "for c", ["b"])]
    shown = content.timed(outline, {"a": 1.5, "b@x": 2.0, "b@y-z": 3.0})
    assert [(s["name"], s["runs"], s["seconds"]) for s in shown] == [
        ("a", 1, 1.5), ("b", 2, 5.0), ("c", 0, 0),
    ]  # fmt: skip


def test_every_alternative_has_a_dot():
    sensitivity = read_json(ROOT / "metrics" / "sensitivity.json")
    numbers = read_json(ROOT / "metrics" / "verdict.json")["by_number"]
    shown = content.choices(sensitivity, numbers)
    assert sum(len(c["numbers"]) for c in shown) == len(sensitivity["printed_values"])
    dots = sum(len(number["strip"].dots) for c in shown for number in c["numbers"])
    assert dots == len(sensitivity["alternatives"])


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (digits, -2.0, "\N{MINUS SIGN}2"),
        (digits, 0.97331, "0.9733"),
        (digits, 2.0, "2"),
        (digits, 56000, "56000"),
        (digits, None, "\N{EN DASH}"),
        (digits, "adam", "adam"),
        (short, 3.2872008, "3.2872"),
        (short, -8.5, "\N{MINUS SIGN}8.5"),
        (short, 1.02, "1.02"),
        (short, 4, "4"),
        (content.name_of, "new.number", "new.number"),
    ],
)
def test_numbers_are_written_as_they_are_read(write, value, text):
    assert write(value) == text


def test_a_page_without_its_results_is_an_error():
    with pytest.raises(UndefinedError):
        render({})
