"""The research object: valid by its profile, and the same as dvc.lock."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
import rocrate
import yaml
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester
from urllib3 import HTTPResponse

from mlcore.errors import RetraceError
from mlcore.review.crate import METADATA, main, write_crate

ROOT = Path(__file__).parents[1]
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
DATE, ENDED = "2026-01-02T03:04:05+00:00", "2026-01-01T03:04:05+00:00"


class Offline(HTTPAdapter):
    """Gives the context of RO-Crate's terms that the `rocrate` package carries; nothing else."""

    def send(self, request, **_):
        known = request.url == CONTEXT
        content = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_bytes()
        # It is of a later version, which has moved the terms for workflows
        content = content.replace(b"https://bioschemas.org/terms/", b"https://bioschemas.org/")
        raw = HTTPResponse(
            io.BytesIO(content if known else b""),
            {"Content-Type": "application/ld+json"},
            status=200 if known else 404,
            preload_content=False,
            request_url=request.url,
        )
        return self.build_response(request, raw)


LINKED = ("dvc.yaml", "params.yaml", "requirements.lock", "CITATION.cff", "LICENSE", "README.md")


def copy_results(root):
    """Copy what a crate takes; any content will do for the page, which git does not keep."""
    shutil.copytree(ROOT / "metrics", root / "metrics")
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    page = root / "metrics" / "report.html"
    page.write_text("<!DOCTYPE html>")
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    outs = {entry["path"]: entry for entry in lock["stages"]["report"]["outs"]}
    outs["metrics/report.html"]["md5"] = hashlib.md5(page.read_bytes()).hexdigest()
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    folder, root = tmp_path_factory.mktemp("crate") / "crate", tmp_path_factory.mktemp("root")
    copy_results(root)
    write_crate(root, folder, DATE, ENDED)
    return folder


@pytest.fixture
def found(crate):
    """What is described, by its id."""
    graph = json.loads((crate / METADATA).read_text(encoding="utf-8"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
@pytest.mark.parametrize("profile", ["process-run-crate-0.5", "workflow-run-crate-0.5"])
def test_it_is_valid_by_its_profiles(crate, profile, tmp_path):
    cache = tmp_path / "cache"
    with CachedSession(str(cache), backend="sqlite") as session:
        session.mount("https://", Offline())
        assert session.get(CONTEXT).status_code == 200
    HttpRequester.reset()
    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
        cache_path=cache,
        offline=True,
    )
    result = services.validate(settings)
    assert [f"{i.check.identifier}: {i.message}" for i in result.get_issues()] == []
    assert any(check.identifier.startswith(profile) for check in result.executed_checks)


def test_every_stage_of_the_lock_is_a_run_with_its_files(crate, found):
    lock = yaml.safe_load((crate / "dvc.lock").read_text())["stages"]
    for name, stage in lock.items():
        run = found[f"#run/{name}"]
        assert run["description"] == stage["cmd"].strip()
        for kind, listed in (("object", "deps"), ("result", "outs")):
            linked = run[kind] if isinstance(run[kind], list) else [run[kind]]
            hashes = [found[link["@id"]]["identifier"] for link in linked]
            assert hashes == [f"md5:{entry['md5']}" for entry in stage[listed]]


def test_the_run_has_every_parameter_and_the_page(crate, found):
    run = found["#run"]
    values = {e["name"]: e["value"] for e in found.values() if e["@type"] == "PropertyValue"}
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert values["network.learning_rate"] == params["network"]["learning_rate"]
    assert values["grid.init"] == '["zero", "random", "normal"]'
    sections = [group for group in params.values() if isinstance(group, dict)]
    assert len(values) == sum(map(len, sections)) + len(params) - len(sections)
    assert {"@id": "metrics/report.html"} in run["result"]
    assert {"@id": "#data/mnist.npz"} in run["result"]
    assert (run["endTime"], found["./"]["datePublished"]) == (ENDED, DATE)
    carried, ours = (at / "metrics" / "verdict.json" for at in (crate, ROOT))
    assert carried.read_bytes() == ours.read_bytes()


@pytest.mark.parametrize("name", ["metrics/verdict.csv", "metrics/figures", "metrics/report.html"])
def test_what_is_missing_or_not_as_the_lock_has_it_is_named(tmp_path, name):
    root, folder = tmp_path / "root", tmp_path / "crate"
    copy_results(root)
    path = root / name
    if path.suffix == ".html":
        path.unlink()
    else:
        (path / "verdict.png" if path.is_dir() else path).write_text("other")
    folder.mkdir()
    (folder / METADATA).write_text("an earlier one")
    with pytest.raises(RetraceError, match=f"{name} is not (there|as dvc.lock has it)"):
        write_crate(root, folder, DATE, ENDED)
    assert [path.name for path in folder.iterdir()] == [METADATA]


def test_without_git_it_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^error: git log: [^\n]*$"):
        main(tmp_path)
    assert list(tmp_path.iterdir()) == []
