"""The benchmark measures what it says it does; no peer needs to be installed."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import contestants, measures, profile, tracking
from benchmarks.report import markdown
from mlcore.files import read_json, save_arrays

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the benchmark pins processes, which needs Linux"
)

# A batch of 128 through 784-256-128-64-32-10, written out by hand
FORWARD = [
    ((128, 784), (784, 256)),
    ((128, 256), (256, 128)),
    ((128, 128), (128, 64)),
    ((128, 64), (64, 32)),
    ((128, 32), (32, 10)),
]
DELTAS = [
    ((128, 10), (10, 32)),
    ((128, 32), (32, 64)),
    ((128, 64), (64, 128)),
    ((128, 128), (128, 256)),
]
GRADIENTS = [
    ((784, 128), (128, 256)),
    ((256, 128), (128, 128)),
    ((128, 128), (128, 64)),
    ((64, 128), (128, 32)),
    ((32, 128), (128, 10)),
]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 784)).astype(np.uint8)
    save_arrays(tmp_path / "split.npz", X_train=images, y_train=np.arange(300, dtype=np.uint8) % 10)
    return tmp_path / "split.npz"


def products(monkeypatch, n_samples):
    """Give the shapes of all products of an epoch of the floor, and the dtypes."""
    floor = contestants.BareProducts(np.zeros((n_samples, 784), np.float32), None)
    shapes, dtypes, matmul = [], set(), np.matmul

    def record(a, b, out):
        shapes.append((a.shape, b.shape))
        dtypes.update({a.dtype, b.dtype, out.dtype})
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", record)
    floor.fit(epochs=1)
    return shapes, dtypes


def test_the_floor_is_the_fourteen_products_of_a_batch(monkeypatch):
    shapes, dtypes = products(monkeypatch, 128)
    assert len(shapes) == 14
    assert sorted(shapes) == sorted(FORWARD + DELTAS + GRADIENTS)
    assert dtypes == {np.dtype(np.float32)}


def test_the_floor_does_the_work_of_every_sample_and_no_more(monkeypatch):
    shapes, _ = products(monkeypatch, 300)  # two batches and a part of one
    assert len(shapes) == 3 * 14
    work = sum(2 * a[0] * a[1] * b[1] for a, b in shapes)
    assert work == measures.flops([784, 256, 128, 64, 32, 10], 300)


def test_flops_of_a_network_worked_by_hand():
    # 3-2-4, 5 samples: forward 5*3*2 + 5*2*4 = 70, gradients as many, deltas 5*4*2 = 40;
    # each a multiplication and an addition
    assert measures.flops([3, 2, 4], 5) == 2 * (70 + 70 + 40)


def test_the_median_is_taken_of_the_ratios():
    seconds = {"ours": [1.0, 2.0, 4.0], "peer": [2.0, 2.0, 12.0]}
    summary = measures.summarize(seconds, "ours", unit=2)
    # The ratio of the medians would be 1
    assert summary["peer"] == {"seconds": 1.0, "ratio": 2.0, "lowest": 1.0, "highest": 3.0}
    assert summary["ours"] == {"seconds": 1.0, "ratio": 1.0, "lowest": 1.0, "highest": 1.0}


def test_contestants_have_their_turn_one_after_another():
    asked = []

    class Worker:
        def __init__(self, name):
            self.name = name

        def ask(self, method, **arguments):
            asked.append((self.name, method, arguments))
            return float(len(asked))

    workers = {name: Worker(name) for name in "abc"}
    seconds = measures.interleave(workers, 2, "fit", untimed={"epochs": 1}, epochs=3)
    assert asked == [(name, "fit", {"epochs": n}) for name in "abcabc" for n in (1, 3)]
    assert seconds == {"a": [2.0, 8.0], "b": [4.0, 10.0], "c": [6.0, 12.0]}


@pytest.mark.slow
def test_an_absent_library_is_reported_and_the_others_run(monkeypatch, tmp_path, data):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ("bare products", "ours", "PyTorch eager")
    core = max(os.sched_getaffinity(0))
    results = measures.contest(1, 1, core, data, names, activations=("tanh",))
    assert results["contestants"]["PyTorch eager"] == "absent: no torch here"
    assert set(results["fit"]["tanh"]) == {"bare products", "ours"}
    assert set(results["images_per_second"]["tanh"]) == {"ours"}
    fit = results["fit"]["tanh"]
    expected = fit["ours"]["seconds"] / fit["bare products"]["seconds"]
    assert results["ours_over_floor"]["tanh"] == pytest.approx(expected)

    results |= {
        "machine": {"cpu": "a processor", "blas": ["openblas"], "simd": []},
        "settings": {"rounds": 1, "epochs": 1, "grid_epochs": 1},
        "profile": {
            "tanh": {
                "fractions": {"loss": 0.25, "the loop itself": 0.75},
                "diagnostics_overhead": 0.0123,
            }
        },
        "growth": {},
        "grid": {
            "cores": 2,
            "seconds": measures.summarize({"all cores": [1], "one core": [2]}, "all cores"),
        },
        "peak_memory_mib": 500.0,
    }
    lines = markdown(results).splitlines()
    first = lines.index("|  | tanh |")
    assert [line.split(" | ")[0].strip("| ") for line in lines[first + 2 : first + 5]] == list(
        names
    )
    assert lines[first + 4] == "| PyTorch eager | absent |"
    assert f"Ours is {expected:.2f} (tanh) times the bare products" in "\n".join(lines)
    assert "add 1.2 % (tanh) to the time of the rest" in "\n".join(lines)
    assert "- PyTorch eager: absent: no torch here" in lines


@pytest.mark.slow
def test_the_profile_has_every_part_of_the_page(data):
    profiles = measures.profile(1, max(os.sched_getaffinity(0)), data)
    page = read_json(measures.ROOT / "benchmarks" / "results.json")["profile"]
    assert {a: set(entry["fractions"]) for a, entry in profiles.items()} == {
        a: set(entry["fractions"]) for a, entry in page.items()
    }
    for entry in profiles.values():
        assert set(entry) == {"seconds_per_epoch", "fractions", "diagnostics_overhead"}


def test_the_time_of_diagnostics_is_compared_to_that_of_the_rest(monkeypatch):
    # From 0 to 6 s, diagnostics from 1 to 1.5 and from 3 to 3.5 s
    clock = iter([0.0, 1.0, 1.5, 3.0, 3.5, 6.0])
    monkeypatch.setattr(profile, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    X, y = np.random.default_rng(0).random((100, 784), np.float32), np.arange(100) % 10
    overhead = profile.cost_of_diagnostics(contestants.Ours(X, y), 2, "tanh")
    assert overhead == pytest.approx(1 / 5)
    assert next(clock, None) is None


@pytest.mark.parametrize(
    ("name", "write"), [("tracking", tracking.markdown), ("results", markdown)]
)
def test_a_page_is_of_the_figures_beside_it(name, write):
    page = tracking.HERE / f"{name}.md"
    assert page.read_text() == write(read_json(page.with_suffix(".json")))
