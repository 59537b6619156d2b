"""The summary for reviewers: what changed, and whether it is more than noise."""

import json

import numpy as np
import pytest

from mlcore.review import compare

CHANGED = {
    "params": [("network.learning_rate", 0.02, 0.05), ("seed", 42, None)],
    "numbers": [
        ("grid.relu", 0.971, 0.972),
        ("grid.tanh", 0.972, 0.962),
        ("solver", "adam", "a|b"),
    ],
    "words": [("grid.tanh", "reproduced", "not reproduced")],
}
VERDICT = {"by_number": {name: {"sd": 0.001, "n": 10} for name in ("grid.tanh", "grid.relu")}}


def rows(text, title):
    section = text.partition(f"### {title}\n")[2].partition("###")[0]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in section.splitlines()[3:]]
    return [[cell.strip("| ") for cell in row] for row in cells if len(row) > 1]


def test_every_change_is_a_row_and_a_number_stands_beside_its_spread():
    text = compare.markdown("main", CHANGED, VERDICT)
    assert text.startswith("## Results against `main`\n")
    assert "Changed: 2 parameters, 3 numbers (1 by more than noise, which one in twenty" in text
    assert text.splitlines()[2].endswith("1 verdicts.")
    assert rows(text, "Verdicts") == [["`grid.tanh`", "reproduced", "not reproduced"]]
    rate = ["`network.learning_rate`", "0.02", "0.05"]
    assert rows(text, "Parameters") == [rate, ["`seed`", "42", "none"]]
    assert rows(text, "Numbers") == [
        ["`grid.relu`", "0.971", "0.972", "+0.001", "0.001 (n = 10)", "within noise"],
        ["`grid.tanh`", "0.972", "0.962", "-0.01", "0.001 (n = 10)", "more than noise"],
        ["`solver`", "adam", "a\\|b", "", "", ""],
    ]
    assert "out of date" not in text


def test_without_a_change_it_says_so():
    text = compare.markdown("main", {"params": [], "numbers": [], "words": []}, VERDICT)
    assert "Changed: 0 parameters, 0 numbers (0 by more than noise" in text
    assert text.count("None.") == 3


@pytest.mark.parametrize(
    ("stale", "named"), [(["plot"], "`plot`."), ("abcde", "`a`, `b`, `c` and 2 more.")]
)
def test_numbers_of_older_code_are_called_so(stale, named):
    said = compare.markdown("main", CHANGED, VERDICT, stale)
    assert "**dvc.lock is out of date: these numbers are of older code" in said
    assert f"has to run {named}\n" in said


def test_noise_is_what_two_seeds_differ_by():
    all_runs = np.random.default_rng(0).normal(scale=0.01, size=(2000, 12))
    told = [compare.against_noise(r[0] - r[1], r[2:].std(ddof=1), 10) for r in all_runs]
    assert told.count(compare.NOISE) / 2000 == pytest.approx(0.95, abs=0.015)


def test_noise_without_replicates_is_unknown_and_without_spread_is_none():
    assert compare.against_noise(0.1, None, 0) == "noise unknown"
    assert compare.against_noise(0.1, 0.1, 1) == "noise unknown"
    assert compare.against_noise(1e-4, 0, 9) == "more than noise"
    verdict = {"by_number": {"split": {"kind": "exact", "sd": None, "n": 0}}}
    (row,) = compare.number_rows([("split", 56000, 56001)], verdict)
    assert row[-1] == "more than noise"


def test_what_was_edited_since_a_commit_is_told(project, capsys, monkeypatch):
    monkeypatch.setattr(compare, "stale_stages", lambda root, names: sorted(names)[:1])
    project.commit()
    params, verdict, worded = (
        project.root / name for name in ("params.yaml", compare.VERDICT, compare.WORDS)
    )
    params.write_text(params.read_text().replace("patience: null", "patience: 21"))
    content = json.loads(verdict.read_text())
    name, number = next((n, f) for n, f in content["by_number"].items() if f["sd"])
    number["ours"] += 1
    verdict.write_text(json.dumps(content))
    words = json.loads(worded.read_text())
    worded.write_text(json.dumps(words | {name: "moved"}))
    compare.main(["HEAD"], project.root)
    said = capsys.readouterr().out
    assert "Changed: 1 parameters, 1 numbers (1 by more than noise" in said
    assert rows(said, "Parameters") == [["`network.patience`", "none", "21"]]
    assert "dvc.lock is out of date" in said
    (row,) = rows(said, "Numbers")
    assert (row[0], row[3], row[5]) == (f"`{name}`", "+1", "more than noise")
    assert rows(said, "Verdicts") == [[f"`{name}`", words[name], "moved"]]


def refusal(root, revision="HEAD"):
    with pytest.raises(SystemExit) as ended:
        compare.main([revision], root)
    assert "\n" not in str(ended.value)
    return str(ended.value)


def test_what_it_cannot_compare_is_one_line(project, monkeypatch):
    assert "not a git repository" in refusal(project.root)
    project.commit()
    for revision in ("nowhere", "HEAD:params.yaml"):
        said = refusal(project.root, revision)
        assert said.startswith(f"error: REV={revision}: should be a branch, tag or commit that git")
    monkeypatch.setenv("PATH", "/nowhere")
    assert refusal(project.root).endswith("git: No such file or directory")
    (project.root / compare.VERDICT).write_text("{")
    assert "verdict.json is not valid JSON" in refusal(project.root)
