"""The wording of what is wrong with a configuration: one line that says what would be right."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlcore.config.schema import Config
from mlcore.errors import RetraceError, one_line
from mlcore.errors.validation import masked, nearest, unknown_key

NO_OPTION = re.compile(r"Could not find '(.+)'\s+Available options in '(.+)':((?:\n\t\S+)+)")


@contextmanager
def in_one_line(source: str) -> Iterator[None]:
    """Have whatever Hydra, OmegaConf or YAML raise in the block be a RetraceError of one line."""
    try:
        yield
    except Exception as error:
        raise RetraceError(masked(f"{_where(error, source)}: {one_line(error)}")) from None


def _where(error: Exception, source: str) -> str:
    """Name the override that Hydra's parser could not read, where it does not do so itself."""
    unread = getattr(error, "override", None)
    return f"{source}: {unread}" if unread and unread not in str(error) else source


def composition_problem(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Say in one line which override could not be applied, if one is to blame."""
    for override in overrides:
        key, _, value = override.partition("=")
        if f"Could not override '{key}'" in str(error):
            return f"command line: {unknown_key(key.split('.'), value, Config)}"
    if hasattr(error, "override"):
        return f"{_where(error, 'command line')}: {one_line(error)}"
    source = f"command line: {' '.join(overrides)}" if overrides else f"{conf.name}/"
    if found := NO_OPTION.search(str(error)):
        path, group, known = found.groups()
        option = path.removeprefix(f"{group}/")
        if f"{group}={option}" in overrides:
            source = "command line"
        return f"{source}: {group}={option} is unknown; {nearest(option, known.split())}"
    return f"{source}: {one_line(error)}"
