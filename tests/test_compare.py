"""The summary for reviewers: what changed, and whether it is more than noise."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlcore.review import compare

ROOT = Path(__file__).parents[1]


def figure(published, ours):
    return {"published": published, "ours": ours}


BEFORE = {
    "params": {"network": {"learning_rate": 0.02, "hidden_layer_sizes": [256, 128]}, "seed": 42},
    "summary": {"grid": {"tanh": figure(0.97, 0.972), "relu": figure(0.97, 0.971)},
                "search": {"solver": figure("adam", "adam")}},
    "verdict": {},
    "words": {"grid.tanh": "reproduced", "tanh_best": "supported"},
}  # fmt: skip
AFTER = {
    "params": {"network": {"learning_rate": 0.05, "hidden_layer_sizes": [256, 128]}, "new": None},
    "summary": {"grid": {"tanh": figure(0.97, 0.962), "relu": figure(0.97, 0.972)},
                "search": {"solver": figure("adam", "sgd")}},
    "verdict": {"by_number": {"grid.tanh": {"sd": 0.001, "n_used": 10},
                              "grid.relu": {"sd": 0.001, "n_used": 10}}},
    "words": {"grid.tanh": "not reproduced", "tanh_best": "supported"},
}  # fmt: skip


def rows(text, title):
    section = text.partition(f"### {title}\n")[2].partition("###")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    return [row for row in cells[3:] if row]


def test_everything_that_changed_and_nothing_else():
    text = compare.markdown("main", BEFORE, AFTER)
    assert text.startswith("## Results against `main`\n")
    assert "Changed: 2 parameters, 3 figures (1 by more than noise, which one in twenty" in text
    assert text.splitlines()[2].endswith("1 verdicts.")
    assert rows(text, "Verdicts") == [["`grid.tanh`", "reproduced", "not reproduced"]]
    assert rows(text, "Parameters") == [
        ["`network.learning_rate`", "0.02", "0.05"],
        ["`seed`", "42", "none"],
    ]
    assert rows(text, "Figures") == [
        ["`grid.tanh`", "0.972", "0.962", "-0.01", "0.001 (n = 10)", "more than noise"],
        ["`grid.relu`", "0.971", "0.972", "+0.001", "0.001 (n = 10)", "within noise"],
        ["`search.solver`", "adam", "sgd", "", "", ""],
    ]


def test_without_a_change_it_says_so():
    text = compare.markdown("main", BEFORE, BEFORE)
    assert "Changed: 0 parameters, 0 figures (0 by more than noise" in text
    assert text.count("None.") == 3


def test_noise_is_what_two_seeds_differ_by():
    rng = np.random.default_rng(0)
    within = 0
    for _ in range(2000):
        runs = rng.normal(scale=0.01, size=12)
        within += compare.against_noise(runs[0] - runs[1], runs[2:].std(ddof=1), 10) == (
            compare.NOISE
        )
    assert within / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("sd", "n"), [(None, 0), (0.1, 1)])
def test_noise_is_unknown_without_replicates(sd, n):
    assert compare.against_noise(0.1, sd, n) == compare.UNKNOWN


def test_runs_that_never_vary_have_no_noise():
    assert compare.against_noise(1e-4, 0.0, 10) == compare.MORE


def test_an_exact_figure_has_no_noise():
    counts = [{"split": figure(56000, value)} for value in (56000, 56001)]
    after = {"by_number": {"split": {"kind": "exact", "sd": None, "n_used": 0}}}
    (row,) = compare.figure_rows(*map(compare.our_figures, counts), after)
    assert row[-1] == compare.MORE


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path, content):
    (tmp_path / "params.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(compare.RetraceError, match=r"params\.yaml"):
        compare.read_tree(tmp_path)


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def test_a_revision_is_read_from_git(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "params.yaml").write_text("seed: 1\n", encoding="utf-8")
    (tmp_path / "metrics" / "verdict_words.json").write_text('{"a": "ü"}', encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "params.yaml").write_text("seed: 2\n", encoding="utf-8")
    before, after = compare.read_revision(tmp_path, "HEAD"), compare.read_tree(tmp_path)
    assert before == {"params": {"seed": 1}, "summary": {}, "verdict": {}, "words": {"a": "ü"}}
    assert after["params"] == {"seed": 2}
    assert "1 parameters" in compare.markdown("HEAD", before, after)


@pytest.mark.parametrize("revision", ["nowhere", "--help", "HEAD:params.yaml", ""])
def test_an_unknown_revision_is_one_clear_line(revision):
    with pytest.raises(compare.RetraceError, match="should be a branch, tag or commit"):
        compare.read_revision(ROOT, revision)


def test_from_the_command_line(project):
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "first")
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("patience: 20", "patience: 21"))
    said = project.run("mlcore.review.compare", "HEAD").stdout
    assert "Changed: 1 parameters, 0 figures" in said
    assert rows(said, "Parameters") == [["`network.patience`", "20", "21"]]
    unknown = project.run("mlcore.review.compare", "nowhere", check=False)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: REV=nowhere: should be a branch, tag or commit")
    assert len(unknown.stderr.splitlines()) == 1
