"""README.md and docs/: what they show is what is committed, and what they name is there.

Their commands are run by `make smoke`; the recipes of CONTRIBUTING.md in test_contributing.py.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mlcore.config import compose
from mlcore.judging.claims import CLAIMS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]


def blocks(language):
    text = "".join(path.read_text() for path in [ROOT / "README.md", *DOCS])
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("command", ["dvc metrics show"])
def test_output_that_is_shown_is_the_commands_own(command):
    (shown,) = [block for block in blocks("text") if block.startswith(f"$ {command}\n")]
    real = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split() for line in shown.splitlines()[1:]] == [
        line.split() for line in real.stdout.splitlines()
    ]


def commands():
    lines = "".join(blocks("sh")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


def test_every_make_target_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {
        word for words in commands() if words[0] == "make" for word in words[1:] if "=" not in word
    }
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named |= set(re.findall(r"(?:^|`)make ([a-z-]+)", contributing, re.MULTILINE))
    assert named
    assert named <= set(targets)


def test_every_link_leads_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", path.read_text()):
            assert (path.parent / "".join(target)).exists(), f"{path.name}: {target}"


def test_every_override_is_accepted():
    overrides = [
        word
        for words in commands()
        for word in words
        if re.match(r"[a-z_]+\.[a-z_.]+=", word) and not word.startswith("hydra")
    ]
    assert len(overrides) >= 5
    for override in overrides:
        key, _, value = override.partition("=")
        first = value if value.startswith("[") else value.split(",")[0]
        compose(ROOT / "conf", [f"{key}={'0' if first.startswith('range') else first}"])


def test_the_example_trains(capsys):
    (code,) = blocks("python")
    exec(code, {})
    assert float(capsys.readouterr().out) > 0.95


def verdict_paragraph():
    """What the first screen says, from the committed verdict."""
    verdict = json.loads((ROOT / "metrics" / "verdict.json").read_text())
    exact, trained = verdict["numbers"]["exact"], verdict["numbers"]["trained"]
    claims, coverage = verdict["claims"], verdict["coverage"]
    not_reproduced = [
        f"`{path.split('.', 1)[1]}`"
        for path, number in verdict["by_number"].items()
        if number["verdict"] == "not reproduced"
    ]
    named = f" ({', '.join(not_reproduced)})" if not_reproduced else ""
    lines = [
        f"**The verdict.** The study's {sum(trained.values())} numbers of trained models: "
        f"{trained['reproduced']} reproduced, "
        f"{trained['compatible, too noisy to tell']} compatible but too noisy to tell, "
        f"{trained['differs, immaterially']} differing immaterially, "
        f"{trained['not reproduced']} not reproduced{named}, "
        f"{trained['not testable']} not testable. "
        f"Of {coverage['n_intervals']} intervals {coverage['outside']} miss the printed value; "
        f"if all were true, {coverage['expected_outside']:g} would. "
        f"Its {sum(exact.values())} numbers worked by hand or counted: {exact['reproduced']} "
        f"reproduced, {exact['differs, immaterially']} off by its own rounding. "
        f"Its {sum(claims.values())} claims: {claims['supported']} supported, "
        f"{claims['refuted']} refuted, {claims['undecided']} undecided:",
        "",
        "| claim | |",
        "|---|---|",
        *(
            f"| {claim['text'].rstrip('.')} | {claim['verdict']} |"
            for claim in sorted(
                (verdict["by_claim"][name] for name in CLAIMS), key=lambda c: ORDER[c["verdict"]]
            )
        ),
        "",
        "`metrics/verdict.json` has for each its interval, its evidence and what speaks against "
        "it, and the one command that computes it again.",
    ]
    return "\n".join(lines)


ORDER = {"supported": 0, "undecided": 1, "refuted": 2}


def test_the_verdict_is_that_of_the_results():
    told = README.partition("<!-- verdict -->\n")[2].partition("\n<!-- /verdict -->")[0]
    assert told == verdict_paragraph()
