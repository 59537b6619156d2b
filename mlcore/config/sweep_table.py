"""The table that a sweep ends with: what each job was given, and the number that counts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from mlcore.files import read_json, write_json

BETTER = {"val_accuracy": max, "val_loss": min}
"""Numbers that a job may be chosen by, the first that there is; which of two is better."""
SHOWN = (*BETTER, "test_accuracy", "test_loss")
"""Numbers that count, the first that there is; by those of the test part none is chosen."""


def number(metrics: Mapping[str, float]) -> float | None:
    """Give the number that counts; None if there is none."""
    return next((metrics[name] for name in SHOWN if name in metrics), None)


def told(overrides: Sequence[str]) -> list[str]:
    """Leave out what says nothing of the result, and what sets nothing."""
    return [o for o in overrides if "=" in o and not o.startswith(("hydra", "tracking"))]


def note(folder: Path, job: int, overrides: Sequence[str], outcome: Mapping[str, Any]) -> None:
    """Note of a job, in whatever process it ran, its final metrics or its "error"."""
    write_json(folder / f"{job}.json", {"overrides": told(overrides), **outcome})


def table(folder: Path) -> str:
    """Give the table of the jobs that were noted, of their overrides those that differ."""
    jobs = {int(path.stem): read_json(path) for path in folder.glob("*.json")}
    shared = set.intersection(*(set(job["overrides"]) for job in jobs.values())) if jobs else set()
    known = {name for job in jobs.values() for name in job}
    name = next((name for name in SHOWN if name in known), "")
    values = {number: job[name] for number, job in jobs.items() if name in job}
    best = BETTER[name](values.values()) if name in BETTER and len(values) > 1 else None
    rows = [
        [
            number,
            " ".join(o for o in job["overrides"] if o not in shared or len(jobs) == 1),
            "failed" if "error" in job else f"{values[number]:.4f}" if number in values else "done",
            "best" if best is not None and values.get(number) == best else "",
        ]
        for number, job in sorted(jobs.items())
    ]
    return tabulate(rows, ["job", "overrides", name, ""], disable_numparse=True) if rows else ""
