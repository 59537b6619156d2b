"""What DVC shows its users: tables that fit a screen, plots that tell runs apart."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vl_convert

ROOT = Path(__file__).parents[1]
WIDTH = 160


def dvc(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_metrics_are_a_table_of_one_row_a_run_that_fits_a_screen():
    header, *rows = dvc(ROOT, "metrics", "show").splitlines()
    assert len(rows) == 12 + 4 + 2 + 2 + 1
    assert max(map(len, [header, *rows])) <= WIDTH
    assert header.split() == [
        "Path", "n_epochs", "test_accuracy", "test_loss", "test_mse",
        "train_accuracy", "train_loss", "val_accuracy", "val_loss",
    ]  # fmt: skip


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
    path.write_text(json.dumps({**words, "tanh_normal_best": "overturned"}))
    header, *rows = dvc(committed, "metrics", "diff", "--targets", str(path)).splitlines()
    assert header.split() == ["Path", "Metric", "HEAD", "workspace", "Change"]
    assert [row.split()[1:] for row in rows] == [
        ["tanh_normal_best", words["tanh_normal_best"], "overturned", "-"]
    ]
    assert max(map(len, [header, *rows])) <= WIDTH


def template(path=ROOT / ".dvc" / "plots" / "runs.json"):
    return path.read_text()


def filled(rows):
    text = template().replace('"<DVC_METRIC_DATA>"', json.dumps(rows))
    for name, value in {"X": "epoch", "Y": "val_loss", "TITLE": "t"}.items():
        text = text.replace(f"<DVC_METRIC_{name}>", value)
        text = text.replace(f"<DVC_METRIC_{name}_LABEL>", value)
    assert "<DVC" not in text
    return json.loads(text)


def test_twelve_runs_are_twelve_curves_of_colours_that_differ():
    rows = [
        {"run": f"run {i}", "epoch": epoch, "val_loss": i + 1 / epoch, "rev": "workspace"}
        for i in range(12)
        for epoch in (1, 2, 3)
    ]
    svg = vl_convert.vegalite_to_svg(filled(rows), vl_version="5.21")
    curves = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*>', svg)
    colours = {re.search(r'stroke="(#\w+)"', curve)[1] for curve in curves}
    assert len(curves) == len(colours) == 12
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in sorted(colours)])
    distances = np.linalg.norm(values[:, np.newaxis] - values, axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() > 40


def test_two_revisions_of_a_run_differ_in_dashes():
    rows = [
        {"run": "a", "epoch": epoch, "val_loss": epoch, "rev": rev}
        for rev in ("HEAD", "workspace")
        for epoch in (1, 2)
    ]
    svg = vl_convert.vegalite_to_svg(filled(rows), vl_version="5.21")
    curves = re.findall(r'<path [^>]*aria-roledescription="line mark"[^>]*>', svg)
    assert len(curves) == 2
    assert len({re.search(r'stroke-dasharray="([^"]*)"', curve)[1] for curve in curves}) == 2


def test_the_page_of_plots_has_one_plot_a_part_and_asks_the_network_for_nothing(committed):
    page = committed / "build" / "plots.html"
    subprocess.run(
        [sys.executable, "-m", "mlcore.review.plots_page", str(page)], cwd=committed, check=True
    )
    dvc(committed, "plots", "show", "-q", "--html-template", str(page), "--out", "dvc_plots")
    html = (committed / "dvc_plots" / "index.html").read_text()
    assert html.count("var spec =") == 4 + 1  # the parts' curves and the search
    body = html[html.index("<body>") :]  # Vega speaks of images too
    assert body.count("<img") == len(list((ROOT / "metrics/figures").rglob("*.png")))
    loaded = re.findall(r"""<(?:script|img|link)[^>]*?(?:src|href)=["']([^"']+)""", html)
    assert loaded
    assert not [source for source in loaded if "//" in source]
    assert "window.vegaEmbed=" in html
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=committed, capture_output=True, text=True, check=True
    ).stdout
    assert status == ""
