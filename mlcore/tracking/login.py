"""The login at this checkout's MLflow server (mlcore/tracking/server.py).

It lies in server/login.env, which only its owner may read: MLflow's own variables, one a line, that
a shell can read, too. Nothing heavy is imported here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlcore.tracking.notes import checkout_root

SERVER = "this checkout's server"
"""What notes have in place of its URI, whose port may be another when they are sent."""

URI, USERNAME, PASSWORD = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)
TOKEN = "MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True)
class Login:
    """Where the server is and who may use it; the password is not shown."""

    uri: str
    username: str
    password: str = field(repr=False)


def server_folder(root: Path) -> Path:
    """Give the folder of all that the server keeps."""
    return checkout_root(root) / "server"


def read_login(folder: Path) -> Login | None:
    """Read the login from the server's folder; None if there is no whole one."""
    try:
        lines = (folder / "login.env").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    values = {name: value for name, _, value in (line.partition("=") for line in lines)}
    try:
        return Login(values[URI], values[USERNAME], values[PASSWORD])
    except KeyError:
        return None


def write_login(folder: Path, login: Login) -> None:
    """Write the login for its owner alone."""
    write_private(
        folder / "login.env",
        f"{URI}={login.uri}\n{USERNAME}={login.username}\n{PASSWORD}={login.password}\n",
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read at any time."""
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def logged_in(login: Login | None) -> Iterator[None]:
    """Have MLflow use a login while the block runs; without one, nothing changes.

    MLflow reads it from the environment at each request. What the user has set there is for
    another server, and this login is for no other and for no proxy.
    """
    if login is None:
        yield
        return
    before = dict(os.environ)
    os.environ.pop(TOKEN, None)
    os.environ |= {USERNAME: login.username, PASSWORD: login.password}
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    try:
        yield
    finally:
        for name in (TOKEN, USERNAME, PASSWORD, "NO_PROXY", "no_proxy"):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
