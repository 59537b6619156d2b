"""Seeds, threads, and the description of the machine."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from mlcore.process import THREAD_VARIABLES, derive_seed, fingerprint


def told_by(program, **variables):
    """What a process says that runs a program, with no variables for threads but these."""
    env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES} | variables
    return subprocess.check_output([sys.executable, "-c", program], env=env, text=True)


def test_a_seed_depends_on_every_name_and_on_nothing_else():
    choices = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",)]
    choices += [("abcdefgh",), ("efgh", "abcd")]  # names that read alike together
    choices += [(f"{a}{b}",) for a in "abcdefghij" for b in range(100)]
    seeds = [derive_seed(42, *names) for names in choices] + [derive_seed(43, "a")]
    assert len(set(seeds)) == len(seeds)
    assert seeds[1] == derive_seed(42, "a")
    assert all(0 <= seed < 2**32 for seed in seeds)
    program = "from mlcore.process import derive_seed; print(derive_seed(42, 'network', 'tanh'))"
    results = {told_by(program, PYTHONHASHSEED=seed) for seed in ("1", "2")}
    assert results == {f"{derive_seed(42, 'network', 'tanh')}\n"}


COUNT = """
import json, numpy, scipy.linalg, sklearn.svm, threadpoolctl
{}
print(json.dumps([library["num_threads"] for library in threadpoolctl.threadpool_info()]))
"""


@pytest.mark.parametrize(
    ("program", "variables"),
    [
        ("import stages\n" + COUNT.format(""), dict.fromkeys(THREAD_VARIABLES, "8")),
        (COUNT.format("from mlcore.process import pin_threads; pin_threads()"), {}),
    ],
    ids=["whatever the environment says", "in libraries that are loaded already"],
)
def test_there_is_one_thread(program, variables):
    assert set(json.loads(told_by(program, **variables))) == {1}


def test_the_fingerprint_names_what_the_bits_depend_on():
    found = fingerprint()
    assert found["numpy"] == version("numpy")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["blas"]
    assert json.loads(json.dumps(found)) == found
