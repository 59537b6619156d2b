"""The one error type for what the user can put right."""


class RetraceError(Exception):
    """Wrong input: a parameter, a file, a data source.

    The message is complete in itself: it names the value, where it came from and what would be
    right. The command line prints it without a traceback.
    """
