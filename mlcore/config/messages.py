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
        unread = getattr(error, "override", None)  # by Hydra's parser, which does not name it
        where = f"{source}: {unread}" if unread else source
        raise RetraceError(masked(f"{where}: {one_line(error)}")) from None


def composition_problem(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Say in one line which override could not be applied, if one is to blame."""
    if found := NO_OPTION.search(str(error)):
        path, group, known = found.groups()
        option = path.removeprefix(f"{group}/")
        return f"command line: {group}={option} is unknown; {nearest(option, known.split())}"
    for override in overrides:
        key, _, value = override.partition("=")
        if f"Could not override '{key}'" in str(error):
            return f"command line: {unknown_key(key.split('.'), value, Config)}"
    source = f"command line: {' '.join(overrides)}" if overrides else f"{conf.name}/"
    return f"{source}: {one_line(error)}"
