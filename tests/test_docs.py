"""README.md and docs/: what they show is what is committed, and what they name is there.

Their commands are run by `make smoke`; the recipes of CONTRIBUTING.md in test_contributing.py,
the numbers of docs/method.md and docs/tutorial.md in tests of their own.
"""

import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

from mlcore.config import compose
from mlcore.files import read_json
from mlcore.report import findings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))


def blocks(language):
    text = "".join(path.read_text() for path in [ROOT / "README.md", *DOCS])
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands():
    lines = "".join(blocks("sh")).splitlines()
    return list(filter(None, (shlex.split(line, comments=True) for line in lines)))


def test_every_make_target_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [word for first, *rest in commands() if first == "make" for word in rest]
    named = {word for word in made if "=" not in word}
    pages = (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    named |= set(re.search(r"run: make (.*)", pages)[1].split())
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named |= set(re.findall(r"(?:^|`)make ([a-z-]+)", contributing, re.MULTILINE))
    assert named
    assert named <= set(targets)


def test_every_link_leads_somewhere():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]:
        for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", path.read_text()):
            leads = "".join(target)
            # The workflow's badge is on the host of the repository
            if not leads.startswith(("../../actions/", "../../deployments/")):
                assert (path.parent / leads).exists(), target


def test_every_override_is_accepted():
    words = [word for command in commands() for word in command]
    overrides = [word for word in words if re.match(r"(?!hydra)[a-z_]+\.[a-z_.]+=", word)]
    assert len(overrides) >= 5
    for override in overrides:
        key, _, value = override.partition("=")
        first = value if value.startswith("[") else value.split(",")[0]
        compose(ROOT / "conf", [f"{key}={'0' if first.startswith('range') else first}"])


def test_the_example_trains(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    assert float(capsys.readouterr().out) > 0.95


def test_the_verdict_is_that_of_the_results():
    told = README.partition("<!-- verdict -->\n")[2].partition("\n<!-- /verdict -->")[0]
    verdict = read_json(ROOT / "metrics" / "verdict.json")
    told_of = zip(findings.HEADINGS, findings.summary(verdict), strict=True)
    lines = [f"- **{heading}** {sentences}" for heading, sentences in told_of]
    assert told.splitlines() == [f"**{findings.title(verdict)}.**", "", *lines]


METRICS = ROOT / "metrics"
TABLES = sorted(path.relative_to(METRICS).as_posix() for path in METRICS.rglob("*.csv"))


def names(text):
    return re.findall(r"`([\w*]+)`", text)


def first_column(text, heading):
    rows = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[1:]
    return [name for row in rows for name in names(row.split("|")[1])]


def columns_told():
    """What metrics/README.md says that each table has: names, or patterns of names."""
    text = (METRICS / "README.md").read_text()
    final = first_column(text, "metric")
    told = {}
    for files, columns in re.findall(r"^\| (`[^|]*csv`) \| (.*) \|$", text, re.MULTILINE):
        for file in re.findall(r"`([\w/]+\.csv)`", files):
            told[file] = names(columns) + (final if "final metrics" in columns else [])
    return told | {"verdict.csv": first_column(text, "column of `verdict.csv`")}


def test_every_column_of_every_table_is_explained():
    told = columns_told()
    assert sorted(told) == TABLES
    for file, patterns in told.items():
        columns = (METRICS / file).read_text().partition("\n")[0].split(",")
        unexplained = [c for c in columns if not any(fnmatchcase(c, p) for p in patterns)]
        gone = [p for p in patterns if not any(fnmatchcase(c, p) for c in columns)]
        assert (unexplained, gone) == ([], []), file


def test_the_rooms_are_those_of_the_import_contract():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("| room of `mlcore/` |")[2].partition("\n\n")[0].splitlines()[2:]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    modules = [[module.removeprefix("mlcore.") for module in line.split(" | ")] for line in layers]
    rooms = [[module.partition(".")[0] for module in line] for line in modules]
    assert [names(row.split("|")[1]) for row in table] == rooms
