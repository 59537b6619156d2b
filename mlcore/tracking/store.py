"""The MLflow store: its URI, what of it may be shown, and a connection that never hangs."""

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path
from mlcore.tracking.notes import checkout_root

SERVER = "server"  # this checkout's own, in parameters and notes; see server/login.env
PASSWORD, TOKEN = "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
BATCH = 1000  # metrics that MLflow takes in one call
# Without asynchronous logging, what is sent is there
FIXED = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"}
SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}

PART = "retrace.part"  # tag of an experiment: the part of the study that its runs are of
# Tag of the pipeline's runs: "true" of the newest of a stage, else that one's id
CURRENT = "current"
Named = Mapping[str, Any] | None
Point = tuple[str, float, float, int]  # a metric's name and value, seconds since 1970, its step


class StoreError(RetraceError):
    """The store cannot be used; the message begins with its URI, and has no secret in it."""


def default_uri(root: Path) -> str:
    """Give the URI of the SQLite store at the top of the checkout: always absolute."""
    return f"sqlite:///{checkout_root(root) / 'mlflow.db'}"


def displayed(uri: str) -> str:
    """Give a URI without what may be secret in it: user, password and query."""
    scheme, separator, rest = uri.partition("://")
    if scheme.startswith("sqlite") or not separator:
        return uri
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def without_secrets(text: str, uri: str) -> str:
    """Give the first line of a text, with the secrets of `uri` and the environment blotted out."""
    line = (text.strip() or "no reason given").splitlines()[0].replace(uri, displayed(uri))
    if uri.startswith("sqlite"):
        return line
    login, _, _ = uri.partition("://")[2].rpartition("@")
    user, _, password = login.partition(":")
    values = [part.partition("=")[2] for part in re.split("[&;#]", uri.partition("?")[2])]
    given = [os.environ.get(name, "") for name in (PASSWORD, TOKEN)]
    for secret in filter(None, [password or user, *values, *given]):
        for form in (secret, unquote(secret)):
            line = line.replace(form, "***")
    return line


@contextmanager
def logged_in(login: dict[str, str]) -> Iterator[None]:
    """Have MLflow use a login while the block runs; without one, nothing changes.

    MLflow reads it from the environment at each request. What the user has set there is for
    another server, and this login is for no other and for no proxy.
    """
    given = {**login, TOKEN: "", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} if login else {}
    before = {name: os.environ[name] for name in given if name in os.environ}
    os.environ |= given
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)
        os.environ |= before


class Store:
    """A connection; making it imports mlflow, which takes seconds.

    With `patience`, this process ends when it has logged nothing for as many seconds. Raises
    StoreError if the store does not answer in time, or cannot be used.
    """

    def __init__(self, uri: str, root: Path, patience: int = 0) -> None:
        if uri == SERVER:
            raise StoreError(f"{uri}: it was never started; `make server` does that")
        os.environ |= SETTINGS | os.environ | FIXED
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.mlflow, self.uri, self.root, self.patience = mlflow, uri, root, patience
        self.home, self.own = checkout_root(root), uri == default_uri(root)
        self.over_http = urlsplit(displayed(uri)).scheme in ("http", "https")
        self.within_deadline(self._connect)

    def within_deadline(self, action: Callable[[], None]) -> None:
        """Run an action in a thread that is left behind when it hangs; raises StoreError then."""
        # MLflow's own retries take minutes; tables of a database may have to be made first
        deadline = 5.0 if self.over_http else 60.0
        try:
            with ThreadPool(1) as pool:
                pool.apply_async(action).get(deadline)
        except TimeoutError:
            raise StoreError(f"{displayed(self.uri)}: no answer within {deadline:g} s") from None
        except Exception as error:
            status = getattr(error, "get_http_status_code", int)()  # of MLflow's own errors
            refused = "it does not take this user name and password"
            reason = refused if status == 401 else without_secrets(str(error), self.uri)
            raise StoreError(f"{displayed(self.uri)}: {reason}") from None

    def _connect(self) -> None:
        # Of several processes that start on an empty database, all but one would fail
        with FileLock(self.home / ".mlflow.lock"):
            database = self.home / "mlflow.db"
            if self.own and not database.exists():
                with atomic_path(database) as new:  # MLflow cannot use one that it made in part
                    self.mlflow.MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
            self.mlflow.set_tracking_uri(self.uri)
            self.client = self.mlflow.MlflowClient(self.uri)
            self.check()

    def check(self) -> None:
        """Raise if the store does not answer."""
        self.client.search_experiments(max_results=1)

    def reason(self, error: Exception) -> str:
        """Give why a step failed, without secrets; raises StoreError if the store is gone."""
        self.within_deadline(self.check)
        return without_secrets(one_line(error), self.uri)

    def experiment(self, part: str, purpose: str = "") -> str:
        """Give the id of a part's experiment, also a renamed one; it is made if it is not there.

        Raises RetraceError if it was deleted, or its files lie in another checkout.
        """
        name = f"retrace/{part}"
        tagged = self.client.search_experiments(filter_string=f"tags.`{PART}` = '{part}'")
        if found := tagged[0] if tagged else self.client.get_experiment_by_name(name):
            self._check(found)
            return str(found.experiment_id)
        # Files go beside the checkout's store; a server knows where to keep them
        local = None if self.over_http else (self.home / "mlruns" / part).as_uri()
        # Their kind is for the UI: they train models, they are no traces of language models
        tags = {PART: part, "mlflow.note.content": purpose}
        tags["mlflow.experimentKind"] = "custom_model_development"
        return str(self.client.create_experiment(name, local, tags))

    def _check(self, experiment: Any) -> None:
        if experiment.lifecycle_stage == "deleted":
            raise RetraceError(
                f"the experiment {experiment.name} was deleted; `MLFLOW_TRACKING_URI="
                f"{displayed(self.uri)} mlflow experiments restore --experiment-id "
                f"{experiment.experiment_id}` brings it back"
            )
        files = urlsplit(experiment.artifact_location)
        path, local = Path(unquote(files.path)), files.scheme in ("", "file")
        if self.own and local and not path.resolve().is_relative_to(self.home.resolve()):
            raise RetraceError(
                f"this mlflow.db is a copy of the one of {path.parent.parent}, where its files "
                "lie; move it away, with mlruns, and a new one is made here"
            )

    def runs(self, wanted: str, experiment: str = "") -> list[Any]:
        """Give all runs that a filter finds, of an experiment by its id or of all, newest first."""
        where = {"experiment_ids": [experiment]} if experiment else {"search_all_experiments": True}
        return list(self.mlflow.search_runs(**where, filter_string=wanted, output_format="list"))

    def log(
        self, run_id: str, params: Named = None, metrics: Sequence[Point] = (), tags: Named = None
    ) -> None:
        """Add to a run."""
        of = self.mlflow.entities
        points = [of.Metric(n, value, int(t * 1000), step) for n, value, t, step in metrics]
        words = [of.Param(key, str(value)) for key, value in (params or {}).items()]
        marks = [of.RunTag(*tag) for tag in (tags or {}).items()]
        for start in range(0, len(points) or 1, BATCH):
            signal.alarm(self.patience)  # there is progress
            self.client.log_batch(run_id, points[start : start + BATCH], words, marks)
