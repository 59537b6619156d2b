"""What DVC shows its users: tables that fit a screen, plots that tell runs apart."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlcore.pipeline.dvc_yaml import read_lock

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.usefixtures("unmeasured")


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def dvc(folder, *arguments):
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def test_the_metrics_are_the_headline():
    header, *rows = dvc(ROOT, "metrics", "show").splitlines()
    headline = json.loads((ROOT / "metrics" / "headline.json").read_text())
    assert header.split() == ["Path", *sorted(headline)]
    assert [row.split()[0] for row in rows] == ["metrics/headline.json"]


@pytest.mark.parametrize(
    ("file", "key", "new"),
    [("headline", "tanh-normal", 0.4), ("verdict_words", "B23", "overturned")],
)
def test_a_change_is_one_row_that_fits_a_screen(project, file, key, new):
    project.commit()
    path = project.root / "metrics" / f"{file}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: new}))
    header, row = dvc(project.root, "metrics", "diff", "--targets", str(path)).splitlines()
    assert header.split() == ["Path", "Metric", "HEAD", "workspace", "Change"]
    assert (row.split()[1], row.split()[3]) == (key, str(new))
    assert max(len(header), len(row)) <= 160


def test_every_part_has_one_plot_with_a_title_and_named_axes():
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    files = []
    for (plot,) in (entry.values() for entry in plots):
        assert all(plot[key] for key in ("title", "x_label", "y_label"))
        assert (ROOT / ".dvc" / "plots" / f"{plot['template']}.json").is_file()
        ((file, columns),) = plot["y"].items()
        shown = [plot["x"], *(columns if isinstance(columns, list) else [columns])]
        assert set(shown) <= set(pd.read_csv(ROOT / file).columns)
        files.append(file)
    parts = sorted(str(f.relative_to(ROOT)) for f in (ROOT / "metrics" / "history").glob("*.csv"))
    assert sorted(files) == sorted(["metrics/search.csv", *parts])


def test_what_a_stage_comes_from_is_a_graph_that_fits_a_screen():
    assert max(map(len, dvc(ROOT, "dag", "classify_features@relu").splitlines())) <= 80


@pytest.mark.slow
def test_after_a_refused_value_what_the_documents_say_brings_everything_back(project):
    project.commit()
    root, stage = project.root, "train_network@tanh-normal"
    outs = [root / path for path in read_lock(root)[stage]["outs"]]
    for number, out in enumerate(outs):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"made {number}")
    dvc(root, "commit", "-q", "-f", stage)
    project.commit()
    before = {path: path.read_bytes() for path in [*outs, root / "params.yaml"]}
    params = root / "params.yaml"  # where DVC writes what -S is given
    params.write_text(params.read_text().replace("learning_rate: 0.02", "learning_rate: -3"))
    with pytest.raises(subprocess.CalledProcessError) as error:
        dvc(root, "repro", "-s", stage)
    assert "should be greater than 0" in error.value.stdout + error.value.stderr
    assert not any(path.exists() for path in outs)
    text = (ROOT / "docs" / "experiments.md").read_text()
    (remedy,) = re.findall("after a refusal, `(.*?)` brings", text)
    first, second = remedy.split(" && ")
    run(root, *first.split())
    dvc(root, *second.split()[1:], *outs)  # of the others there is no cache here
    assert before == {path: path.read_bytes() for path in before}


def test_runs_are_told_apart_by_colours_that_differ_and_revisions_by_dashes():
    encoding = json.loads((ROOT / ".dvc" / "plots" / "runs.json").read_text())["encoding"]
    colours = encoding["color"]["scale"]["range"]
    assert len(colours) >= 12  # the networks of the grid
    values = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])
    distances = np.linalg.norm(values[:, np.newaxis] - values, axis=2)
    assert distances[~np.eye(len(colours), dtype=bool)].min() > 40
    assert (encoding["color"]["field"], encoding["strokeDash"]["field"]) == ("run", "rev")


@pytest.mark.slow
def test_the_page_of_plots_has_one_plot_a_part_and_every_picture(project):
    project.commit()
    dvc(project.root, "plots", "show", "-q", "--out", "dvc_plots")
    html = (project.root / "dvc_plots" / "index.html").read_text()
    assert html.count("var spec =") == 4 + 1  # the parts' curves and the search
    assert html.count("<img") == len([*(ROOT / "metrics" / "figures").rglob("*.png")])
    assert run(project.root, "git", "status", "--porcelain") == ""
