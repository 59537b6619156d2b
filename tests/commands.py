"""Run the commands of README.md and docs/, block by block, in the smoke copy of the project.

They run as they are told, on a small part of the data; what would take hours is cut down here, what
tests run is left out. Two documents at a time, the second in a copy of the copy. Run by
tests/smoke.sh, at the top of the copy.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

import yaml
from servers import serving

LIMIT = 600  # seconds that a block may take
BESIDE = ("cluster.md", "experiments.md")
"""Documents of the second copy, which has no MLflow store; they take as long as all others."""

CUT = {
    "SEEDS=10": "SEEDS=1",
    "--seeds 3": "--seeds 1",
    "range(5)": "range(2)",
    "tanh-normal classify_features@relu": "tanh-normal",  # `make verify` of CI has the second
}
"""What to say in place of what would take long."""

SKIPPED = r"make smoke|make test|RETRACE_FUZZ=|RETRACE_KILLS=|.* hydra.run.dir=outputs/tutorial/"
"""What runs this, tests, and what the tutorial's notebook has, which a test runs."""

SERVERS = ("make ui", "make server")


def blocks(document, language):
    """The blocks of code in a document."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def cut_sweeps():
    """Leave a sweep for each list of stages, over all files, with one seed and the first values."""
    known = set()
    for path in sorted(Path("sweeps").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        kept = {}
        for name, sweep in content["sweeps"].items():
            sweep["seeds"] = 1
            sweep["overrides"] = [cut(override) for override in sweep["overrides"]]
            kept.setdefault(tuple(sweep["stages"]), {name: sweep})
        new = [one for stages, one in kept.items() if stages not in known] or [{name: sweep}]
        known |= kept.keys()
        content["sweeps"] = {name: sweep for one in new for name, sweep in one.items()}
        path.write_text(yaml.safe_dump(content))


def cut(override):
    """Keep the first value of an override: of ``range(0,5)`` 0, of ``[1],[2]`` the list [1]."""
    key, _, values = override.partition("=")
    values = re.sub(r"range\((\d+),.*\)", r"\1", values)
    first = re.match(r"\[[^]]*\]|[^,]*", values)[0]
    return f"{key}={first}"


def run(block, copy, served):
    """Run a block in a copy; returns what failed, or None. Starts a server once, see `served`."""
    lines = []
    with ExitStack() as servers, TemporaryFile("w+") as said:
        for line in block.splitlines():
            command = line.partition(" #")[0].strip()
            if command.startswith(SERVERS) and command not in served:
                served.add(command)
                start = "bash", "-c", f"exec {command} PORT=$0"
                servers.enter_context(serving(*start, end=signal.SIGINT, cwd=copy))
            elif not command.startswith(SERVERS) and not re.match(SKIPPED, command):
                lines.append(line)
        script = "\n".join(lines)
        for long, short in CUT.items():
            script = script.replace(long, short)
        about = {"cwd": copy, "stdout": said, "stderr": subprocess.STDOUT, "timeout": LIMIT}
        try:
            done = subprocess.run(["bash", "-e", "-c", script], check=False, **about)
        finally:
            said.seek(0)
            print(said.read(), flush=True)
    return script if done.returncode else None


def follow(copy, documents):
    """Run the blocks of documents in a copy; returns whether all went well."""
    served = set()
    for document in documents:
        for block in blocks(document, "sh"):
            began = time.monotonic()
            print(f"== {document}:\n{block}", flush=True)
            if failed := run(block, copy, served):
                print(f"error: {document}: this does not work:\n{failed}", file=sys.stderr)
                return False
            print(f"== {document}: {time.monotonic() - began:.0f} s", flush=True)
    return True


def main():
    """Run all documents; returns the exit code."""
    documents = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
    cut_sweeps()
    for document in documents:
        for block in blocks(document, "yaml"):  # files that commands take: their first line says so
            Path(block.splitlines()[0].removeprefix("# ")).write_text(block)
    here = Path.cwd()
    beside = here.with_name(f"{here.name}-beside")
    shutil.rmtree(beside, ignore_errors=True)
    of_here = shutil.ignore_patterns("mlflow.db", "mlruns")  # a store knows its checkout
    shutil.copytree(here, beside, symlinks=True, ignore=of_here)
    parts = [[d for d in documents if (d.name in BESIDE) == where] for where in (False, True)]
    with ThreadPoolExecutor(2) as pool:
        if not all(pool.map(follow, (here, beside), parts)):
            return 1
    print("the commands of README.md and docs/ ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
