"""The process: one BLAS thread, seeds, a fingerprint of what the bits depend on, and git."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlcore.errors import RetraceError

THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


def checkout() -> Path:
    """Give the top of the checkout that this code is in; most functions are handed a root."""
    return Path(__file__).parents[1]


def pin_threads() -> None:
    """Hold BLAS and OpenMP to one thread in this process and in those it starts.

    The number of threads changes the order of summation and with it the bits. The environment
    counts for libraries loaded from now on and for child processes, threadpoolctl for what is
    loaded already.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=1)


def derive_seed(seed: int, *names: str) -> int:
    """Derive the seed of one random choice from the study's seed and the choice's name.

    Every choice gets a stream of its own, so that adding one leaves the others as they were. The
    names are for example those of the stage and its activation; the seed is in 0 .. 2**32 - 1, as
    scikit-learn's `random_state` takes it.
    """
    import numpy

    # Hashed as a list: ("ab",) and ("a", "b") are different choices
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int(numpy.random.SeedSequence([seed, *digest]).generate_state(1)[0])


def fingerprint() -> dict[str, Any]:
    """Describe what the bits of a result depend on besides code, parameters and data.

    Machine architecture, versions of Python and of the numerical libraries, the BLAS kernel in use
    and the SIMD extensions that NumPy found.
    """
    import numpy
    import scipy
    import sklearn
    import threadpoolctl

    blas = [
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]
    simd = numpy.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "blas": sorted(set(blas)),
        "simd": sorted({*simd.get("baseline", []), *simd.get("found", [])}),
    }


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; returns what it prints, without white space around it.

    Raises RetraceError if it is not installed, or fails; with its reason.
    """
    return git_output(folder, *arguments).decode(errors="replace").strip()


def git_output(folder: Path, *arguments: str, **variables: str) -> bytes:
    """Run git in a folder, with further environment variables; returns its output to the byte.

    Raises RetraceError if it is not installed, or fails; with its reason.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            env=os.environ | variables,
            check=True,
        )
    except OSError as error:
        raise RetraceError(f"git: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
        raise RetraceError(f"git {arguments[0]}: {told.splitlines()[0]}") from None
    return done.stdout
