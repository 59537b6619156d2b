"""The schema of every parameter, and the ways to get a valid set of them.

`conf/` is the one source. Hydra composes it; `params.yaml` is what it composes to, and what DVC
and its stages read. Every way ends in `validate`, so that a wrong value is one clear line before
any work starts.
"""

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args as hydra_args
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from yaml import YAMLError

from mlcore.errors import RetraceError

T = TypeVar("T")


def _distinct(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise ValueError("should not hold a value twice")
    return values


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Several = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]
Layers = Annotated[list[Count], Field(min_length=1)]

NetworkActivation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "softmax", "identity"]
WeightInit = Literal["zero", "random", "normal", "he", "xavier"]
MLPActivation = Literal["logistic", "tanh", "relu", "identity"]
Solver = Literal["adam", "sgd"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FetchConfig(_Section):
    """The data set to fetch."""

    dataset: Literal["mnist", "fashion_mnist"]


class MnistConfig(_Section):
    """The 70,000 images of MNIST and their split (report, section 2.4)."""

    n_samples: Annotated[int, Field(ge=100, le=70_000)]
    test_size: Fraction
    seed: Seed


class FashionMnistConfig(_Section):
    """The subset of Fashion-MNIST (report, section 3)."""

    n_train: Annotated[int, Field(ge=100, le=60_000)]
    n_test: Annotated[int, Field(ge=20, le=10_000)]
    validation_size: Fraction
    seed: Seed


class GridConfig(_Section):
    """What the matrix stages run over."""

    activation: Several[NetworkActivation]
    init: Several[WeightInit]
    classifier_activation: Several[MLPActivation]
    autoencoder_activation: Several[MLPActivation]


class NetworkConfig(_Section):
    """The network from scratch (report, section 2.4)."""

    activation: NetworkActivation
    init: WeightInit
    hidden_layer_sizes: Layers
    learning_rate: Positive
    batch_size: Count
    max_epochs: Count
    patience: Count
    restore_best: bool
    seed: Seed


class ClassifierConfig(_Section):
    """scikit-learn's MLPClassifier (report, sections 3.2 and 3.5)."""

    activation: MLPActivation
    hidden_layer_sizes: Layers
    solver: Solver
    learning_rate: Positive
    batch_size: Count
    max_epochs: Count
    seed: Seed


class SearchConfig(_Section):
    """The grid search (report, section 3.3)."""

    activation: MLPActivation
    hidden_layer_sizes: Layers
    solver: Several[Solver]
    learning_rate: Several[Positive]
    batch_size: Several[Count]
    cv: Annotated[int, Field(ge=2)]
    max_epochs: Count
    seed: Seed


class AutoencoderConfig(_Section):
    """scikit-learn's MLPRegressor as an autoencoder (report, section 3.4)."""

    activation: MLPActivation
    hidden_layer_sizes: Layers
    solver: Solver
    learning_rate: Positive
    batch_size: Count
    max_epochs: Count
    early_stop: bool
    seed: Seed


class FeaturesConfig(_Section):
    """Where the code is read: the number of a hidden layer, the first being 1."""

    layer: Count


class FiguresConfig(_Section):
    """The test images that figures show."""

    n_images: Annotated[int, Field(ge=1, le=20)]
    seed: Seed


class TrackingConfig(_Section):
    """Where runs are recorded."""

    backend: Literal["mlflow", "none"]
    uri: str | None


class Config(_Section):
    """Every parameter of the study, by the part that uses it."""

    seed: Seed
    fetch: FetchConfig
    mnist: MnistConfig
    fashion_mnist: FashionMnistConfig
    grid: GridConfig
    network: NetworkConfig
    classifier: ClassifierConfig
    search: SearchConfig
    autoencoder: AutoencoderConfig
    features: FeaturesConfig
    feature_classifier: ClassifierConfig
    figures: FiguresConfig
    tracking: TrackingConfig

    @model_validator(mode="after")
    def _layer_exists(self) -> "Config":
        n_layers = len(self.autoencoder.hidden_layer_sizes)
        if self.features.layer > n_layers:
            raise ValueError(
                f"features.layer={self.features.layer}: should be at most {n_layers}, "
                "the number of autoencoder.hidden_layer_sizes"
            )
        return self


def validate(config: DictConfig, source: str) -> Config:
    """Check a composed configuration against the schema.

    Parameters
    ----------
    config : omegaconf.DictConfig
    source : str
        Where it came from, for the message.

    Raises
    ------
    RetraceError
        One line naming each wrong key, its value, and what is allowed.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise RetraceError(f"{source}: {_one_line(error)}") from None
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise RetraceError(f"{source}: {problems}") from None


def _describe(problem: Any) -> str:
    """Say in one clause what is wrong with one key, and what would be right."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return _unknown(problem["loc"], problem["input"])
        case "too_short":
            choices = _choices(problem["loc"])
            return f"{key}={problem['input']}: should hold at least one value{choices}"
        case "value_error" if not key:  # a check across sections, which names its own keys
            return str(problem["ctx"]["error"])
    wanted = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}={problem['input']!r}: {wanted}"


