"""The wording of what is wrong with a configuration: one line that says what would be right."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlcore.config.schema import Config
from mlcore.errors import RetraceError, one_line
from mlcore.validation import masked, unknown_key


@contextmanager
def in_one_line(source: str) -> Iterator[None]:
    """Have whatever Hydra, OmegaConf or YAML raise in the block be a RetraceError of one line."""
    try:
        yield
    except Exception as error:
        raise RetraceError(masked(f"{source}: {one_line(error)}")) from None


def composition_problem(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Say in one line which override could not be applied, if one is to blame."""
    for override in overrides:
        key, _, value = override.partition("=")
        if f"Could not override '{key}'" in str(error):
            return f"command line: {unknown_key(key.split('.'), value, Config)}"
    source = f"command line: {' '.join(overrides)}" if overrides else f"{conf.name}/"
    return f"{source}: {one_line(error)}"
