"""The pipeline's outline, against one worked by hand and against DVC's own graph."""

from pathlib import Path

import networkx as nx
import pytest
import yaml
from dvc.repo import Repo

from mlcore.pipeline.dvc_yaml import outline

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("out", "dep", "takes"),
    [
        ("data/a.npz", "data/a.npz", True),
        ("data/a.npz", "data", True),
        ("data", "data/a.npz", True),
        ("data/${item.x}.npz", "data", True),
        ("data/raw/${item.x}", "data/raw/mnist", True),
        ("data/${item.x}.npz", "data/${item.x}.npz", True),
        ("data/a.npz", "data/b.npz", False),
        ("data2/a.npz", "data", False),
        ("data/a.npz", "data/a", False),
    ],
)
def test_a_stage_takes_what_another_makes(out, dep, takes):
    first = {"cmd": "", "deps": [], "outs": [{out: {"cache": False}}]}
    second = {"cmd": "", "deps": [dep], "metrics": ["m.json"]}
    stages = outline({"stages": {"first": first, "second": second}})
    made = {stage.name: stage.needs for stage in stages}
    assert made == {"first": [], "second": ["first"] if takes else []}


@pytest.mark.filterwarnings("ignore:.*_NoneStep:DeprecationWarning")  # of DVC's own
def test_the_outline_is_dvcs_graph():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    with Repo(str(ROOT)) as repo:
        graph = nx.relabel_nodes(repo.index.graph, lambda stage: stage.addressing.split("@")[0])
        addresses = {stage.addressing for stage in repo.index.stages}
    expected = {name: set(graph.successors(name)) for name in pipeline["stages"]}
    assert {stage.name: set(stage.needs) for stage in outline(pipeline)} == expected
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert {name for stage in outline(pipeline) for name in stage.names(params)} == addresses
