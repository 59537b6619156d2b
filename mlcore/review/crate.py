"""The pipeline's run as a research object: ``python -m mlcore.review.crate``.

A Workflow Run RO-Crate (profile 0.5): the workflow is dvc.yaml, its run is what dvc.lock records.
The crate carries what is small enough for git, and the page; of code, data and models it has the
hashes and sizes.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.utils.flatten import flatten
from rocrate.model.computerlanguage import ComputerLanguage
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from mlcore.errors import RetraceError
from mlcore.files import atomic_folder, md5_of, read_json, read_yaml
from mlcore.pipeline.dvc_yaml import outline
from mlcore.process import checkout, git

CRATE, WORKFLOW, METADATA = Path("build", "crate"), "dvc.yaml", "ro-crate-metadata.json"
MIT = "https://spdx.org/licenses/MIT"

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}

DESCRIBED = {
    "dvc.lock": "Hashes of all that the run took and made",
    "params.yaml": "Parameters of the run",
    "requirements.lock": "Versions of all packages",
    "CITATION.cff": "How to cite",
    "LICENSE": "The licence",
    "README.md": "What the project is, and how to run it",
}
"""Files beside the run's results."""


def write_crate(root: Path, folder: Path, date: str, ended: str) -> None:
    """Write the crate of the run that dvc.lock records into a folder, in place of an earlier one.

    `date` is when this was published, `ended` when the results were, in ISO 8601. Raises
    RetraceError if a result that belongs into it is not there, or not as dvc.lock has it.
    """
    crate = ROCrate(version="1.1")
    citation = read_yaml(root / "CITATION.cff")
    author = _add(crate, "#authors", "Organization", name=citation["authors"][0]["name"])
    crate.name, crate.description = citation["title"], citation["abstract"].strip()
    crate.datePublished = date
    crate.license = _add(crate, MIT, "CreativeWork", name="MIT License")
    crate.root_dataset["author"] = author
    crate.root_dataset["conformsTo"] = [
        _add(crate, url, "CreativeWork", name=name, version=url.rpartition("/")[2])
        for url, name in PROFILES.items()
    ]
    workflow = _workflow(crate, root, citation["version"])
    for name, description in DESCRIBED.items():
        crate.add_file(root / name, name, properties={"description": description})
    stages = read_yaml(root / "dvc.lock")["stages"]
    made, read = (
        {entry["path"]: entry for stage in stages.values() for entry in stage.get(kind, [])}
        for kind in ("outs", "deps")
    )
    files = {path: _record(crate, root, entry) for path, entry in (made | read).items()}
    values = _parameters(crate, workflow, read_yaml(root / "params.yaml"))
    run = crate.add_action(
        workflow,
        "#run",
        object=[*values, *(files[path] for path in read if path not in made)],
        result=[files[path] for path in made],
        properties={"name": "The pipeline's run", "endTime": ended, "agent": {"@id": author.id}},
    )
    steps = [_step(crate, name, stage, files) for name, stage in stages.items()]
    crate.root_dataset["mentions"] = [run, *steps]
    with atomic_folder(folder) as new:
        crate.write(new)
        for left in new.rglob(".*"):  # what a killed write left in a folder
            left.unlink()


def _add(crate: ROCrate, name: str, kind: str, /, **properties: Any) -> Any:
    return crate.add(ContextEntity(crate, name, properties={"@type": kind, **properties}))


def _workflow(crate: ROCrate, root: Path, version: str) -> Any:
    about = {"name": "DVC", "url": "https://dvc.org", "identifier": {"@id": "https://dvc.org"}}
    dvc = crate.add(ComputerLanguage(crate, "#dvc", properties=about))
    stages = outline(read_yaml(root / WORKFLOW))
    workflow = crate.add_workflow(
        root / WORKFLOW,
        WORKFLOW,
        main=True,
        lang=dvc,
        properties={
            "name": "The study as a pipeline",
            "description": "; ".join(f"{stage.name}: {stage.desc}" for stage in stages),
            "license": {"@id": MIT},
            "version": version,
            "creator": {"@id": "#authors"},
        },
    )
    workflow["softwareRequirements"] = [
        _add(crate, f"#software/{name}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in read_json(root / "metrics" / "environment.json").items()
        if isinstance(version, str) and name != "machine"
    ]
    return workflow


def _record(crate: ROCrate, root: Path, entry: Mapping[str, Any]) -> Any:
    """Add a file or folder: with its content if it is one of the results, else by its hash."""
    name: str = entry["path"]
    about = {"name": name, "contentSize": str(entry["size"]), "identifier": f"md5:{entry['md5']}"}
    if not name.startswith("metrics/"):
        return _add(crate, f"#{name}", "CreativeWork", **about)
    path = root / name
    if not path.exists():
        raise RetraceError(f"{name} is not there; `make repro` makes it")
    if _md5_as_dvc(path) != entry["md5"]:
        raise RetraceError(f"{name} is not as dvc.lock has it; `make repro` makes it so")
    if path.is_dir():
        return crate.add_dataset(path, f"{name}/", properties=about)
    return crate.add_file(path, name, properties=about)


def _md5_as_dvc(path: Path) -> str:
    """Give the MD5 of a file, or of a folder's list of files, as DVC has it."""
    if not path.is_dir():
        return md5_of(path)
    seen = (file for file in path.rglob("[!.]*") if file.is_file())
    files = sorted(file.relative_to(path).as_posix() for file in seen)
    listed = json.dumps([{"md5": md5_of(path / name), "relpath": name} for name in files])
    return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"


def _step(crate: ROCrate, name: str, stage: Mapping[str, Any], files: Mapping[str, Any]) -> Any:
    """Add the run of one stage; its command is part of its tool."""
    module = stage["cmd"].split()[2]
    version = files[f"{module.replace('.', '/')}.py"]["identifier"]
    tool = crate.get(f"#{module}") or _add(
        crate, f"#{module}", "SoftwareApplication", name=module, softwareVersion=version
    )
    return crate.add_action(
        tool,
        f"#run/{name}",
        object=[files[entry["path"]] for entry in stage.get("deps", [])],
        result=[files[entry["path"]] for entry in stage.get("outs", [])],
        properties={"name": name, "description": " ".join(stage["cmd"].split())},
    )


KINDS = {bool: "Boolean", int: "Integer", float: "Float"}


def _parameters(crate: ROCrate, workflow: Any, params: Mapping[str, Any]) -> list[Any]:
    """Add each parameter as the workflow has it, and its value in this run."""
    values = []
    for name, value in flatten(params).items():
        kind = KINDS.get(type(value), "Text")
        formal = crate.add_formal_parameter(name, kind, f"#parameter/{name}")
        text = value if isinstance(value, bool | int | float | str) else json.dumps(value)
        actual = _add(crate, f"#value/{name}", "PropertyValue", name=name, value=text)
        actual["exampleOfWork"], formal["workExample"] = formal, actual
        workflow.append_to("input", formal)
        values.append(actual)
    return values


def main(root: Path) -> None:
    """Write build/crate of the run of the checkout `root`; its dates are those of commits."""
    try:
        date = git(root, "log", "-1", "--format=%cI")  # the same bytes for the same commit
        ended = git(root, "log", "-1", "--format=%cI", "--", "dvc.lock")
        write_crate(root, root / CRATE, date, ended)
    except (RetraceError, OSError) as error:
        sys.exit(f"error: {error}")
    print(CRATE / METADATA)


if __name__ == "__main__":
    main(checkout())
