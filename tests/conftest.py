"""Shared by all tests: pinned threads, and a copy of the project to run stages in."""

import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from mlcore.process import THREAD_VARIABLES, pin_threads

pin_threads()
# A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

import untraced  # noqa: E402, F401, I001 - first: what it imports is not followed either
import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pytest  # noqa: E402
from hydra.core.global_hydra import GlobalHydra  # noqa: E402
from idx import idx  # noqa: E402
from joblib.externals.loky import get_reusable_executor  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

from mlcore import app  # noqa: E402
from mlcore.files import save_arrays  # noqa: E402
from mlcore.tracking import notes  # noqa: E402
from mlcore.tracking.store import Store, default_uri  # noqa: E402

ROOT = Path(__file__).parents[1]


@cache
def in_git():
    """The files that git has of the project, new ones with them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)
    return [name for name in listed.split("\0") if name]


def copy_project(root, without=None):
    """Copy what git has of the project, with new files and changes, but the folder `without`."""
    for name in in_git():
        if (without and name.startswith(without)) or not (ROOT / name).exists():
            continue
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)


@cache
def made_up_data():
    """The content of a file of small splits, in place of the real ones."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (10, 784))
    arrays = {}
    for part, n in (("full", 360), ("train", 300), ("val", 60), ("test", 60)):
        y = np.arange(n) % 10
        noisy = centres[y] + rng.integers(-40, 41, (n, 784))
        arrays[f"X_{part}"] = np.clip(noisy, 0, 255).astype(np.uint8)
        arrays[f"y_{part}"] = y.astype(np.uint8)
    with TemporaryDirectory() as folder:
        save_arrays(Path(folder) / "data.npz", **arrays)
        return (Path(folder) / "data.npz").read_bytes()


@contextmanager
def as_a_process(folder, variables):
    """Have what a process of its own would have, and leave nothing of it in this one."""
    root, kept = logging.getLogger(), (logging.getLogger().handlers, logging.getLogger().level)
    root.handlers = []
    GlobalHydra.instance().clear()
    try:
        with (
            chdir(folder),
            mock.patch.dict(os.environ, Project.environment(**variables), clear=True),
            mock.patch("hydra._internal.utils.is_under_debugger", return_value=False),  # measured
        ):
            yield
    finally:
        get_reusable_executor().shutdown()  # its workers would stay in this folder
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = kept
        GlobalHydra.instance().clear()


def well(result, check=True):
    """Give a completed process, which has ended well if that is to be checked."""
    if check and (result.returncode or "error:" in result.stdout + result.stderr):
        pytest.fail(f"{result.args} failed:\n{result.stdout}\n{result.stderr}")
    return result


