"""What coverage.py need not follow: before Python 3.12 it slows down all code, not ours alone."""

import sys
import warnings


def untraced(owner, *names):
    """Let functions of a library run unwatched; of ours they call tracking/serving.py alone."""

    def unwatched(function):
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
    with warnings.catch_warnings(action="ignore"):  # MLflow, of itself
        import mlflow.pyfunc
        import mlflow.sklearn
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from matplotlib.figure import Figure
    from rocrate_validator import services
    from ruamel.yaml import YAML
    from sklearn.covariance import LedoitWolf

    sys.settrace(tracer)
    public = [n for n, f in vars(mlflow.MlflowClient).items() if n[0] != "_" and callable(f)]
    untraced(mlflow.MlflowClient, "__init__", *public)
    untraced(mlflow, "search_runs")
    untraced(mlflow.pyfunc, "log_model", "load_model")
    untraced(mlflow.sklearn, "log_model")
    untraced(services, "validate")
    untraced(YAML, "load")  # of DVC
    untraced(ConfigLoaderImpl, "load_configuration")
    untraced(OverridesParser, "parse_overrides")
    untraced(Figure, "savefig")
    untraced(LedoitWolf, "fit")
