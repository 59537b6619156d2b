"""Measure the network beside its peers: ``python -m benchmarks``, or ``make bench``.

Writes results.json and results.md.
"""

import os
import platform
import sys
from pathlib import Path

from benchmarks import measures
from benchmarks.report import markdown
from mlcore.files import atomic_path, read_json, write_json
from mlcore.process import checkout, fingerprint, pin_threads

ROUNDS = 5
EPOCHS = 15
"""Of each training in a round: those of the study take 25 to 100; in a few, what a fit does once
weighs too much."""


def machine():
    """Describe the machine, beyond `fingerprint`."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {"cpu": model or platform.processor(), "cores": os.cpu_count(), **fingerprint()}


def main():
    """Measure and write."""
    root = checkout()
    data, out = root / "data" / "mnist.npz", root / "benchmarks"
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("error: the benchmark pins processes to cores, which needs Linux")
    if not data.is_file():
        sys.exit(f"error: there is no {data}; `make bench` makes it")
    pin_threads()  # here, for the processes that are started
    plan = measures.Plan(data, max(os.sched_getaffinity(0)), ROUNDS, EPOCHS)
    results = {
        # First, because it is what a mistake elsewhere in the project would break
        "peak_memory_mib": measures.peak_memory(root),
        "machine": machine(),
        "settings": {"rounds": ROUNDS, "epochs": EPOCHS},
        **measures.contest(plan),
        "grid": measures.grid(plan),
    }
    write_json(out / "results.json", results)
    with atomic_path(out / "results.md") as temporary:
        page = markdown(read_json(out / "results.json"))
        temporary.write_text(page, encoding="utf-8")
    measures.say("wrote results.json and results.md")


if __name__ == "__main__":
    main()
