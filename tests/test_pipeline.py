"""Contracts of dvc.yaml: what it names is what the code needs, and what is committed fits it."""

import re
from pathlib import Path

import grimp
import pytest
import yaml
from dvc.repo import Repo

from mlcore.config import Config
from mlcore.files import atomic_path, read_json
from mlcore.process import git

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

STALE = "run `make repro` and commit dvc.lock and metrics/ with the change"

WHOLE = ("mlcore/nn", "mlcore/plotting", "mlcore/report")
"""Rooms that stages name as one; of the others they name the files, so that less is run again."""

WITHOUT_INFLUENCE = ("mlcore.app", "mlcore.config", "mlcore.sweeps", "mlcore.tracking")
"""They bring parameters to a stage and watch it, and can change no result."""


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph(
        *("mlcore", "stages", "hydra_plugins.retrace_dask"),
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )


def reached(graph, module):
    """A stage's module and every mlcore module with influence that it imports, directly or not."""
    found, queue = {module}, [module]
    while queue:
        for name in graph.find_modules_directly_imported_by(queue.pop()) - found:
            if name.startswith("mlcore.") and not name.startswith(WITHOUT_INFLUENCE):
                found.add(name)
                queue.append(name)
    return found


def dependency_of(module):
    """The path that stands for a module in deps: its file, or its room if that is named whole."""
    path = module.replace(".", "/")
    room = "/".join(module.split(".")[:2])
    if room in WHOLE:
        return room
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


NUMERIC = {"numpy", "pandas", "scipy", "skimage", "sklearn"}


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(imports, stage):
    """With the versions of what it computes with, where it does."""
    (module,) = re.findall(r"-m (stages\.\w+)", STAGES[stage]["cmd"])
    modules = reached(imports, module)
    # A package's __init__ runs before its modules: that of stages pins the threads, mlcore's has
    # no influence
    needed = {dependency_of(name) for name in modules | reached(imports, "stages")}
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("mlcore/", "stages/"))}
    assert needed == named
    used = {p for m in modules for p in imports.find_modules_directly_imported_by(m)} & NUMERIC
    assert ("requirements.numeric.txt" in STAGES[stage]["deps"]) == bool(used)


SECTIONS = {"train_network": "network", "fit_classifier": "classifier",
            "train_autoencoder": "autoencoder"}  # fmt: skip
SET_BY_THE_MATRIX = {"activation", "init", "method"}
OF_OTHERS = {"fit_classifier": {"features.seed"}}


@pytest.mark.parametrize(("stage", "section"), SECTIONS.items())
def test_a_cell_depends_on_every_parameter_of_its_part(stage, section):
    fields = set(Config.model_fields[section].annotation.model_fields) - SET_BY_THE_MATRIX
    own = {f"{section}.{field}" for field in fields}
    assert set(STAGES[stage]["params"]) == own | OF_OTHERS.get(stage, set())


def test_the_network_imports_nothing_else_of_the_project(imports):
    modules = {"mlcore.nn", *imports.find_descendants("mlcore.nn")}
    found = {name for m in modules for name in imports.find_modules_directly_imported_by(m)}
    assert {name for name in found if name.startswith(("mlcore", "stages"))} <= modules


@pytest.mark.parametrize(
    ("package", "importers"),
    [
        ("hydra", {"mlcore.config.compose", "mlcore.config.hydra_app",
                   "hydra_plugins.retrace_dask.launcher"}),
        ("matplotlib", {f"mlcore.plotting.{name}" for name in
                        ("curves", "diagrams", "images", "rows", "style", "tables")}),
        ("mlflow", {f"mlcore.tracking.{name}" for name in ("serving", "store", "table")}),
        ("distributed", {"mlcore.sweeps.cluster"}),
    ],
)  # fmt: skip
def test_each_framework_enters_in_one_place(imports, package, importers):
    assert imports.find_modules_that_directly_import(package) == importers


@pytest.fixture(scope="module")
def repo():
    with Repo(str(ROOT)) as repo:
        yield repo


@pytest.mark.parametrize("folder", ["data/features", "history/network", "metrics", "models"])
def test_what_killed_writes_leave_is_ignored(repo, tmp_path, folder):
    """Else it would count as part of a folder that a stage depends on."""
    with atomic_path(tmp_path / "tanh-normal.npz") as ours:
        for name in (ours.name, f".{'x' * 22}.tmp"):  # the second as DVC has it
            left = str(ROOT / folder / name)
            assert repo.dvcignore.is_ignored_file(left)
            assert git(ROOT, "check-ignore", left)
        assert git(ROOT, "check-ignore", str(ROOT / ours.name))  # of dvc.lock and its like


def test_the_lock_fits_code_and_parameters(repo):
    """Data and models may be missing, as in a fresh clone."""
    stages = repo.index.stages
    with repo.lock:
        stale = [s.addressing for s in stages if s.changed(allow_missing=True, upstream=stages)]
    assert not stale, f"out of date: {', '.join(stale)}; {STALE}"


def test_the_times_on_the_page_are_of_stages_that_there_are(repo):
    timed = read_json(ROOT / "benchmarks" / "repro.json")["stages"]
    assert {"worked_examples"} <= timed.keys() <= {s.addressing for s in repo.index.stages}


def test_the_results_in_git_have_the_hashes_that_the_lock_says(repo):
    """Of these, none may be missing."""
    outs = [out for out in repo.index.outs if not out.use_cache]
    assert len(outs) >= len(STAGES)
    changed = {path: word for out in outs for path, word in out.status().items()}
    assert changed == {}, STALE


def test_every_file_of_metrics_is_made_or_read_by_a_stage(repo):
    known = {Path(item.fs_path) for item in [*repo.index.outs, *repo.index.deps]}
    known |= {ROOT / "metrics" / name for name in ("README.md", "study_models.json")}
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "metrics")
    paths = [ROOT / name for name in listed.splitlines()]
    assert paths
    assert [path for path in paths if known.isdisjoint([path, *path.parents])] == []
