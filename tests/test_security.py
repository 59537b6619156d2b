"""SECURITY.md held to its word: files from others, addresses, secrets, text, commands, packages.

What other tests hold: archives (test_sources.py), pickles of networks (test_network_files.py), the
server's login and password (test_server.py), secrets in URIs (test_tracking.py).
"""

import io
import os
import re
import socket
import ssl
import subprocess
import sys
import zipfile
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import requests
from servers import free_port, wait_for

from mlcore import plotting
from mlcore.config import compose, compose_raw, load
from mlcore.errors import RetraceError
from mlcore.files import load_arrays, read_json, write_json
from mlcore.pipeline.workspace import Workspace
from mlcore.report import inline_svg
from mlcore.review import compare
from mlcore.sweeps.jobs import read_sweeps
from mlcore.training.weights import load_mlp
from stages import report

ROOT = Path(__file__).parents[1]
POLICY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_the_policy_names_is_there():
    named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", POLICY)
    assert len(named) >= 10
    for file, test in named:
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), (file, test)


# Files from others: arrays


@pytest.fixture
def path(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in" / "file.npz"


class Touch(str):
    """The path of a file, which is made when this is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {self}",)


@pytest.mark.parametrize("reader", [load_arrays, load_mlp])
@pytest.mark.parametrize("kind", ["objects", "a field of objects"])
def test_arrays_with_objects_in_them_run_nothing(path, reader, kind):
    sentinel = path.parent / "sentinel"
    array = np.array([Touch(sentinel)], dtype=object)
    if kind == "a field of objects":
        array = np.array([(1, array[0])], dtype=[("n", "i4"), ("o", "O")])
    np.savez(path, weights_0=np.eye(2), biases_0=np.zeros(2), activation=array)
    with pytest.raises(RetraceError, match="is not a valid array file"):
        reader(path)
    assert not sentinel.exists()
    np.load(path, allow_pickle=True)["activation"]  # the file is as hostile as it should be
    assert sentinel.exists()


@pytest.mark.parametrize("reader", [load_arrays, load_mlp])
def test_names_of_arrays_lead_nowhere(path, reader):
    away = path.parents[1] / "absolute.npy"
    names = ("../evil.npy", str(away), "a/../../evil.npy", "..\\evil.npy", "/evil.npy")
    content = io.BytesIO()
    np.save(content, np.eye(2))
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, content.getvalue())
    before = sorted(path.parents[1].rglob("*"))
    with suppress(RetraceError):  # for load_mlp it is no model
        assert len(reader(path)) == len(names)
    assert sorted(path.parents[1].rglob("*")) == before


# Files from others: YAML


@pytest.mark.parametrize(
    "read", [load, lambda path: compose_raw(path.parent), read_sweeps], ids=["params", "conf", "s"]
)
def test_tags_in_yaml_run_nothing(tmp_path, read):
    path, sentinel = tmp_path / "config.yaml", tmp_path / "sentinel"
    path.write_text(f"seed: !!python/object/apply:os.system ['touch {sentinel}']")
    with pytest.raises(RetraceError):
        read(path)
    assert not sentinel.exists()


# Addresses


def listening(*pids):
    """Where processes and all that they started take connections."""
    found = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found |= {
                        tuple(c.laddr)
                        for c in one.net_connections("all")
                        if c.status == psutil.CONN_LISTEN and c.family != socket.AF_UNIX
                    }
    return found


@pytest.mark.slow
def test_make_ui_serves_this_machine_and_no_other_page(project, start):
    (project.root / ".venv").symlink_to(Path(sys.executable).parents[1])
    port = free_port()
    process = start(
        *("make", "-o", ".venv/ready", "ui", f"PORT={port}"),
        of=project,
        env=project.environment(MLFLOW_HOST="0.0.0.0"),
    )
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: requests.get(f"{url}/health", timeout=20).ok)
    assert listening(process.pid) == {("127.0.0.1", port)}
    asked = f"{url}/api/2.0/mlflow/experiments/"
    found = requests.get(f"{asked}search?max_results=1", timeout=20)
    assert found.status_code == 200
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{port}"}):
        elsewhere = requests.get(f"{asked}search?max_results=1", headers=headers, timeout=20)
        assert elsewhere.status_code == 403
    made = requests.post(
        f"{asked}create",
        json={"name": "evil"},
        headers={"Origin": "http://evil.example"},
        timeout=20,
    )
    assert made.status_code == 403


# Says where its processes listen, and waits
LOCAL_CLUSTER = """
import json, sys
from pathlib import Path
from mlcore.sweeps.cluster import connected

if __name__ == "__main__":
    with connected(None, Path.cwd(), 2) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        print("ready", flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_that_a_command_starts_take_no_connection_of_others(tmp_path, start):
    script = tmp_path / "script.py"
    script.write_text(LOCAL_CLUSTER)
    talks = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = start(sys.executable, script, env=env, **talks)
    assert process.stdout.readline() == "ready\n"
    places = listening(process.pid)
    assert {host for host, _ in places} == {"127.0.0.1"}
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    guarded = 0
    for place in places:
        with suppress(requests.ConnectionError):  # what answers as a web server shows no page
            url = "http://{}:{}/info/main/workers.html".format(*place)
            assert requests.get(url, timeout=20).status_code == 404
            continue
        with (
            socket.create_connection(place, timeout=20) as raw,
            stranger.wrap_socket(raw) as channel,
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
        ):
            channel.recv(1)
        guarded += 1
    assert guarded >= 5  # the scheduler, two workers and their nannies
    process.communicate("", timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_the_cluster_of_the_documentation_listens_to_this_machine(tmp_path, start):
    text, port = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"), str(free_port())
    commands = re.findall(r"^python (-m dask .*) &$", text, re.MULTILINE)
    assert [command.split()[2] for command in commands] == ["scheduler", "worker", "worker"]
    started = [
        start(
            *(sys.executable, *command.replace("8786", port).split()),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ).pid
        for command in commands[:2]
    ]
    places = wait_for(lambda: len(found := listening(*started)) >= 5 and found)
    assert ("127.0.0.1", int(port)) in places
    assert {host for host, _ in places} == {"127.0.0.1"}


# Secrets

SECRETS = {
    name: f"hunter-{name.lower()}"
    for name in (
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY", "GH_TOKEN",
        "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "SMTP_PASSWORD",
    )
}  # fmt: skip


def contents(folder):
    """Every file's bytes, and those of what is in it if it is an archive."""
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            yield path, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        yield path / name, archive.read(name)


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("store", ["its own", "one with a password"])
def test_no_secret_of_the_environment_is_written_or_said(project, store):
    secrets = SECRETS | {"HTTPS_PROXY": "http://me:hunter-proxy@127.0.0.1:9"}
    if store == "one with a password":
        secrets["MLFLOW_TRACKING_URI"] = "http://me:hunter-store@127.0.0.1:9/store"
    address = "http://me:hunter-git@127.0.0.1:9/x.git"
    project.commit()
    git = ["git", "-C", str(project.root), "remote", "add", "origin", address]
    subprocess.run(git, check=True)
    network = ["network.max_epochs=2", "network.hidden_layer_sizes=[8,6]"]
    said = [
        project.call("mlcore.config", **secrets),
        project.run("stages.train_network", *network, "hydra.run.dir=outputs/a/b", **secrets),
        project.call("stages.report", "hydra.run.dir=outputs/a/b", **secrets),
    ]
    assert b"hunter" not in "".join(done.stdout + done.stderr for done in said).encode()
    found = {path.relative_to(project.root) for path, text in contents(project.root)
             if b"hunter-" in text}  # fmt: skip
    assert found == set()
    written = {path.name for path, _ in contents(project.root)}
    assert {"params.yaml", "report.html", "hydra.yaml", "tanh-normal.pkl"} <= written
    recorded = "mlflow.db" if store == "its own" else "events.jsonl"
    assert any(p.name == recorded and b"max_epochs" in text for p, text in contents(project.root))


# Text

HOSTILE = "\"'></script></title></svg><script>alert(1)</script><img src=x onerror=alert(1)><!--"


class Skeleton(HTMLParser):
    """A page's elements and the names of their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(str(text))
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, [name for name, _ in attrs]))
        self.texts += [value or "" for _, value in attrs]

    def handle_comment(self, data):
        self.elements.append(("comment", []))

    def handle_data(self, data):
        self.texts.append(data)


def spoiled(value, key=""):
    """The same with every text in it hostile, but for what is looked up by it."""
    if isinstance(value, dict):
        return {
            name: spoiled(content, key if key == "verdicts" else name)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [spoiled(content, key) for content in value]
    known = key in ("kind", "choice", "number", "verdict", "verdicts", "by_runs", "path", "rank")
    known |= key in ("id", "metric", "first", "second", "spread")
    return value + HOSTILE if isinstance(value, str) and not known else value


def write_page(folder, change=lambda value: value):
    for name in ("verdict", "sensitivity", "figures", "environment"):
        results = change(read_json(ROOT / "metrics" / f"{name}.json"))
        write_json(folder / "metrics" / f"{name}.json", results)
    report.run(compose(ROOT / "conf"), Workspace(ROOT, folder))
    return (folder / "metrics" / "report.html").read_text(encoding="utf-8")


def test_whatever_text_the_results_hold_the_page_has_the_same_elements(tmp_path):
    page = Skeleton(write_page(tmp_path / "a"))
    hostile = Skeleton(write_page(tmp_path / "b", spoiled))
    assert hostile.elements == page.elements
    assert hostile.text.count(HOSTILE) > 300
    assert len(Skeleton(f"<p>{HOSTILE}</p>").elements) > 1  # hostile it is


def test_whatever_text_a_figure_holds_its_svg_has_the_same_elements(tmp_path):
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})
    pictures = []
    for text in ("title", HOSTILE):
        plotting.save_svg(plotting.loss_curves(history, text, text), tmp_path / "same.svg")
        svg = (tmp_path / "same.svg").read_text(encoding="utf-8")
        pictures.append(Skeleton(inline_svg(svg, "same", text)))
    assert pictures[1].elements == pictures[0].elements
    assert pictures[1].text.count(HOSTILE) == 3  # title, label of the axis, description


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_a_script_that_is_not_the_pages_own_does_not_run(browser, tmp_path):
    svg = (ROOT / "metrics" / "svg" / "verdict.svg").read_text(encoding="utf-8")
    owned = "document.title='owned'"
    svg = svg.replace("<svg ", f'<svg onload="{owned}" ', 1)
    svg = svg.replace("</svg>", f"<script>{owned}</script></svg>")
    (tmp_path / "metrics" / "svg").mkdir(parents=True)
    (tmp_path / "metrics" / "svg" / "verdict.svg").write_text(svg, encoding="utf-8")
    write_page(tmp_path)
    page, told = browser.new_page(), []
    page.on("console", lambda message: told.append(message.text))
    page.goto((tmp_path / "metrics" / "report.html").as_uri())
    assert page.title().startswith("Retrace")
    assert len(told) == 2  # the two of above
    assert all("Content Security Policy" in line for line in told)
    # Its own does
    page.locator(".enlarge").first.click()
    assert page.locator("dialog").is_visible()
    page.get_by_role("button", name="Close").click()
    assert page.locator("dialog").is_hidden()
    page.close()


def test_text_in_the_summary_of_a_change_stays_in_its_cell():
    text = "a\n\n### Verdicts\n\n| <img src=x onerror=alert(1)> | b |"
    told = compare.markdown("main", {"params": [("a", None, text)], "numbers": [], "words": []}, {})
    assert told.count("\n### ") == 3
    (row,) = [line for line in told.splitlines() if "onerror" in line]
    name, _, value = row.removeprefix("| ").removesuffix(" |").split(" | ")
    assert name.strip("` ").count("`") == 0
    assert "<" not in value
    assert re.search(r"(?<!\\)\|", value) is None


# Packages


def test_packages_are_installed_by_their_hashes():
    """That every package has its version and hashes, test_requirements.py says."""
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    installs = re.findall(r"^\S+ -m pip install .*|^\S+/uv pip .*", plan, re.MULTILINE)
    files = [re.search(r" --require-hashes (?:-r )?(\S+)$", line)[1] for line in installs]
    assert files == ["requirements.uv.txt", "requirements.lock"]
