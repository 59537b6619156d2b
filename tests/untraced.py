"""What coverage.py need not follow: before Python 3.12 it slows down all code, not ours alone."""

import sys
from functools import wraps


def untraced(owner, *names):
    """Let functions of a library, which call none of ours, run unwatched."""

    def unwatched(function):
        @wraps(function)
        def call(*arguments, **options):
            tracer = sys.gettrace()
            sys.settrace(None)
            try:
                return function(*arguments, **options)
            finally:
                sys.settrace(tracer)

        return call

    for name in names:
        setattr(owner, name, unwatched(getattr(owner, name)))


tracer = sys.gettrace()
if tracer and sys.version_info < (3, 12):
    sys.settrace(None)
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from sklearn.covariance import LedoitWolf

    sys.settrace(tracer)
    public = [n for n, f in vars(MlflowClient).items() if n[0] != "_" and callable(f)]
    untraced(MlflowClient, "__init__", *public)
    untraced(ConfigLoaderImpl, "load_configuration")
    untraced(OverridesParser, "parse_overrides")
    untraced(Figure, "savefig")
    untraced(LedoitWolf, "fit")
