"""The MLflow store: its URI, what of it may be shown, and a connection that never hangs."""

import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from mlcore.errors import RetraceError, one_line
from mlcore.files import atomic_path
from mlcore.tracking.notes import checkout_root

SERVER = "server"
"""This checkout's own server, in parameters and notes; its address is in server/login.env."""

PASSWORD, TOKEN = "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"

BATCH = 1000
"""Metrics that MLflow takes in one call."""


# Without asynchronous logging, what is sent is there
FIXED = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"}
SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


class StoreError(Exception):
    """The store cannot be used; the message has no secret in it."""


def default_uri(root: Path) -> str:
    """Give the URI of the SQLite store at the top of the checkout: always absolute."""
    return f"sqlite:///{checkout_root(root) / 'mlflow.db'}"


def displayed(uri: str) -> str:
    """Give a URI without what may be secret in it: user, password and query."""
    if uri.startswith("sqlite") or "://" not in uri:
        return uri
    scheme, _, rest = uri.partition("://")
    address = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{address.rpartition('@')[2]}"


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


class Store:
    """A connection; making it imports mlflow, which takes seconds.

    With `patience`, in seconds, this process is ended if as long as that nothing is logged. Raises
    StoreError if the store does not answer in time, or cannot be used.
    """

    def __init__(self, uri: str, root: Path, patience: int = 0) -> None:
        if uri == SERVER:
            raise StoreError("it was never started; `make server` does that")
        os.environ |= SETTINGS | os.environ | FIXED
        import mlflow

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        self.mlflow, self.uri, self.root, self.patience = mlflow, uri, root, patience
        self.over_http = urlsplit(displayed(uri)).scheme in ("http", "https")
        self.experiments: dict[str, str] = {}
        self.within_deadline(self._connect)

    def within_deadline(self, action: Callable[[], None]) -> None:
        """Run an action in a thread that is left behind when it hangs; raises StoreError then."""
        # MLflow's own retries take minutes; tables of a database may have to be made first
        deadline = 5.0 if self.over_http else 30.0
        raised: list[Exception] = []

        def run() -> None:
            try:
                action()
            except Exception as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(deadline)
        if thread.is_alive():
            raise StoreError(f"no answer within {deadline:g} s")
        for error in raised:
            status = getattr(error, "get_http_status_code", int)()  # of MLflow's own errors
            refused = "it does not take this user name and password"
            reason = refused if status == 401 else without_secrets(str(error), self.uri)
            raise StoreError(reason) from None

    def _connect(self) -> None:
        # Of several processes that start on an empty database, all but one would fail
        with FileLock(checkout_root(self.root) / ".mlflow.lock"):
            database = checkout_root(self.root) / "mlflow.db"
            if self.uri == default_uri(self.root) and not database.exists():
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

    def experiment(self, name: str) -> str:
        """Give the id of an experiment, which is made if it is not there.

        Raises RetraceError if it was deleted, or its files lie in another checkout.
        """
        if name not in self.experiments:
            # A server knows where to keep artifacts; without one they go beside the checkout's
            # store. For the UI: runs train models, they are no traces of language models
            local = (checkout_root(self.root) / "mlruns" / name).as_uri()
            tags = {"mlflow.experimentKind": "custom_model_development"}
            if found := self.client.get_experiment_by_name(name):
                self._check(found)
                number = found.experiment_id
            else:
                number = self.client.create_experiment(
                    name, None if self.over_http else local, tags
                )
            self.experiments[name] = str(number)
        return self.experiments[name]

    def _check(self, experiment: Any) -> None:
        if experiment.lifecycle_stage == "deleted":
            raise RetraceError(
                f"the experiment {experiment.name} was deleted; `MLFLOW_TRACKING_URI="
                f"{displayed(self.uri)} mlflow experiments restore --experiment-id "
                f"{experiment.experiment_id}` brings it back"
            )
        files = urlsplit(experiment.artifact_location)
        path, here = Path(unquote(files.path)), checkout_root(self.root).resolve()
        own = self.uri == default_uri(self.root) and files.scheme in ("", "file")
        if own and not path.resolve().is_relative_to(here):
            raise RetraceError(
                f"this mlflow.db is a copy of the one of {path.parent.parent}, where its files "
                "lie; move it away, with mlruns, and a new one is made here"
            )

    def runs(self, wanted: str, experiment: str = "", order: str = "start_time DESC") -> list[Any]:
        """Give all runs that a filter finds, of an experiment or of all."""
        ids = [self.experiment(experiment)] if experiment else None
        found: list[Any] = self.mlflow.search_runs(
            ids, wanted, order_by=[order], output_format="list", search_all_experiments=not ids
        )
        return found

    def log(
        self,
        run_id: str,
        params: Mapping[str, str] | None = None,
        metrics: Iterable[tuple[str, float, float, int]] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a run; of each metric name, value, seconds since 1970, step."""
        of = self.mlflow.entities
        points = [of.Metric(n, value, milliseconds(t), step) for n, value, t, step in metrics]
        words = [of.Param(*param) for param in (params or {}).items()]
        marks = [of.RunTag(*tag) for tag in (tags or {}).items()]
        for start in range(0, len(points) or 1, BATCH):
            signal.alarm(self.patience)  # there is progress
            self.client.log_batch(run_id, points[start : start + BATCH], words, marks)


def milliseconds(seconds: float) -> int:
    """Give a time as MLflow has it."""
    return int(seconds * 1000)
