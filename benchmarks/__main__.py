"""Measure the network beside its peers: ``python -m benchmarks``, or ``make bench``.

Writes results.json and results.md.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import measures
from benchmarks.report import markdown
from mlcore.files import atomic_path, read_json, write_json
from mlcore.process import fingerprint

HERE = Path(__file__).parent


def machine():
    """Describe the machine, beyond `fingerprint`."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {"cpu": model or platform.processor(), "cores": os.cpu_count(), **fingerprint()}


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    # The trainings of the study take 25 to 100; in a few, what a fit does once weighs too much
    parser.add_argument("--epochs", type=int, default=15, help="per contestant and round")
    parser.add_argument("--growth-rounds", type=int, default=3)
    parser.add_argument("--growth-epochs", type=int, default=2, help="per shape and round")
    parser.add_argument("--grid-rounds", type=int, default=3)
    parser.add_argument("--grid-epochs", type=int, default=15, help="per cell")
    parser.add_argument("--data", type=Path, default=measures.ROOT / "data" / "mnist.npz")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("error: the benchmark pins processes to cores, which needs Linux")
    if not options.data.is_file():
        sys.exit(f"error: there is no {options.data}; `make bench` makes it")
    core, data = max(os.sched_getaffinity(0)), options.data
    results = {
        "machine": machine(),
        "settings": {
            key: value for key, value in vars(options).items() if key not in ("data", "out")
        },
        # First, because it is what a mistake elsewhere in the project would break
        "peak_memory_mib": measures.peak_memory(),
        **measures.contest(options.rounds, options.epochs, core, data),
        "profile": measures.profile(options.epochs, core, data),
        "growth": measures.growth(options.growth_rounds, options.growth_epochs, core, data),
        "grid": measures.grid(options.grid_rounds, options.grid_epochs, data),
    }
    write_json(options.out / "results.json", results)
    with atomic_path(options.out / "results.md") as temporary:
        page = markdown(read_json(options.out / "results.json"))
        temporary.write_text(page, encoding="utf-8")
    measures.say("wrote results.json and results.md")


if __name__ == "__main__":
    main()
