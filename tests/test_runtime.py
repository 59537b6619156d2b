"""Seeds, threads, and the description of the machine."""

import json
import os
import subprocess
import sys

import numpy as np

from mlcore.runtime import THREAD_VARIABLES, derive_seed, fingerprint


def test_a_seed_depends_on_every_name_and_on_nothing_else():
    names = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",)]
    seeds = [derive_seed(42, *name) for name in names] + [derive_seed(43, "a")]
    assert len(set(seeds)) == len(seeds)
    assert seeds[1] == derive_seed(42, "a")
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_seed_is_that_of_numpys_seed_sequence():
    entropy = [42, int.from_bytes(b"tanh", "big")]
    assert derive_seed(42, "tanh") == np.random.SeedSequence(entropy).generate_state(1)[0]


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
        "from mlcore.runtime import pin_threads; pin_threads();"
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
