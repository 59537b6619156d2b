"""The schema of every parameter: its type, its range, and what parameters demand of each other."""

import re
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mlcore.errors.validation import Section

T = TypeVar("T")

STORE = re.compile(
    r"sqlite:///.|(postgresql|mysql|mssql)(\+\w+)?://.|https?://.|databricks|server$"
)
"""Beginnings of what MLflow takes for a store."""


def _distinct(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise ValueError("should not hold a value twice")
    return values


def _of_the_study(methods: list[T]) -> list[T]:
    if not {"fit", "partial_fit"} <= set(methods):
        raise ValueError("should hold fit and partial_fit: the study has numbers of both")
    return methods


def _store_without_secret(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        token = parts.username and parts.scheme in ("http", "https")
        query = parts.query and not parts.scheme.startswith("sqlite")
        secret = parts.password or token or query
    except ValueError:
        secret = True  # nobody knows what is in it
    if secret:
        # Parameters are written to files and logs
        raise PydanticCustomError(
            "secret",
            "should be a URI without password and query; those belong in the environment: "
            "MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if not STORE.match(uri):
        raise ValueError(
            "should be like sqlite:////folder/mlflow.db, postgresql://host/database or "
            "http://host:5000; server is this checkout's own"
        )
    return uri


Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Several = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]
Layers = Annotated[list[Count], Field(min_length=1)]

NetworkActivation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "softmax", "identity"]
WeightInit = Literal["zero", "random", "random_normal", "normal", "he", "xavier"]
BiasInit = Literal[WeightInit, "weights"]
MLPActivation = Literal["logistic", "tanh", "relu", "identity"]
Solver = Literal["adam", "sgd"]
SearchedSolver = Literal[Solver, "lbfgs"]
Dtype = Literal["float32", "float64"]
Method = Literal["fit", "partial_fit", "warm_start"]
TrainedOn = Literal["train", "full"]


class FetchConfig(Section):
    """The data set to fetch."""

    dataset: Literal["mnist", "fashion_mnist"]


class MnistConfig(Section):
    """The 70,000 images of MNIST and their split (report, section 2.4)."""

    n_samples: Annotated[int, Field(ge=100, le=70_000)]
    test_size: Fraction
    seed: Seed


class FashionMnistConfig(Section):
    """The subset of Fashion-MNIST (report, section 3)."""

    n_train: Annotated[int, Field(ge=100, le=60_000)]
    n_test: Annotated[int, Field(ge=20, le=10_000)]
    source: Literal["idx", "kaggle"]
    subset_seed: Seed | None
    pooled: bool
    validation_size: Fraction
    stratify: bool
    seed: Seed


class GridConfig(Section):
    """What the matrix stages run over."""

    activation: Several[NetworkActivation]
    init: Several[WeightInit]
    classifier_activation: Several[MLPActivation]
    autoencoder_activation: Several[MLPActivation]
    method: Annotated[Several[Method], AfterValidator(_of_the_study)]


class NetworkConfig(Section):
    """The network from scratch (report, section 2.4)."""

    activation: NetworkActivation
    init: WeightInit
    bias_init: BiasInit
    init_scale: Positive
    hidden_layer_sizes: Layers
    learning_rate: Positive
    batch_size: Count
    max_epochs: Count
    patience: Count | None
    restore_best: bool
    dtype: Dtype
    seed: Seed


class _MLPConfig(Section):
    activation: MLPActivation
    hidden_layer_sizes: Layers
    solver: Solver
    learning_rate: Positive
    batch_size: Count
    max_epochs: Count
    seed: Seed


class _ImageModelConfig(_MLPConfig):
    method: Method
    images: TrainedOn | None
    dtype: Dtype

    @property
    def trained_on(self) -> TrainedOn:
        """The part that it trains on: unless stated, that of the study's code."""
        return self.images or ("full" if self.method == "fit" else "train")


class ClassifierConfig(_ImageModelConfig):
    """scikit-learn's MLPClassifier on images (report, section 3.2)."""

    divisor: Positive


class FeatureClassifierConfig(_MLPConfig):
    """scikit-learn's MLPClassifier on codes (report, section 3.5)."""


class SearchConfig(Section):
    """The grid search (report, section 3.3)."""

    activation: MLPActivation
    hidden_layer_sizes: Layers
    solver: Several[SearchedSolver]
    learning_rate: Several[Positive]
    batch_size: Several[Count]
    cv: Annotated[int, Field(ge=2)]
    fold_seed: Seed | None
    max_epochs: Count
    dtype: Dtype
    seed: Seed


class AutoencoderConfig(_ImageModelConfig):
    """scikit-learn's MLPRegressor as an autoencoder (report, section 3.4)."""

    early_stop: bool


class FeaturesConfig(Section):
    """What the last classifiers are given: `layer` numbers hidden layers, the first being 1."""

    by: Literal["autoencoder", "pca", "projection"]
    layer: Count
    seed: Seed


class FiguresConfig(Section):
    """The test images that figures show."""

    n_images: Annotated[int, Field(ge=1, le=20)]


class TrackingConfig(Section):
    """Where runs are recorded."""

    backend: Literal["mlflow", "none"]
    uri: Annotated[str, AfterValidator(_store_without_secret)] | None


class Config(Section):
    """Every parameter of the study, by the part that uses it."""

    seed: Seed
    dtype: Dtype
    fetch: FetchConfig
    mnist: MnistConfig
    fashion_mnist: FashionMnistConfig
    grid: GridConfig
    network: NetworkConfig
    classifier: ClassifierConfig
    search: SearchConfig
    autoencoder: AutoencoderConfig
    features: FeaturesConfig
    feature_classifier: FeatureClassifierConfig
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
