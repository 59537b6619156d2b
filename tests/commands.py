"""Run every command of README.md and docs/, block by block, in the smoke copy of the project.

Commands run as they are told, on a small part of the data; what they would take hours for is cut
down here. Run by tests/smoke.sh, at the top of the copy.
"""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import yaml
from servers import serving

LIMIT = 600
STARTS = 60
"""Seconds that a block, and the start of a server, may take."""

CUT = {
    "SEEDS=10": "SEEDS=1",
    "--seeds 3": "--seeds 1",
    "range(5)": "range(2)",
    "tanh-normal classify_features@relu": "tanh-normal",  # `make verify` of CI has the second
}
"""What to say in place of what would take long."""

SKIPPED = ("make smoke", "make test", "RETRACE_FUZZ=", "RETRACE_KILLS=")
"""What runs this, and tests."""

SERVERS = ("make ui", "make server")


def blocks(language):
    """The blocks of code in the documents, with the file that each is in."""
    for path in [Path("README.md"), *sorted(Path("docs").glob("*.md"))]:
        for block in re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL):
            yield path, block


def cut_sweeps():
    """Leave one sweep for each list of stages, of it one seed, and of lists of values the first."""
    for path in Path("sweeps").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        kept = {}
        for name, sweep in content["sweeps"].items():
            sweep["seeds"] = 1
            sweep["overrides"] = [cut(override) for override in sweep["overrides"]]
            kept.setdefault(tuple(sweep["stages"]), {name: sweep})
        content["sweeps"] = {name: s for one in kept.values() for name, s in one.items()}
        path.write_text(yaml.safe_dump(content))


def cut(override):
    """Keep the first value of an override: of ``range(0,5)`` 0, of ``[1],[2]`` the list [1]."""
    key, _, values = override.partition("=")
    values = re.sub(r"range\((\d+),.*\)", r"\1", values)
    first = re.match(r"\[[^]]*\]|[^,]*", values)[0]
    return f"{key}={first}"


def run(block):
    """Run a block; returns what failed, or None if all went well."""
    lines = []
    with ExitStack() as servers:
        for line in block.splitlines():
            command = line.partition(" #")[0].strip()
            if command.startswith(SERVERS):
                served = "bash", "-c", f"exec {command} PORT=$0"
                servers.enter_context(serving(*served, seconds=STARTS, end=signal.SIGINT))
            elif not command.startswith(SKIPPED):
                lines.append(line)
        script = "\n".join(lines)
        for long, short in CUT.items():
            script = script.replace(long, short)
        done = subprocess.run(["bash", "-e", "-c", script], check=False, timeout=LIMIT)
    return script if done.returncode else None


def main():
    """Run all blocks; returns the exit code."""
    cut_sweeps()
    for _, block in blocks("yaml"):  # files that commands take are named in their first line
        Path(block.splitlines()[0].removeprefix("# ")).write_text(block)
    for path, block in blocks("sh"):
        began = time.monotonic()
        print(f"== {path}:\n{block}", flush=True)
        if failed := run(block):
            print(f"error: {path}: this does not work:\n{failed}", file=sys.stderr)
            return 1
        print(f"== {time.monotonic() - began:.0f} s", flush=True)
    print("every command of README.md and docs/ ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
