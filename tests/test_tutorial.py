"""docs/tutorial.md: its notebook runs from the first cell to the last, and prints what it shows."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "tutorial.md").read_text()
NOTEBOOK = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
REAL = ROOT / "data" / "mnist.npz"
NUMBER = re.compile(r"\d+\.\d+(?:e[+-]\d+)?")


def run(cells, project):
    """Run cells as a kernel does; gives of each what it printed, and what it shows."""
    names, printed = {}, []
    for cell in cells:
        source = cell["source"]
        with chdir(project.root), redirect_stdout(StringIO()) as out:
            if source.startswith("%%bash\n"):
                script = source.removeprefix("%%bash\n")
                subprocess.run(["bash", "-ec", script], env=project.environment(), check=True)
            else:
                exec(source, names)
        printed.append((out.getvalue(), "".join(o["text"] for o in cell["outputs"])))
    return printed


def test_what_needs_no_training_prints_what_it_shows(project):
    imports = {"source": "import pandas as pd", "outputs": []}
    told = re.compile("%%bash|history|why")
    shown = run([imports, *(c for c in CELLS if not told.search(c["source"]))], project)
    assert len(shown) >= 4
    assert [out for out, _ in shown] == [expected for _, expected in shown]


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_the_notebook_runs(project):
    """On the real images where they are there, and then with the numbers that it shows."""
    if REAL.exists():
        shutil.copy(REAL, project.root / "data")
    (project.root / ".venv").symlink_to(sys.prefix)
    project.edit("conf/config.yaml", "tracking: mlflow", "tracking: 'off'")
    setup, *others = [c for c in CELLS if not c["source"].startswith("import os")]
    assert "split_mnist" in setup["source"]  # the copy has data; `make smoke` runs this cell
    shown = run(others, project)
    if REAL.exists():
        out, expected = (" ".join(texts) for texts in zip(*shown, strict=True))
        assert NUMBER.sub("", out) == NUMBER.sub("", expected)
        # Another processor rounds otherwise
        told = [float(word) for word in NUMBER.findall(expected)]
        assert [float(word) for word in NUMBER.findall(out)] == pytest.approx(told, rel=0.05)


def test_the_arithmetic_by_hand():
    t = stats.t.ppf(0.975, 19)
    verdicts = json.loads((ROOT / "metrics" / "verdict.json").read_text())["by_number"]
    assert f"`t` is {t:.3f}" in TEXT
    for metric in ("test_accuracy", "test_loss"):
        number = verdicts[f"fashion_classifier.{metric}.logistic"]
        low, high = number["interval"]
        half = t * number["sd"] * 1.05**0.5 + 0.00005
        assert half == pytest.approx(number["resolution"], abs=1e-9)
        told = f": {t:.3f} · {number['sd']:.4f} · √1.05 + 0.00005 = {half:.4f}, "
        assert f"{told}so the interval is [{low:.4f}, {high:.4f}]" in TEXT
    assert f"which is {number['tolerance']:.4f}" in TEXT
