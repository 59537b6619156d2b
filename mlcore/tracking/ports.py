"""Ports of this machine: ``python -m mlcore.tracking.ports PORT`` says whether one is free."""

import os
import socket
import sys

from mlcore.errors import RetraceError


def check_free(port: str | int, advice: str) -> None:
    """Raise RetraceError, which ends in `advice`, if a port of this machine cannot be used."""
    try:
        number = int(port)
        if not 0 < number < 2**16:
            raise ValueError
        socket.create_server(("127.0.0.1", number)).close()
    except ValueError:
        reason = "it should be a number from 1 to 65535"
    except OSError as error:
        reason = os.strerror(error.errno or 0)
    else:
        return
    raise RetraceError(f"port {port} cannot be used: {reason}; {advice}")


if __name__ == "__main__":
    try:
        check_free(sys.argv[1], "`make ui PORT=n` takes another")
    except RetraceError as error:
        sys.exit(f"error: {error}")
