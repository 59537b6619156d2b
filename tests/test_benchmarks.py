"""The benchmark measures what it says it does; no peer needs to be installed."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import contestants, measures
from benchmarks.report import markdown
from mlcore.files import read_json, save_arrays

FOLDER = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the benchmark pins processes, which needs Linux"
)

# A batch through 784-256-128-64-32-10, written out by hand
FORWARD = [(784, 256), (256, 128), (128, 64), (64, 32), (32, 10)]
DELTAS = [(10, 32), (32, 64), (64, 128), (128, 256)]


def test_the_floor_is_the_fourteen_products_of_every_batch(monkeypatch):
    fit = contestants.bare_products(np.zeros((300, 784), np.float32), None)
    shapes, dtypes, matmul = [], set(), np.matmul

    def record(a, b, out):
        shapes.append((a.shape, b.shape))
        dtypes.update({a.dtype, b.dtype, out.dtype})
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", record)
    fit(1, "tanh")
    by_hand = []
    for n in (128, 128, 44):
        by_hand += [((n, a), (a, b)) for a, b in FORWARD + DELTAS]
        by_hand += [((a, n), (n, b)) for a, b in FORWARD]  # gradients
    assert sorted(shapes) == sorted(by_hand)
    assert dtypes == {np.dtype(np.float32)}


def test_the_median_is_taken_of_the_ratios():
    seconds = {"ours": [1.0, 2.0, 4.0], "peer": [2.0, 2.0, 12.0]}
    summary = measures.summarize(seconds, "ours", unit=2)
    # The ratio of the medians would be 1
    assert summary["peer"] == {"seconds": 1.0, "ratio": 2.0, "lowest": 1.0, "highest": 3.0}
    assert summary["ours"] == {"seconds": 1.0, "ratio": 1.0, "lowest": 1.0, "highest": 1.0}


def test_contestants_have_their_turn_one_after_another():
    asked = []

    def worker(name):
        def ask(function, *arguments):
            asked.append((name, function, arguments))
            return float(len(asked))

        return ask

    workers = {name: worker(name) for name in "abc"}
    train = contestants.time_training
    seconds = measures.interleave(workers, 2, train, 3, "tanh", warm=(train, 1, "tanh"))
    assert asked == [(name, train, (n, "tanh")) for name in "abcabc" for n in (1, 3)]
    assert seconds == {"a": [2.0, 8.0], "b": [4.0, 10.0], "c": [6.0, 12.0]}


@pytest.mark.slow
def test_an_absent_library_is_reported_and_the_others_run(monkeypatch, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 784)).astype(np.uint8)
    save_arrays(tmp_path / "split.npz", X_train=images, y_train=np.arange(300, dtype=np.uint8) % 10)
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ("bare products", "ours", "PyTorch eager")
    plan = measures.Plan(tmp_path / "split.npz", max(os.sched_getaffinity(0)), rounds=1, epochs=1)
    results = measures.contest(plan, names, activations=("tanh",))
    assert results["contestants"]["PyTorch eager"] == "absent: no torch here"
    assert set(results["fit"]["tanh"]) == {"bare products", "ours"}
    assert set(results["predict_proba"]["tanh"]) == {"ours"}
    fit = results["fit"]["tanh"]
    expected = fit["ours"]["seconds"] / fit["bare products"]["seconds"]
    lines = markdown(read_json(FOLDER / "results.json") | results).splitlines()
    first = lines.index("|  | tanh |")
    named = [line.split(" | ")[0].strip("| ") for line in lines[first + 2 : first + 5]]
    assert named == list(names)
    assert lines[first + 4] == "| PyTorch eager | absent |"
    assert f"Ours is {expected:.2f} (tanh) times the bare products" in "\n".join(lines)
    assert "- PyTorch eager: absent: no torch here" in lines


def test_the_page_is_of_the_numbers_beside_it():
    page = FOLDER / "results.md"
    assert page.read_text() == markdown(read_json(page.with_suffix(".json")))
