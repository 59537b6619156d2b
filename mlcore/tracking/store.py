"""The MLflow store: its URI, what of it may be shown, and a connection that never hangs."""

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from mlcore.tracking.notes import GROUP, checkout_root

SERVER = "server"
"""The URI, in parameters and notes, of this checkout's server, wherever it listens."""

PASSWORD, TOKEN = "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"

DEADLINE = 5.0
"""Seconds that a server has to answer; MLflow's own retries take minutes."""

SCHEMA_DEADLINE = 30.0
"""Seconds that a database has, whose tables may have to be made first."""


class StoreError(Exception):
    """The store cannot be used; the message has no secret in it."""


def default_uri(root: Path) -> str:
    """Give the URI of the SQLite store at the top of the checkout: always absolute."""
    database = str(checkout_root(root) / "mlflow.db")
    escaped = database.replace("%", "%25").replace("?", "%3F")
    # MLflow would make the folders of a plain sqlite: URI, by their names as they are escaped
    scheme = "sqlite" if escaped == database else "sqlite+pysqlite"
    return f"{scheme}:///{escaped}"


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


def _reason(error: Exception) -> str:
    status = getattr(error, "get_http_status_code", int)()  # of MLflow's own errors
    return "it does not take this user name and password" if status == 401 else str(error)


class Store:
    """A connection; making it imports mlflow, which takes seconds.

    Parameters
    ----------
    uri : str
    root : Path
        Top of the checkout.

    Raises
    ------
    StoreError
        If the store does not answer in time, or cannot be used.
    """

    def __init__(self, uri: str, root: Path) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"  # what is sent is there
        for name, value in {
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        }.items():
            os.environ.setdefault(name, value)
        if uri == SERVER:
            raise StoreError("it was never started; `make server` does that")
        self.uri, self.root = uri, root
        self.experiments: dict[str, str] = {}
        self.over_http = urlsplit(displayed(uri)).scheme in ("http", "https")
        if self.over_http:
            self.within_deadline(self._reach)
        import mlflow

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        self.mlflow = mlflow
        self.within_deadline(self._connect)

    def within_deadline(self, action: Callable[[], None]) -> None:
        """Run an action in a thread that is left behind when it hangs; raises StoreError then."""
        deadline = DEADLINE if self.over_http else SCHEMA_DEADLINE
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
        if raised:
            raise StoreError(without_secrets(_reason(raised[0]), self.uri)) from None

    def _reach(self) -> None:
        """Ask a server whether it is there, before MLflow is imported."""
        import requests

        requests.get(f"{displayed(self.uri).rstrip('/')}/health", timeout=DEADLINE)

    def _connect(self) -> None:
        # Of several processes that start on an empty database, all but one would fail
        with FileLock(checkout_root(self.root) / ".mlflow.lock"):
            if self.uri.startswith("sqlite"):
                self._make_whole()
            self.mlflow.set_tracking_uri(self.uri)
            self.client = self.mlflow.MlflowClient(self.uri)
            self.check()

    def _make_whole(self) -> None:
        """Make a new database under another name: MLflow cannot use one that it made in part."""
        from sqlalchemy import make_url

        url = make_url(self.uri)
        if not url.database or url.query or Path(url.database).exists():
            return
        new = f"{url.database}.new"
        for suffix in ("", "-journal"):
            Path(new + suffix).unlink(missing_ok=True)  # of a process that was killed
        self.mlflow.MlflowClient(f"{self.uri}.new").search_experiments(max_results=1)
        Path(new).replace(url.database)

    def check(self) -> None:
        """Raise if the store does not answer."""
        self.client.search_experiments(max_results=1)

    def experiment(self, name: str) -> str:
        """Give the id of an experiment, which is made if it is not there."""
        if name not in self.experiments:
            found = self.client.get_experiment_by_name(name)
            self.experiments[name] = found.experiment_id if found else self._create(name)
        return self.experiments[name]

    def _create(self, name: str) -> str:
        # A server knows where to keep artifacts; without one they go beside the checkout's store
        local = (checkout_root(self.root) / "mlruns" / name).as_uri()
        try:
            return str(
                self.client.create_experiment(
                    name,
                    artifact_location=None if self.over_http else local,
                    # For the UI: runs train models, they are no traces of language models
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
            )
        except self.mlflow.exceptions.MlflowException:  # another process was faster
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def find(self, experiment: str, identity: str) -> str | None:
        """Give the id of the run that was made for some notes, if there is one."""
        runs = self.client.search_runs(
            [self.experiment(experiment)], f"tags.`{IDENTITY}` = '{identity}'", max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def members(self, experiment: str, group: str) -> list[dict[str, Any]]:
        """Give the finished runs of a group.

        Parameters
        ----------
        experiment : str
            Name; empty for that of any part.
        group : str

        Returns
        -------
        list of dict
            "run_id", "name", "experiment", "started" (seconds since 1970), "params", "metrics".
        """
        ids = (
            {self.experiment(experiment): experiment}
            if experiment
            else {e.experiment_id: e.name for e in self.client.search_experiments()}
        )
        wanted = f"tags.`{GROUP}` = '{group}' and attributes.status = 'FINISHED'"
        return [
            {
                "run_id": run.info.run_id,
                "name": run.info.run_name,
                "experiment": ids[run.info.experiment_id],
                "started": run.info.start_time / 1000,
                "params": run.data.params,
                "metrics": run.data.metrics,
            }
            for run in self._search(ids, wanted, "attributes.start_time ASC")
        ]

    def _search(self, ids: Iterable[str], wanted: str, order: str) -> Iterator[Any]:
        """Give all runs that are found, however many; there must be an experiment."""
        token = None
        while True:
            page = self.client.search_runs(list(ids), wanted, order_by=[order], page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def runs_of_stages(self) -> dict[str, list[dict[str, Any]]]:
        """Give the finished runs of DVC's stages by the stage's name, the newest first.

        Returns
        -------
        dict of str to list of dict
            "run_id", "experiment", "started" (local time), "tags" of each.
        """
        names = {e.experiment_id: e.name for e in self.client.search_experiments()}
        found: dict[str, list[dict[str, Any]]] = {}
        wanted = "tags.origin = 'dvc' and attributes.status = 'FINISHED'"
        for run in self._search(names, wanted, "attributes.start_time DESC") if names else ():
            started = datetime.fromtimestamp(run.info.start_time / 1000)
            found.setdefault(run.data.tags.get("dvc.stage", ""), []).append(
                {
                    "run_id": run.info.run_id,
                    "experiment": names[run.info.experiment_id],
                    "started": f"{started:%Y-%m-%d %H:%M:%S}",
                    "tags": run.data.tags,
                }
            )
        return found


IDENTITY = "retrace.id"
"""Tag that ties a run to the notes it was made of, so that it is made once."""
