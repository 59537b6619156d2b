"""requirements.lock is what requirements.in needs: no more, no less, and nothing unchecked."""

import ast
import re
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
STALE = "run `make lock`"


def lines(name):
    """The logical lines of a requirements file, without comments."""
    text = (ROOT / name).read_text().replace("\\\n", "")
    return [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]


@pytest.fixture(scope="module")
def pins():
    """The pinned version of each package that belongs on this machine and this Python."""
    pinned = [Requirement(line.partition("--hash")[0]) for line in lines("requirements.lock")]
    here = [pin for pin in pinned if pin.marker is None or pin.marker.evaluate()]
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in here}
    assert len(versions) == len(here)
    return versions


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.uv.txt"])
def test_the_lock_holds_nothing_but_exact_versions_with_hashes(name):
    """An option, such as an index, or an address would let something else in."""
    pin = r"[a-z0-9-]+==[^ ;@]+( +; [^@]+?)?( +--hash=sha256:[0-9a-f]{64})+"
    assert [line for line in lines(name) if not re.fullmatch(pin, line)] == [], STALE


def test_every_requirement_is_pinned_at_a_version_that_it_admits(pins):
    """Of requirements.in, and of every package that it brings in; and nothing else is pinned."""
    queue = [(Requirement(line), "requirements.in") for line in lines("requirements.in")]
    done, unmet = set(), []
    while queue:
        wanted, by = queue.pop()
        name = canonicalize_name(wanted.name)
        if name not in pins or not wanted.specifier.contains(pins[name], prereleases=True):
            unmet.append(f"{by} needs {wanted}, the lock has {pins.get(name)}")
        elif (key := (name, frozenset(wanted.extras))) not in done:
            done.add(key)
            queue += [(needed, name) for needed in needs(name, wanted.extras or {""})]
    assert unmet == [], STALE
    assert set(pins) - {name for name, _ in done} == set(), STALE


def needs(name, extras):
    """What an installed package with these extras needs here."""
    for needed in map(Requirement, distribution(name).requires or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            yield needed


def test_what_is_imported_is_required_by_name():
    """What only another package brings in, can go with that package's next version."""
    required = {canonicalize_name(Requirement(line).name) for line in lines("requirements.in")}
    provider = packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("mlcore", "stages", "hydra_plugins", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path) - sys.stdlib_module_names
        if name in provider and required.isdisjoint(map(canonicalize_name, provider[name]))
    }
    assert missing == set()


def imported(path):
    """The top-level names of the modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_the_numeric_versions_are_those_of_the_lock(pins):
    """The stages depend on this short list in place of the whole lock."""
    numeric = {"numpy", "pandas", "scikit-image", "scikit-learn", "scipy"}
    assert lines("requirements.numeric.txt") == [f"{n}=={pins[n]}" for n in sorted(numeric)], STALE
