"""README.md and docs/: what they show is what is committed, and what they name is there.

Their commands are run by `make smoke`; the recipes of CONTRIBUTING.md in test_contributing.py,
the numbers of docs/method.md and docs/tutorial.md in tests of their own.
"""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

from mlcore.config import compose

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
    pages = (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    named |= set(re.search(r"run: make (.*)", pages)[1].split())
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
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    assert float(capsys.readouterr().out) > 0.95


def verdict_paragraph():
    """What the first screen says, from the committed verdict."""
    verdict = json.loads((ROOT / "metrics" / "verdict.json").read_text())
    trained, by_hand = verdict["numbers"]["trained"], verdict["numbers"]["arithmetic"]
    claims, joint = verdict["by_claim"].values(), verdict["joint"]
    others = [
        f"`{path.split('.', 1)[1]}`"
        for path, number in verdict["by_number"].items()
        if number["verdict"] == "not reproduced"
    ]
    named = f" ({', '.join(others)})" if others else ""

    def runs(section):
        counted = {n["n"] for path, n in verdict["by_number"].items()
                   if path.startswith(section) and n["kind"] == "trained"}  # fmt: skip
        return " to ".join(map(str, sorted({min(counted), max(counted)})))

    tested = [c for c in claims if c["verdict"] in ("supported", "refuted", "undecided")]
    counts = {word: sum(c["verdict"] == word for c in tested) for word in ("supported", "refuted")}
    lines = [
        f"**The verdict.** The study printed {sum(trained.values())} numbers of trained models. "
        f"{trained['exact']} come out to the last digit from its own networks; of the others "
        f"{trained['reproduced']} are reproduced, {trained['consistent']} consistent with our "
        f"runs, {trained['differs, immaterially']} differ immaterially, "
        f"{trained['not reproduced']} are not reproduced{named}, {trained['not testable']} cannot "
        f"be tested. All {joint['3.2']['df']} numbers of its section 3.2 together: chi-square "
        f"{joint['3.2']['chi2']:.1f}, p = {joint['3.2']['p']:.2f}. Of {sum(by_hand.values())} "
        f"numbers worked by hand or counted {by_hand['exact']} are exact. Of "
        f"{len(claims)} things that the report says, {len(tested)} are claims that runs can test: "
        f"{counts['supported']} are supported, {counts['refuted']} refuted, "
        f"{len(tested) - sum(counts.values())} undecided. All of this is provisional: so far the "
        f"networks have {runs('mnist_grid')} seeds, section 3.2 has {runs('fashion_classifier')} "
        f"draws of images, 3.5 has {runs('bottleneck_probe')}, the search "
        f"{runs('fashion_search')}. Refuted so far are:",
        "",
        *(f"- {claim['text']}" for claim in tested if claim["verdict"] == "refuted"),
    ]
    return "\n".join(lines)


def test_the_verdict_is_that_of_the_results():
    told = README.partition("<!-- verdict -->\n")[2].partition("\n<!-- /verdict -->")[0]
    assert told == verdict_paragraph()


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
    assert [names(row.split("|")[1]) for row in table] == [
        [module.partition(".")[0] for module in line] for line in modules
    ]
