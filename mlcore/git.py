"""What git says."""

import subprocess
from pathlib import Path

from mlcore.errors import RetraceError


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; returns what it prints, without white space around it.

    Raises
    ------
    RetraceError
        If it is not installed, or fails; with its reason.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
    except OSError as error:
        raise RetraceError(f"git: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[0]
        raise RetraceError(f"git {arguments[0]}: {reason}") from None
    return done.stdout.strip()