def _unknown(location: Sequence[str | int], value: Any) -> str:
    """Name an unknown key, and the nearest known one or all that stand beside it."""
    section: Any = Config
    above: list[str] = []
    for part in map(str, location):
        if part not in section.model_fields:
            break
        above.append(part)
        section = section.model_fields[part].annotation
        if not hasattr(section, "model_fields"):
            return f"{'.'.join(above)} holds a value and has no parameters of its own"
    else:
        return (
            f"{'.'.join(above)} is a section; name one of {', '.join(section.model_fields)} in it"
        )
    key = ".".join(map(str, location))
    near = difflib.get_close_matches(part, section.model_fields, n=1)
    if near:
        return f"unknown parameter {key}={value}; did you mean {'.'.join([*above, near[0]])}?"
    return f"unknown parameter {key}={value}; known here are {', '.join(section.model_fields)}"


def _choices(location: Sequence[str | int]) -> str:
    """Give the values that a list of names may hold, if they are few."""
    section, name = Config.model_fields[str(location[0])].annotation, str(location[1])
    inner = get_args(section.model_fields[name].annotation)  # type: ignore[union-attr]
    names = get_args(inner[0]) if inner and get_origin(inner[0]) is Literal else ()
    return f" of {', '.join(names)}" if names else ""


def _one_line(error: BaseException) -> str:
    """Fold a message of Hydra or OmegaConf into one line, without what it says about types."""
    noise = ("full_key", "object_type", "See ", "Config search path", "provider=")
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(noise)]
    return " ".join(kept) or type(error).__name__


def compose_raw(conf: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the folder `conf` with Hydra overrides such as ``network.learning_rate=0.05``.

    Raises
    ------
    RetraceError
        If the files or the overrides cannot be composed.
    """
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            config = hydra.compose("config", overrides=list(overrides))
            OmegaConf.resolve(config)
            return config
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise RetraceError(_composition_problem(error, conf, overrides)) from None


def _composition_problem(error: Exception, conf: Path, overrides: Sequence[str]) -> str:
    """Say in one line which override could not be applied, if one is to blame."""
    for override in overrides:
        key, _, value = override.partition("=")
        if f"Could not override '{key}'" in str(error):
            return f"command line: {_unknown(key.split('.'), value)}"
    source = f"command line: {' '.join(overrides)}" if overrides else f"{conf.name}/"
    return f"{source}: {_one_line(error)}"


def compose(conf: Path, overrides: Sequence[str] = ()) -> Config:
    """Compose and validate; see `compose_raw` and `validate`."""
    return validate(compose_raw(conf, overrides), "command line" if overrides else f"{conf.name}/")


def dump(config: DictConfig) -> str:
    """Write a composed configuration as YAML, in the bytes that `dvc exp run` writes."""
    return OmegaConf.to_yaml(config, resolve=True)


def load(params: Path, overrides: Sequence[str] = ()) -> Config:
    """Read and validate params.yaml, with overrides in dot notation.

    Raises
    ------
    RetraceError
        If the file is absent, is not YAML or does not fit the schema.
    """
    try:
        # OmegaConf's own reader: for PyYAML 1e-5 is a string
        config = OmegaConf.merge(OmegaConf.load(params), OmegaConf.from_dotlist(list(overrides)))
    except FileNotFoundError:
        raise RetraceError(f"{params.name} does not exist; `make params` writes it") from None
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise RetraceError(f"{params.name} cannot be read: {_one_line(error)}") from None
    if not isinstance(config, DictConfig):
        raise RetraceError(f"{params.name} should hold a mapping; `make params` writes it")
    return validate(config, params.name)


def run_as_hydra_app(task: Callable[[Config, Path], None], name: str, conf: Path) -> None:
    """Run `task(config, output folder)` as a Hydra application, once or as a multirun.

    Every job of a sweep is composed and checked before the first one starts.

    Parameters
    ----------
    task : callable
    name : str
        Module that is being run, as in ``python -m name``; Hydra names the job after it.
    conf : Path

    Raises
    ------
    RetraceError
        If the overrides of any job are wrong.
    """
    args = hydra_args()
    try:
        overrides = OverridesParser.create().parse_overrides(args.overrides)
    except HydraException as error:
        raise RetraceError(f"command line: {_one_line(error)}") from None
    if args.multirun:
        jobs = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    else:
        jobs = [args.overrides]
    for job in jobs:
        compose(conf, [override for override in job if not override.startswith("hydra")])

    def job_of_hydra(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        try:
            task(validate(config, "command line"), Path(hydra_config.runtime.output_dir))
        except RetraceError as error:
            if hydra_config.mode == hydra.types.RunMode.MULTIRUN:
                raise CompactHydraException(f"error: {error}") from None  # printed as it is
            sys.exit(f"error: {error}")

    job_of_hydra.__module__ = name
    hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job_of_hydra)()


if __name__ == "__main__":  # python -m mlcore.config [overrides]: write params.yaml
    from mlcore.artifacts import atomic_path

    root = Path(__file__).parents[1]
    try:
        compose(root / "conf", sys.argv[1:])
    except RetraceError as error:
        sys.exit(f"error: {error}")
    with atomic_path(root / "params.yaml") as temporary:
        temporary.write_text(dump(compose_raw(root / "conf", sys.argv[1:])), encoding="utf-8")
