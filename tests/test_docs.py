"""README.md and docs/: what they show is what is committed, and what they name is there.

Their commands are run by `make smoke`; the recipes of CONTRIBUTING.md in test_contributing.py.
"""

import re
import shlex
from pathlib import Path

from mlcore.config import compose
from mlcore.files import read_json
from mlcore.report import findings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]


def blocks(language):
    text = "".join(path.read_text() for path in [ROOT / "README.md", *DOCS])
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


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


def test_the_verdict_is_that_of_the_results():
    told = README.partition("<!-- verdict -->\n")[2].partition("\n<!-- /verdict -->")[0]
    title, *sentences = findings.lines(read_json(ROOT / "metrics" / "verdict.json"))
    assert told == f"**{title}.** {' '.join(sentences)}"
