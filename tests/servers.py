"""Servers that run as long as a block, on a port of their own."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress


def free_port():
    """A port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_for(condition, seconds=150):
    """Wait until a condition gives what is true; gives that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):  # of requests, too
            if value := condition():
                return value
        time.sleep(0.2)
    raise AssertionError("it did not happen")


@contextmanager
def serving(*command, seconds=150, end=signal.SIGKILL, **options):
    """Run a command with a free port as its last word; gives its URL once it answers /health."""
    port = free_port()
    process = subprocess.Popen([*command, str(port)], start_new_session=True, **options)

    def answers():
        assert process.poll() is None, f"{command} has ended"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
            return True

    try:
        wait_for(answers, seconds)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        process.wait(30)
