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
from mlcore.review.crate import write_crate

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


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crate") / "crate"
    # The page is no file of the repository: any content will do for a crate's file
    root = tmp_path_factory.mktemp("root")
    for name in ("metrics", "dvc.yaml", "dvc.lock", "params.yaml", "requirements.lock",
                 "CITATION.cff", "LICENSE", "README.md"):  # fmt: skip
        (root / name).symlink_to(ROOT / name)
    if not (ROOT / "metrics" / "report.html").exists():
        (root / "metrics").unlink()
        (root / "metrics").mkdir()
        for path in (ROOT / "metrics").iterdir():
            (root / "metrics" / path.name).symlink_to(path)
        page = root / "metrics" / "report.html"
        page.write_text("<!DOCTYPE html>")
        lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
        (entry,) = lock["stages"]["report"]["outs"]
        entry["md5"] = hashlib.md5(page.read_bytes()).hexdigest()
        (root / "dvc.lock").unlink()
        (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    write_crate(root, folder, DATE, ENDED)
    return folder


def entities(crate):
    graph = json.loads((crate / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
@pytest.mark.parametrize(
    "profile", ["ro-crate-1.1", "process-run-crate-0.5", "workflow-run-crate-0.5"]
)
def test_it_is_valid_by_its_profiles(crate, profile, tmp_path):
    cache = tmp_path / "cache"
    session = CachedSession(str(cache), backend="sqlite")
    session.mount("https://", Offline())
    assert session.get(CONTEXT).status_code == 200
    session.close()
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
    assert len(result.executed_checks) > 3


def test_every_stage_of_the_lock_is_a_run_with_its_files(crate):
    found = entities(crate)
    lock = yaml.safe_load((crate / "dvc.lock").read_text())["stages"]
    for name, stage in lock.items():
        run = found[f"#run/{name}"]
        assert run["description"] == stage["cmd"].strip()
        for kind, listed in (("object", "deps"), ("result", "outs")):
            linked = run[kind] if isinstance(run[kind], list) else [run[kind]]
            hashes = [found[link["@id"]]["identifier"] for link in linked]
            assert hashes == [f"md5:{entry['md5']}" for entry in stage[listed]]


def test_the_run_has_every_parameter_and_the_page(crate):
    found = entities(crate)
    run = found["#run"]
    values = {e["name"]: e["value"] for e in found.values() if e["@type"] == "PropertyValue"}
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert values["network.learning_rate"] == params["network"]["learning_rate"]
    assert values["grid.init"] == "[zero, random, normal]"
    sections = [group for group in params.values() if isinstance(group, dict)]
    assert len(values) == sum(map(len, sections)) + len(params) - len(sections)
    assert {"@id": "metrics/report.html"} in run["result"]
    assert {"@id": "#data/mnist.npz"} in run["result"]
    assert (run["endTime"], found["./"]["datePublished"]) == (ENDED, DATE)
    assert (crate / "metrics" / "verdict.json").read_bytes() == (
        ROOT / "metrics" / "verdict.json"
    ).read_bytes()


def test_a_result_that_is_missing_is_named(tmp_path):
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", "CITATION.cff"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "environment.json").symlink_to(ROOT / "metrics" / "environment.json")
    with pytest.raises(RetraceError, match=r"requirements\.lock is not there"):
        write_crate(tmp_path, tmp_path / "crate", DATE, ENDED)
    assert not (tmp_path / "crate").exists()


@pytest.mark.parametrize("name", ["metrics/verdict.csv", "metrics/figures"])
def test_a_result_that_is_not_as_the_lock_has_it_is_named(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    for file in ("dvc.yaml", "dvc.lock", "params.yaml", "requirements.lock", "CITATION.cff",
                 "LICENSE", "README.md"):  # fmt: skip
        (root / file).symlink_to(ROOT / file)
    shutil.copytree(ROOT / "metrics", root / "metrics")
    changed = root / name
    with (changed / "verdict.png" if changed.is_dir() else changed).open("ab") as file:
        file.write(b" ")
    (tmp_path / "crate").mkdir()
    (tmp_path / "crate" / "ro-crate-metadata.json").write_text("an earlier one")
    with pytest.raises(RetraceError, match=f"{name} is not as dvc.lock has it"):
        write_crate(root, tmp_path / "crate", DATE, ENDED)
    assert [path.name for path in (tmp_path / "crate").iterdir()] == ["ro-crate-metadata.json"]


def test_what_is_no_crate_is_not_replaced(project):
    before = sorted(path.name for path in project.root.iterdir())
    with pytest.raises(RetraceError, match="is there and is no crate"):
        write_crate(ROOT, project.root, DATE, ENDED)
    assert sorted(path.name for path in project.root.iterdir()) == before


def test_the_citation_is_the_projects():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_from_the_command_line_without_git_or_a_folder_it_is_one_line(project):
    without = project.run("mlcore.review.crate", check=False)
    assert (without.returncode, without.stderr) == (
        1,
        "usage: python -m mlcore.review.crate FOLDER\n",
    )
    nowhere = project.run("mlcore.review.crate", "crate", check=False)
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("error: git log: ")
    assert len(nowhere.stderr.splitlines()) == 1
    assert not (project.root / "crate").exists()
