"""Write params.yaml: ``python -m mlcore.config [overrides]``."""

import sys
from pathlib import Path

from mlcore.config import compose_raw, dump, validate
from mlcore.errors import RetraceError
from mlcore.files import atomic_path

ROOT = Path(__file__).parents[2]

try:
    composed = compose_raw(ROOT / "conf", sys.argv[1:])
    validate(composed, "command line" if sys.argv[1:] else "conf/")
except RetraceError as error:
    sys.exit(f"error: {error}")
with atomic_path(ROOT / "params.yaml") as temporary:
    temporary.write_text(dump(composed), encoding="utf-8")
