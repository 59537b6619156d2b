"""The MLflow server: with a password, over SQLite or PostgreSQL, never a loss when it fails."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import psutil
import pytest
import requests
from servers import free_port, wait_for

from mlcore.files import load_arrays
from mlcore.tracking.server import PASSWORD, URI, USERNAME, main, read_login
from mlcore.tracking.store import logged_in
from mlcore.tracking.ui import links

ROOT = Path(__file__).parents[1]

NETWORK = ["stages.train_network", "network.hidden_layer_sizes=[8,6]", "tracking=server"]
N_LONG = 500
"""Epochs of some seconds in all."""

pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="module")
def postgres():
    """The URI of an empty database of PostgreSQL; "", which is SQLite, where that is not there."""
    programs = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
    if not programs:
        assert not os.environ.get("CI"), "PostgreSQL is not installed (apt-get install postgresql)"
        yield ""
        return
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses root

    def run(program, *words):
        command = [*user, programs[-1] / program, "-D", folder / "data", *words]
        subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, check=True)

    folder = Path(subprocess.check_output([*user, "mktemp", "-d"], text=True).strip())
    try:
        secret, port = folder / "secret", free_port()
        subprocess.check_output([*user, "tee", secret], input=b"hunter-three")
        run("initdb", "--username=retrace", f"--pwfile={secret}", "--auth=scram-sha-256")
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        run("pg_ctl", "start", "-w", "-l", folder / "log", "-o", settings)
        yield f"postgresql://retrace:hunter-three@127.0.0.1:{port}/postgres"
        run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


class Server:
    """A copy of the project with a server of its own."""

    def __init__(self, project, backend):
        self.project, self.root = project, project.root
        self.variables = {"BACKEND": backend} if backend else {}
        self.log = project.root.parent / "server.log"

    def start(self):
        port = free_port()
        command = [sys.executable, "-m", "mlcore.tracking.server", "--port", str(port)]
        env = self.project.environment(**self.variables)
        with self.log.open("a") as log:
            said = {"stdout": log, "stderr": log}
            self.process = subprocess.Popen(command, cwd=self.root, env=env, **said)
        wait_for(lambda: requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok)
        self.login = read_login(self.root)
        assert self.login[URI].endswith(f":{port}")

    def processes(self):
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def stop(self):
        """End it as Ctrl-C does; gives the processes that it leaves."""
        processes = self.processes()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        return psutil.wait_procs(processes, timeout=5)[1]

    def client(self):
        import mlflow

        return mlflow.MlflowClient(self.login[URI])

    def runs(self, seed):
        with logged_in(self.login):
            found = self.client().get_experiment_by_name("retrace/network")
            runs = self.client().search_runs([found.experiment_id]) if found else []
        return [run for run in runs if f"seed={seed}" in run.info.run_name.split()]

    def history(self, run):
        with logged_in(self.login):
            return self.client().get_metric_history(run.info.run_id, "epoch/val_loss")

    def status(self, password):
        url = f"{self.login[URI]}/api/2.0/mlflow/experiments/search?max_results=1"
        return requests.get(url, auth=("admin", password), timeout=20).status_code


@pytest.fixture(scope="module")
def server(request, project_at, tmp_path_factory):
    backend = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    project = project_at(tmp_path_factory.mktemp("server") / "project")
    server = Server(project, backend)
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.slow
@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_training_is_recorded_and_the_password_is_in_one_file(server, unmeasured):
    import mlflow

    trained = server.project.run(*NETWORK, "network.max_epochs=3", "seed=16")
    assert "warning" not in trained.stdout + trained.stderr
    (run,) = server.runs(16)
    assert run.info.status == "FINISHED"
    assert len(server.history(run)) == 3
    with logged_in(server.login):
        mlflow.set_tracking_uri(server.login[URI])
        client = mlflow.MlflowClient()
        files = client.list_artifacts(run.info.run_id, "results")
        assert {file.path.rpartition(".")[2] for file in files} == {"csv", "json", "pkl"}
        champion = client.get_model_version_by_alias("retrace-network", "champion")
        model = mlflow.pyfunc.load_model("models:/retrace-network@champion")
    data = load_arrays(server.root / "data" / "mnist.npz")
    labels = model.predict(data["X_val"].astype(np.float32) / 255)
    assert np.mean(labels == data["y_val"]) == pytest.approx(float(champion.tags["val_accuracy"]))

    password = server.login[PASSWORD]
    assert server.status(password) == 200
    assert {server.status(wrong) for wrong in ("", "password", "password1234", "admin")} == {401}
    said = [" ".join(process.cmdline()) for process in server.processes()]
    said += [trained.stdout, trained.stderr, server.log.read_text(), str(run.to_dictionary())]
    files = {path: path.read_bytes() for path in server.root.rglob("*") if path.is_file()}
    secrets = {password, "hunter-three"}
    assert not [text for text in said if any(secret in text for secret in secrets)]
    (login,) = (path for path in files if any(s.encode() in files[path] for s in secrets))
    assert login == server.root / "server" / "login.env"
    assert login.stat().st_mode & 0o777 == 0o600
    ports = {
        tuple(connection.laddr)
        for process in server.processes()
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert ports == {("127.0.0.1", int(server.login[URI].rpartition(":")[2]))}


@pytest.mark.slow
@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_what_a_server_misses_that_ends_midway_is_recorded_later_once(server, start):
    words = [f"network.max_epochs={N_LONG}", "network.batch_size=4", "network.patience=1000000"]
    command = [sys.executable, "-m", *NETWORK, *words, "seed=14"]
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    training = start(*command, of=server.project, **said)
    # not before the notes have their name, by which the writer sees them
    wait_for(lambda: list(server.root.glob("mlruns/pending/*/*/events.jsonl")))
    training.send_signal(signal.SIGSTOP)  # it must not end before the server does
    (run,) = wait_for(lambda: server.runs(14))
    assert run.info.status == "RUNNING"
    assert server.stop() == []
    training.send_signal(signal.SIGCONT)
    output, _ = training.communicate(timeout=150)
    assert training.returncode == 0
    (warning,) = [line for line in output.splitlines() if "warning:" in line]
    assert f"runs are not recorded in {server.login[URI]}: " in warning
    server.start()  # on another port, with the same password
    path = server.root / "server" / "login.env"
    login = path.read_text()
    path.write_text(login.replace(server.login[PASSWORD], "hunter-two"))
    told = server.project.sync(code=1)
    assert f"{server.login[URI]}: it does not take this user name and password; kept in" in told
    path.write_text(login)
    assert "recorded network-tanh-normal" in server.project.run("mlcore.tracking.recorder").stdout
    assert "nothing to record" in server.project.sync()
    (run,) = server.runs(14)
    assert run.info.status == "FINISHED"
    assert len(server.history(run)) == N_LONG


def refusal(capsys, root, *argv):
    with pytest.raises(SystemExit) as error:
        main(argv, root)
    assert capsys.readouterr().out == ""
    assert not (root / "server" / "login.env").exists()
    return error.value.code


def test_the_ui_opens_on_the_current_networks(tracked):
    assert links(tracked.root, "http://h") == {}
    small = ["network.max_epochs=1", "network.hidden_layer_sizes=[4]"]
    tracked.call("mlcore.config", *small)
    for init in ("zero", "normal", "normal"):  # the last takes the place of the one before
        cell = ["network.activation=relu", f"network.init={init}"]
        tracked.train("stages.train_network", *cell, dvc=f"train_network@relu-{init}")
    tracked.sync()
    table, charts, compared = links(tracked.root, "http://h")
    ids = {r.info.run_id for r in tracked.runs("network", "tags.current = 'true'")}
    assert len(ids) == 2
    query = parse_qs(compared.partition("?")[2])
    assert set(json.loads(query["runs"][0])) == ids
    assert charts == f"{table}&compareRunsMode=CHART"
    (experiment,) = json.loads(query["experiments"][0])
    assert table.startswith(f"http://h/#/experiments/{experiment}/runs?")
    key = parse_qs(table.partition("?")[2])["viewStateShareKey"][0]
    found = tracked.client().get_experiment(experiment)
    view = json.loads(found.tags[f"mlflow.sharedViewState.{key}"])
    run = tracked.runs("network")[0].data
    known = {f"params.`{n}`" for n in run.params} | {f"metrics.`{n}`" for n in run.metrics}
    assert {*view["selectedColumns"], view["orderByKey"]} <= known
    assert found.tags["mlflow.note.content"]


@pytest.mark.parametrize("ui", [[], ["--ui"]])
def test_a_port_that_cannot_be_used_is_one_line(tmp_path, capsys, ui):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refusal(capsys, tmp_path, *ui, "--port", port)
    assert told == f"error: port {port}: Address already in use; PORT=n takes another"
    for port in ("abc", "0", "70000", "5001 --host 0.0.0.0"):
        told = refusal(capsys, tmp_path, *ui, "--port", port)
        assert told == f"error: port {port}: it should be a number from 1 to 65535"
    assert refusal(capsys, tmp_path, *ui, "--host", "0.0.0.0") == 2


@pytest.mark.parametrize(
    "uri", ["postgresql://me:hunter-two@127.0.0.1:9/db", "nonsense", "oracle://hunter-two@h"]
)
def test_a_database_that_cannot_be_used_is_one_line(tmp_path, capsys, monkeypatch, uri):
    monkeypatch.setenv("BACKEND", uri)
    told = refusal(capsys, tmp_path, "--port", str(free_port()))
    assert told.startswith("error: BACKEND: ")
    assert "hunter-two" not in told
    assert "\n" not in told


def test_a_password_that_is_gone_is_one_line(tmp_path, capsys):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "auth.db").touch()
    told = refusal(capsys, tmp_path, "--port", str(free_port()))
    assert told == "error: server/login.env is gone: for a new password remove auth.db, too"


def test_the_login_is_for_its_server_alone(tmp_path, monkeypatch):
    login = {URI: "http://127.0.0.1:5001", USERNAME: "admin", PASSWORD: "hunter-two"}
    assert read_login(tmp_path) == {}
    path = tmp_path / "server" / "login.env"
    path.parent.mkdir()
    path.write_text("".join(f"{name}={value}\n" for name, value in login.items()))
    assert read_login(tmp_path) == login
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of another server")
    monkeypatch.delenv("NO_PROXY", raising=False)
    before = dict(os.environ)
    with logged_in(login):
        assert os.environ[PASSWORD] == "hunter-two"
        assert os.environ["NO_PROXY"] == "127.0.0.1"
        assert not os.environ["MLFLOW_TRACKING_TOKEN"]
    with logged_in({}):
        assert dict(os.environ) == before
    path.write_text(f"{URI}=http://127.0.0.1:5001\n")
    assert read_login(tmp_path) == {}
