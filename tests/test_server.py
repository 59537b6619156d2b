"""The MLflow server: shared, with a password, over PostgreSQL, and never a loss when it fails."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from mlcore.config import compose
from mlcore.errors import RetraceError
from mlcore.files import load_arrays
from mlcore.tracking import postgres
from mlcore.tracking.login import Login, logged_in, read_login, write_login
from mlcore.tracking.ports import check_free
from mlcore.tracking.postgres import Postgres

ROOT = Path(__file__).parents[1]

NETWORK = ["stages.train_network", "network.max_epochs=3", "network.hidden_layer_sizes=[8,6]"]
LONG = [NETWORK[0], NETWORK[2], "network.batch_size=4", "network.patience=1000000"]
N_LONG = 500
"""Epochs of some seconds in all."""

pytestmark = [
    pytest.mark.xdist_group("server"),  # one worker starts one server
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Server:
    """A copy of the project with a server of its own."""

    def __init__(self, project):
        self.project = project
        self.folder = project.root / "server"
        self.port = free_ports()

    def do(self, action, check=True):
        port = ["--port", str(self.port)] if action == "start" else []
        return self.project.run("mlcore.tracking.server", action, *port, check=check)

    def train(self, *overrides, stage=NETWORK):
        return self.project.run(*stage, "tracking=server", *overrides)

    def sync(self):
        return self.project.run("mlcore.tracking.recorder").stdout

    @property
    def login(self):
        return read_login(self.folder)

    def runs(self, *words):
        """The runs whose names have these words in them."""
        import mlflow

        with logged_in(self.login):
            client = mlflow.MlflowClient(self.login.uri)
            found = client.get_experiment_by_name("network")
            runs = client.search_runs([found.experiment_id]) if found else []
        return [run for run in runs if set(words) <= set(run.info.run_name.split())]

    def history(self, run, name):
        import mlflow

        with logged_in(self.login):
            client = mlflow.MlflowClient(self.login.uri)
            return client.get_metric_history(run.info.run_id, name)


def free_ports():
    """Two ports, one after the other, from where the system takes none by itself."""
    while True:
        port = random.randrange(20000, 30000, 2)
        with suppress(OSError):
            for number in (port, port + 1):
                socket.create_server(("127.0.0.1", number)).close()
            return port


@pytest.fixture(scope="module")
def server(project_at):
    if postgres.programs() is None:
        missing = "PostgreSQL is not installed (apt-get install postgresql)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    # pytest's own folders are closed to the user postgres
    folder = Path(tempfile.mkdtemp(prefix="retrace-server-"))
    folder.chmod(0o755)
    server = Server(project_at(folder / "project"))
    try:
        server.do("start")
        yield server
    finally:
        server.do("stop", check=False)
        shutil.rmtree(folder)


@pytest.fixture
def running(server):
    """The server, whatever an earlier test left of it."""
    server.do("start")
    return server


def wait_for(condition, seconds=150):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            if value := condition():
                return value
        time.sleep(0.2)
    pytest.fail("it did not happen")


def warnings_in(result):
    return [line for line in (result.stdout + result.stderr).splitlines() if "warning:" in line]


def alive(folder):
    """The processes that have something to do with a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and (
                str(folder) in " ".join(process.cmdline()) or str(folder) in process.cwd()
            ):
                found.append(process)
    return found


def test_processes_that_start_together_on_a_fresh_server_are_all_recorded(running):
    inits = ("zero", "random", "normal", "he")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda init: running.train(f"network.init={init}", "seed=11"), inits))
    runs = running.runs("seed=11")
    assert {run.info.run_name.split()[0] for run in runs} == {f"tanh-{i}" for i in inits}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 4
    for run in runs:
        assert len(running.history(run, "val_loss")) == 3
        kept = running.folder / "artifacts" / run.info.artifact_uri.split(":/")[1]
        assert {path.suffix for path in (kept / "results").iterdir()} == {".csv", ".json", ".pkl"}
        (model,) = run.outputs.model_outputs
        assert list(running.folder.rglob(f"{model.model_id}/artifacts/MLmodel"))


def test_the_best_model_is_registered_and_can_be_loaded(running):
    import mlflow

    running.train("seed=19")
    (run,) = running.runs("seed=19")
    with logged_in(running.login):
        mlflow.set_tracking_uri(running.login.uri)
        client = mlflow.MlflowClient(running.login.uri)
        champion = client.get_model_version_by_alias("mnist-network", "champion")
        model = mlflow.pyfunc.load_model("models:/mnist-network@champion")
    accuracy = run.data.metrics["final_val_accuracy"]
    assert float(champion.tags["val_accuracy"]) >= accuracy
    data = load_arrays(running.project.root / "data" / "mnist.npz")
    labels = model.predict(data["X_val"].astype(np.float32) / 255)
    assert np.mean(labels == data["y_val"]) == pytest.approx(float(champion.tags["val_accuracy"]))


