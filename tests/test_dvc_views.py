"""What DVC shows its users: tables that fit a screen, plots that tell runs apart."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
WIDTH = 160

pytestmark = pytest.mark.usefixtures("unmeasured")


def dvc(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_metrics_are_the_headline():
    header, *rows = dvc(ROOT, "metrics", "show").splitlines()
    headline = json.loads((ROOT / "metrics" / "headline.json").read_text())
    assert header.split() == ["Path", *sorted(headline)]
    assert [row.split()[0] for row in rows] == ["metrics/headline.json"]


@pytest.fixture
def committed(project):
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
        subprocess.run(["git", *command.split()], cwd=project.root, check=True)
    return project.root


def test_a_change_of_the_headline_is_a_table_of_what_changed(committed):
    path = committed / "metrics" / "headline.json"
    headline = json.loads(path.read_text())
    path.write_text(json.dumps({**headline, "tanh-normal": headline["tanh-normal"] - 0.5}))
    table = dvc(committed, "metrics", "diff", "--targets", "metrics/headline.json").splitlines()
    assert len(table) == 2
    assert max(map(len, table)) <= WIDTH
    assert table[1].split()[:2] == ["metrics/headline.json", "tanh-normal"]
    assert float(table[1].split()[-1]) == pytest.approx(-0.5)


def test_a_verdict_that_changes_is_one_row(committed):
    path = committed / "metrics" / "verdict_words.json"
    words = json.loads(path.read_text())
    path.write_text(json.dumps({**words, "B23": "overturned"}))
    header, *rows = dvc(committed, "metrics", "diff", "--targets", str(path)).splitlines()
    assert header.split() == ["Path", "Metric", "HEAD", "workspace", "Change"]
    assert [row.split()[1:] for row in rows] == [["B23", words["B23"], "overturned", "-"]]
    assert max(map(len, [header, *rows])) <= WIDTH


def test_runs_are_told_apart_by_colours_that_differ_and_revisions_by_dashes():
    encoding = json.loads((ROOT / ".dvc" / "plots" / "runs.json").read_text())["encoding"]
    colours = encoding["color"]["scale"]["range"]
    assert len(colours) >= 12  # the networks of the grid
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])
    distances = np.linalg.norm(values[:, np.newaxis] - values, axis=2)
    assert distances[~np.eye(len(colours), dtype=bool)].min() > 40
    assert (encoding["color"]["field"], encoding["strokeDash"]["field"]) == ("run", "rev")


@pytest.mark.slow
def test_the_page_of_plots_has_one_plot_a_part_and_every_picture(committed):
    dvc(committed, "plots", "show", "-q", "--out", "dvc_plots")
    html = (committed / "dvc_plots" / "index.html").read_text()
    assert html.count("var spec =") == 4 + 1  # the parts' curves and the search
    pictures = list((ROOT / "metrics/figures").rglob("*.png"))
    assert html.count("<img") == len(pictures)
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=committed, capture_output=True, text=True, check=True
    ).stdout
    assert status == ""