class Project:
    """A copy of the project with small made-up data in place of the real splits."""

    def __init__(self, root):
        self.root = root
        copy_project(root, without="tests/")
        (root / "data").mkdir(exist_ok=True)
        for name in ("mnist", "fashion_mnist"):
            (root / "data" / f"{name}.npz").write_bytes(made_up_data())

    def commit(self):
        """Put all of it under git."""
        for words in ("init -q", "add -A", "-c user.name=t -c user.email=t@t commit -qm t"):
            subprocess.run(["git", *words.split()], cwd=self.root, check=True)

    def edit(self, name, old, new):
        """Put a new text in the place of an old one, which is there once; of none, at the top."""
        text = (self.root / name).read_text()
        assert not old or text.count(old) == 1
        (self.root / name).write_text(text.replace(old, new, 1))

    @staticmethod
    def environment(**variables):
        """The environment of a shell, without what tests and their libraries set in it."""
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_")) and name not in THREAD_VARIABLES
        }
        return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"} | variables

    def call(self, module, *arguments, dvc=None, run=None, check=True, **variables):
        """Run in this process what ``python -m module`` runs, on the copy; as `run` otherwise.

        With `dvc`, the name of a stage, as DVC runs it; `run` takes the place of a stage's own.
        """
        if dvc:
            variables["DVC_STAGE"] = dvc
        told = io.StringIO(), io.StringIO()
        with as_a_process(self.root, variables), redirect_stdout(told[0]), redirect_stderr(told[1]):
            try:
                if module.startswith("stages."):
                    run = run or import_module(module).run
                    run.__module__ = module
                    code = app.main(run, arguments, self.root)
                else:
                    package = find_spec(module).submodule_search_locations
                    main = import_module(f"{module}.__main__" if package else module).main
                    code = main(arguments, self.root)
            except SystemExit as end:
                code = end.code
                if isinstance(code, str):
                    print(code, file=sys.stderr)
                    code = 1
        said = (text.getvalue() for text in told)
        return well(subprocess.CompletedProcess([module, *arguments], code or 0, *said), check)

    def run(self, *arguments, check=True, **variables):
        """Run ``python -m ...`` in the copy; returns the completed process."""
        return self.execute(sys.executable, "-m", *arguments, check=check, **variables)

    def execute(self, *command, check=True, **variables):
        """Run any command in the copy; returns the completed process."""
        where = {"cwd": self.root, "env": self.environment(**variables), "timeout": 300}
        result = subprocess.run(command, **where, capture_output=True, text=True, check=False)
        return well(result, check)

    def train(self, *arguments, store=None, **options):
        """Train in this process, as `call`; the notes are left for `sync`. Gives their session."""
        session, address = notes.new_session(self.root, store or default_uri(self.root))
        address.close()
        self.call(*arguments, RETRACE_TRACKING=str(session), **options)
        return session

    def record(self, *arguments, **options):
        """Train, and send what is left; gives what is said of the latter."""
        self.train(*arguments, **options)
        return self.sync()

    def sync(self, code=0):
        """Send in this process what is left; gives what it says."""
        done = self.call("mlcore.tracking.recorder", check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def client(self):
        """A client of the copy's MLflow store, which MLflow's own functions use then, too."""
        import mlflow

        mlflow.set_tracking_uri(default_uri(self.root))
        return mlflow.MlflowClient(default_uri(self.root))

    def runs(self, experiment, filter_string=""):
        """The runs of an experiment, the newest first."""
        client = self.client()
        found = client.get_experiment_by_name(f"retrace/{experiment}")
        ids = [found.experiment_id] if found else []
        return client.search_runs(ids, filter_string, max_results=100) if ids else []


@pytest.fixture
def up_to_date(monkeypatch):
    """Made-up data do not fit the lock."""
    monkeypatch.setattr("mlcore.sweeps.run.stale_stages", lambda *_: [])


@pytest.fixture
def unmeasured(monkeypatch):
    """Start processes without coverage, which makes each half as slow again.

    For those that run other code than the checkout's, have nowhere to write, or are killed, and
    for those that only do what other tests do under coverage. Within a lock of coverage.py's own,
    which it takes at every call, Ctrl-C would leave a process that never ends (7.17).
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def start(unmeasured):
    """Start commands, in a copy `of` the project; ends them, and all they started, with the test.

    What they say is thrown away, unless `options` have another place for it.
    """
    started = []

    def start(*command, of=None, **options):
        if of:
            options = {"cwd": of.root, "env": of.environment()} | options
        options = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL) | options
        process = subprocess.Popen(command, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(psutil.NoSuchProcess):  # MLflow's server has a session of its own
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")  # its event loop must not run beside that of other tests
def browser():
    """A real browser; where there is none, tests fail in CI and are skipped elsewhere."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing = f"no browser to test in: none of {', '.join(BROWSERS)} is installed"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield browser
        browser.close()


OF_MLFLOW = ("DeprecationWarning", "FutureWarning", "PendingDeprecationWarning", "UserWarning",
             "ResourceWarning", "pytest.PytestUnraisableExceptionWarning")  # fmt: skip


@pytest.hookimpl(trylast=True)  # after they were put in random order
def pytest_collection_modifyitems(items):
    """Start with the tests that run on one worker together, the longest; hear no MLflow warn."""
    for item in items:
        if item.get_closest_marker("mlflow"):
            for kind in OF_MLFLOW:
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_terminal_summary(terminalreporter, config):
    """Say how to run the tests in this order again; -q leaves it out."""
    if seed := config.getoption("randomly_seed", None):
        terminalreporter.write_line(f"in the order of --randomly-seed={seed}")


@pytest.fixture
def project():
    """A copy that a test may do with what it likes; in memory, where that is to be had."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as folder:
        yield Project(Path(folder) / "project")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An mlflow.db that has its tables, to be copied: making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    Store(default_uri(folder), folder)
    return folder / "mlflow.db"


@pytest.fixture
def tracked(project, empty_store):
    """A copy of the project with a store that has no experiment."""
    shutil.copy(empty_store, project.root)
    return project


@pytest.fixture(scope="session")
def project_at():
    """Makes a copy of the project in a folder."""
    return Project


@pytest.fixture(scope="session")
def copy_at():
    """Makes a copy of all that git has in a folder, the tests included."""
    return copy_project


@pytest.fixture(scope="session")
def digits():
    """X and y of a few of scikit-learn's digits, by part."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    bounds = {"train": (0, 150), "val": (150, 210), "test": (210, 300)}
    return {name: (X[a:b], y[a:b]) for name, (a, b) in bounds.items()}


@pytest.fixture(scope="session")
def write_idx():
    """Writes the four IDX files of a data set; pixel 0 of image i is i modulo 250."""

    def write_idx(folder, n_train, n_test):
        folder.mkdir(parents=True)
        for prefix, n in (("train", n_train), ("t10k", n_test)):
            images = np.zeros((n, 28, 28), np.uint8)
            images[:, 0, 0] = np.arange(n) % 250
            labels = (np.arange(n) % 10).astype(np.uint8)
            for name, values in (("images-idx3", images), ("labels-idx1", labels)):
                content = idx(*values.shape, values=values.tobytes())
                (folder / f"{prefix}-{name}-ubyte").write_bytes(content)

    return write_idx