def test_the_results_are_the_same_bytes_wherever_they_are_recorded(running):
    kinds = ("mlflow", "server", "off")
    for kind in kinds:
        out = f"hydra.run.dir=outputs/{kind}/x"
        running.project.run(*NETWORK, f"tracking={kind}", out, "seed=12")
    for pattern in ("*.pkl", "*.json", "*.csv"):
        first, *others = (
            next((running.project.root / "outputs" / kind).rglob(pattern)).read_bytes()
            for kind in kinds
        )
        assert others == [first, first]
    assert len(running.runs("seed=12")) == 1


def test_what_a_stopped_server_misses_is_recorded_later_once(running):
    running.do("stop")
    result = running.train("seed=13")
    (warning,) = warnings_in(result)
    assert f"runs are not recorded in {running.login.uri}: " in warning
    assert "`make sync`" in warning
    running.port = free_ports()  # the notes find it there, too
    running.do("start")
    assert "recorded network-tanh-normal" in running.sync()
    assert "nothing to record" in running.sync()
    (run,) = running.runs("seed=13")
    assert run.info.status == "FINISHED"
    assert len(running.history(run, "val_loss")) == 3


@pytest.mark.parametrize(("broken", "seed"), [("mlflow", "seed=14"), ("postgres", "seed=15")])
def test_a_server_that_breaks_down_midway_costs_nothing(running, broken, seed):
    training = subprocess.Popen(
        [sys.executable, "-m", *LONG, f"network.max_epochs={N_LONG}", "tracking=server", seed],
        cwd=running.project.root,
        env=running.project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        # not before the notes have their name, by which the writer sees them
        told = "mlruns/pending/[!.]*/[!.]*/events.jsonl"
        wait_for(lambda: list(running.project.root.glob(told)))
        training.send_signal(signal.SIGSTOP)  # it must not end before the server does
        (run,) = wait_for(lambda: running.runs(seed))
        assert run.info.status == "RUNNING"
        if broken == "mlflow":
            for process in server.processes(running.folder):
                process.kill()
        else:
            Postgres(running.folder).process().send_signal(signal.SIGQUIT)  # its immediate stop
        training.send_signal(signal.SIGCONT)
        running.do("start")
        output, _ = training.communicate(timeout=150)
    finally:
        training.kill()
        training.wait(60)
    assert training.returncode == 0
    assert "Traceback" not in output
    assert output.count("warning:") <= 1
    running.sync()
    (run,) = running.runs(seed)
    assert run.info.status == "FINISHED"
    assert len(running.history(run, "val_loss")) == N_LONG
    assert not list((running.project.root / "mlruns" / "pending").iterdir())


def test_there_is_no_way_in_without_the_password(running):
    url = f"{running.login.uri}/api/2.0/mlflow/experiments/search?max_results=1"

    def code(password):
        auth = ("admin", password) if password else None
        return requests.get(url, auth=auth, timeout=20).status_code

    assert code(running.login.password) == 200
    for password in ("", "password", "password1234", "admin"):
        assert code(password) == 401
    ports = {
        (c.laddr.ip, c.laddr.port)
        for process in alive(running.folder)
        for c in process.net_connections()
        if c.status == psutil.CONN_LISTEN
    }
    assert ports == {("127.0.0.1", running.port), ("127.0.0.1", running.port + 1)}


def test_the_password_is_nowhere_but_in_private_files(running):
    running.train("seed=16")
    secrets = {
        running.login.password: {"login.env", "auth.ini"},
        (running.folder / "pgpass").read_text().strip().rpartition(":")[2]: {"pgpass"},
    }
    for secret, names in secrets.items():
        found = set()
        for path in running.project.root.rglob("*"):
            with suppress(FileNotFoundError):  # a temporary file of the database
                if path.is_file() and secret.encode() in path.read_bytes():
                    found.add(path)
        assert {path.parent for path in found} == {running.folder}
        assert {path.name for path in found} == names
        assert all(path.stat().st_mode & 0o077 == 0 for path in found)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                assert secret not in " ".join(process.cmdline())
    (run,) = running.runs("seed=16")
    assert running.login.password not in str(run.to_dictionary())


def test_a_wrong_password_is_one_line_and_the_notes_are_kept(running):
    login = running.login
    try:
        write_login(running.folder, Login(login.uri, login.username, "hunter-two"))
        result = running.train("seed=17")
    finally:
        write_login(running.folder, login)
    (warning,) = warnings_in(result)
    assert f"{login.uri}: it does not take this user name and password; kept in" in warning
    assert "hunter-two" not in result.stdout + result.stderr
    for path in running.project.root.glob("mlruns/pending/**/*"):
        assert not path.is_file() or b"hunter-two" not in path.read_bytes()
    assert "recorded network-tanh-normal" in running.sync()
    assert len(running.runs("seed=17")) == 1


def test_stop_leaves_no_process_and_can_be_said_twice(running):
    assert "the server runs" in running.do("status").stdout
    assert "the server runs already" in running.do("start").stdout
    other = running.project.run(
        "mlcore.tracking.server", "start", "--port", str(running.port + 2), check=False
    )
    assert f"error: the server runs already, on port {running.port};" in other.stderr
    assert alive(running.folder)
    assert "the server is stopped" in running.do("stop").stdout
    assert alive(running.folder) == []
    assert server.processes(running.folder) == []
    assert "the server did not run" in running.do("stop").stdout
    status = running.do("status", check=False)
    assert (status.returncode, status.stdout) == (
        1,
        "the server does not run; `make server` starts it\n",
    )


def test_after_a_reboot_a_stale_number_harms_no_other_process(running):
    running.train("seed=18")
    running.do("stop")
    database = Postgres(running.folder)
    identity = {}
    if os.geteuid() == 0:  # of the same user, whom pg_ctl could signal
        owner = database.data.stat()
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    other = subprocess.Popen(["sleep", "600"], cwd="/", **identity)
    try:
        stale = database.data / "postmaster.pid"
        stale.write_text(f"{other.pid}\n{database.data}\n")
        shutil.chown(stale, database.data.stat().st_uid)
        assert "the server did not run" in running.do("stop").stdout
        assert "the server runs" in running.do("start").stdout
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(60)
    assert running.runs("seed=18")  # what was recorded is still there


def test_a_port_in_use_is_one_line(project):
    port = free_ports()
    with socket.create_server(("127.0.0.1", port + 1)):
        result = project.run("mlcore.tracking.server", "start", "--port", str(port), check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"error: port {port + 1} cannot be used: Address already in use; "
        "`make server SERVER_PORT=n` takes n and n + 1"
    ]
    with pytest.raises(RetraceError, match=r"port 70000 .*: it should be a number from 1 to 65535"):
        check_free(70000, "")


def test_a_server_that_was_never_started_holds_nobody_up(project):
    result = project.run(*NETWORK, "tracking=server")
    (warning,) = warnings_in(result)
    assert warning == (
        "warning: runs are not recorded in this checkout's server: it was never started; "
        "`make server` does that; kept in mlruns/pending for `make sync`"
    )
    assert len(list((project.root / "mlruns" / "pending").glob("*/*/events.jsonl"))) == 1
    assert "the server does not run" in project.run("mlcore.tracking.server", "stop").stdout
    assert not (project.root / "server").exists()


def test_without_postgresql_there_is_one_line(monkeypatch):
    monkeypatch.setattr(postgres, "programs", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RetraceError, match="PostgreSQL is not installed, and cannot be from here"):
        postgres.install()


def test_the_login_is_for_its_server_alone(tmp_path, monkeypatch):
    login = Login("http://127.0.0.1:5001", "admin", "hunter-two")
    assert read_login(tmp_path) is None
    write_login(tmp_path, login)
    assert read_login(tmp_path) == login
    assert (tmp_path / "login.env").stat().st_mode & 0o777 == 0o600
    assert "hunter-two" not in repr(login)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of another server")
    before = dict(os.environ)
    with logged_in(login):
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hunter-two"
        assert os.environ["NO_PROXY"] == "127.0.0.1"
        assert "MLFLOW_TRACKING_TOKEN" not in os.environ
    assert dict(os.environ) == before
    (tmp_path / "login.env").write_text("MLFLOW_TRACKING_URI=http://127.0.0.1:5001\n")
    assert read_login(tmp_path) is None


def test_the_server_and_another_address_are_not_both_taken():
    with pytest.raises(RetraceError) as error:
        compose(ROOT / "conf", ["tracking=server", "tracking.uri=http://host"])
    assert str(error.value) == (
        "command line: tracking.uri=http://host: should be null with tracking=server, "
        "whose address is in server/login.env"
    )
