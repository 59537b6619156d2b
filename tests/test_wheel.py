"""What `pip install .` gives, in an environment of its own: the verdict, and the network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlcore.review.judge import __version__

ROOT = Path(__file__).parents[1]

USE = """
import json
import numpy as np
import pandas as pd
from mlcore.judging import Evidence, Rules, judge, printed_in
from mlcore.nn import NeuralNetwork

X = np.random.default_rng(0).normal(size=(64, 8))
assert NeuralNetwork(max_epochs=1).fit(X, (X[:, 0] > 0).astype(int)).predict(X).shape == (64,)
rule = {"match": "*", "kind": "trained", "runs": "*", "metric": "accuracy", "tolerance": 0.01}
runs = pd.DataFrame({"name": "svm", "seed": range(6), "accuracy": [0.93, 0.931] * 3})
verdict = judge(printed_in({"svm": 0.931}), Evidence(Rules(numbers=[rule]), runs))
print(json.dumps(verdict["by_number"]["svm"]["verdict"]))
"""


def test_the_citation_is_the_projects_and_the_version_has_its_changes():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.mark.slow
def test_the_wheel_works_where_nothing_else_is(tmp_path):
    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--wheel", "--out-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 500_000
    run(uv, "venv", "--python", sys.executable, "env")
    run(uv, "pip", "install", "--python", "env/bin/python", wheel)
    assert json.loads(run("env/bin/python", "-W", "error", "-c", USE)) == "reproduced"
    assert run("env/bin/retrace", "--version") == f"retrace {__version__}\n"
    (tmp_path / "published.yaml").write_text("accuracy: {svm: 0.93}\n")
    run("env/bin/retrace", ".", "--init")
    assert "Written to .: " in run("env/bin/retrace", ".", "--html")
