"""Contracts of dvc.yaml: what it names is what the code needs, and what is committed fits it."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]

CARRIERS = {"mlcore.app", "mlcore.config", "mlcore.tracking"}
"""Modules that bring parameters to a stage and results to the tracker, and change neither."""


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("mlcore", "stages", exclude_type_checking_imports=True)


def module_of(stage):
    return re.search(r"-m (stages\.\w+)", STAGES[stage]["cmd"])[1]


def reached(graph, module):
    """Every mlcore module that a stage imports, directly or not, but through the carriers."""
    found, queue = set(), [module]
    while queue:
        for name in graph.find_modules_directly_imported_by(queue.pop()):
            if name.startswith("mlcore.") and name not in found | CARRIERS:
                found.add(name)
                queue.append(name)
    return found


def dependency_of(module):
    """The path that stands for a module in deps: the file, or the folder mlcore/nn."""
    return "mlcore/nn" if module.startswith("mlcore.nn") else module.replace(".", "/") + ".py"


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(imports, stage):
    module = module_of(stage)
    needed = {dependency_of(name) for name in reached(imports, module)}
    needed.add(module.replace(".", "/") + ".py")
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("mlcore/", "stages/"))}
    assert needed == named


def test_training_does_not_depend_on_plots_tracking_or_configuration():
    for stage, spec in STAGES.items():
        for module in ("app", "config", "tracking"):
            assert f"mlcore/{module}.py" not in spec["deps"], stage
        assert ("mlcore/plotting.py" in spec["deps"]) == (stage == "plot")
