"""Write params.yaml: ``python -m mlcore.config [overrides]``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mlcore.config import compose_raw, dump, validate
from mlcore.errors import RetraceError
from mlcore.files import atomic_path
from mlcore.process import checkout


def main(overrides: Sequence[str], root: Path) -> None:
    """Compose conf/ into params.yaml."""
    try:
        composed = compose_raw(root / "conf", overrides)
        validate(composed, "command line" if overrides else "conf/")
    except RetraceError as error:
        sys.exit(f"error: {error}")
    with atomic_path(root / "params.yaml") as temporary:
        temporary.write_text(dump(composed), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:], checkout())
