"""Seeds, threads, and the description of the machine."""

import json
import os
import subprocess
import sys

import numpy as np

from mlcore.process import THREAD_VARIABLES, derive_seed, fingerprint


def test_a_seed_depends_on_every_name_and_on_nothing_else():
    names = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",)]
    seeds = [derive_seed(42, *name) for name in names] + [derive_seed(43, "a")]
    assert len(set(seeds)) == len(seeds)
    assert seeds[1] == derive_seed(42, "a")
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_names_that_read_alike_together_are_different_choices():
    assert derive_seed(42, "abcdefgh") != derive_seed(42, "efgh", "abcd")
    names = [f"{a}{b}" for a in "abcdefghij" for b in range(100)]
    assert len({derive_seed(0, name) for name in names}) == len(names)


def test_seeds_are_spread_evenly():
    """Of 1,000 seeds, each bit is set in about half: within four standard deviations."""
    seeds = np.array([derive_seed(42, str(i)) for i in range(1000)], dtype=np.uint32)
    set_bits = (seeds[:, np.newaxis] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.all(np.abs(set_bits.sum(axis=0) - 500.0) < 4 * np.sqrt(250))


def test_a_seed_is_the_same_in_every_process():
    program = "from mlcore.process import derive_seed; print(derive_seed(42, 'network', 'tanh'))"
    results = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert results == {f"{derive_seed(42, 'network', 'tanh')}\n"}


def test_a_stage_has_one_thread_whatever_the_environment_says():
    program = (
        "import stages, numpy, scipy.linalg, sklearn.svm, json, threadpoolctl;"
        "print(json.dumps([p['num_threads'] for p in threadpoolctl.threadpool_info()]))"
    )
    env = os.environ | dict.fromkeys(THREAD_VARIABLES, "8")
    result = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    counts = json.loads(result.stdout)
    assert counts
    assert set(counts) == {1}


def test_pinning_reaches_libraries_that_are_loaded_already():
    program = (
        "import numpy, scipy.linalg, json, threadpoolctl;"
        "from mlcore.process import pin_threads; pin_threads();"
        "print(json.dumps([p['num_threads'] for p in threadpoolctl.threadpool_info()]))"
    )
    env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
    result = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert set(json.loads(result.stdout)) == {1}


def test_the_fingerprint_names_what_the_bits_depend_on():
    found = fingerprint()
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["blas"]
    assert json.loads(json.dumps(found)) == found
