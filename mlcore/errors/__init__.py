"""The one error type for what the user can put right, and errors in one line."""

NOISE = ("full_key", "object_type", "See ", "Config search path", "provider=")
"""Beginnings of the lines in which Hydra and OmegaConf tell of their own types."""


class RetraceError(Exception):
    """Wrong input: a parameter, a file, a data source.

    The message is complete in itself: it names the value, where it came from and what would be
    right. The command line prints it without a traceback.
    """


def one_line(error: BaseException | str, limit: int = 2000) -> str:
    """Fold an error's words into one printable line of at most `limit` characters."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(NOISE))
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: limit + 1])
    return f"{text[:limit]} ..." if len(text) > limit else text or type(error).__name__
