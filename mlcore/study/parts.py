"""The study's parts and its printed numbers: the one table of what they are and whence they come.

A new number is entered here, in metrics/published.yaml and, if none of its patterns fits, in
metrics/rules.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product


@dataclass(frozen=True)
class Part:
    """What a stage computes."""

    stage: str  # in dvc.yaml, without the item of its matrix
    file: str  # of the results, in metrics/; "{}" stands for a training's name ("tanh-normal")
    sections: tuple[str, ...] = ()  # of the parameters behind them
    # Parameters that the matrix sets, and the key of `grid` with their values
    varied: Mapping[str, str] = field(default_factory=dict)

    def names(self, grid: Mapping[str, Sequence[str]]) -> list[str]:
        """Name the trainings of a grid."""
        return ["-".join(values) for values in product(*(grid[k] for k in self.varied.values()))]


PARTS = {
    "worked_examples": Part("worked_examples", "worked_examples.json"),
    "mnist": Part("split_mnist", "mnist.json", ("mnist",)),
    "fashion_mnist": Part("subset_fashion", "fashion_mnist.json", ("fashion_mnist",)),
    "network": Part(
        "train_network",
        "network/{}.json",
        ("mnist", "network"),
        {"network.activation": "activation", "network.init": "init"},
    ),
    "classifier": Part(
        "fit_classifier",
        "classifier/{}.json",
        ("fashion_mnist", "classifier"),
        {"classifier.activation": "classifier_activation", "classifier.method": "method"},
    ),
    "candidates": Part("search_classifier", "search.csv", ("fashion_mnist", "search")),
    "search": Part("search_classifier", "search/best.json", ("fashion_mnist", "search")),
    "autoencoder": Part(
        "train_autoencoder",
        "autoencoder/{}.json",
        ("fashion_mnist", "autoencoder"),
        {"autoencoder.activation": "autoencoder_activation", "autoencoder.method": "method"},
    ),
    "feature_classifier": Part(
        "classify_features",
        "feature_classifier/{}.json",
        ("fashion_mnist", "autoencoder", "features", "feature_classifier"),
        {"autoencoder.activation": "autoencoder_activation"},
    ),
    "figures": Part("evaluate", "summary.json", ("figures",)),
    "grid": Part("evaluate", "summary.json", ("grid",)),
    "report": Part("evaluate", "summary.json"),
}
"""By name: that of the folders of trainings, and of the rows in replicates.csv."""


@dataclass(frozen=True)
class Group:
    """Printed numbers of one kind."""

    # Beginning of their paths in published.yaml. Of trainings: section and metric; the rest of a
    # path is the training's name, but for the method
    path: str
    part: str  # of `PARTS`
    name: str  # in words, on the page
    method: str = ""  # of the model that they are of, where the study trained two

    @property
    def trained(self) -> bool:
        """Whether they vary from run to run, as accuracies and losses of models do."""
        return self.path.endswith(("accuracy", "loss"))

    @property
    def per_cent(self) -> bool:
        """Whether they are written in per cent."""
        return self.path.endswith("accuracy")

    def training(self, path: str) -> str:
        """Name the training that a number is of, by the number's path."""
        return "-".join([*path.split(".")[2:], *filter(None, [self.method])])


GROUPS = (
    Group("worked_examples.backprop", "worked_examples", "Q1 a"),
    Group("worked_examples.max_margin", "worked_examples", "Q1 b"),
    Group("worked_examples.given_hyperplane", "worked_examples", "Q1 c"),
    Group("mnist_grid.data", "mnist", "MNIST, data"),
    Group("mnist_grid.configurations", "grid", "MNIST, configurations"),
    Group("mnist_grid.split", "mnist", "MNIST, images"),
    Group("mnist_grid.test_accuracy", "network", "MNIST, test accuracy"),
    Group("fashion_classifier.data", "fashion_mnist", "Fashion-MNIST, data"),
    Group("fashion_classifier.subset", "fashion_mnist", "Fashion-MNIST, images"),
    Group("fashion_classifier.test_accuracy", "classifier", "Fashion-MNIST, test accuracy", "fit"),
    Group("fashion_classifier.test_loss", "classifier", "Fashion-MNIST, test loss", "partial_fit"),
    Group("fashion_classifier.val_loss", "classifier", "Fashion-MNIST, validation loss",
          "partial_fit"),
    Group("fashion_search.size", "candidates", "Search, size"),
    Group("fashion_search.best", "candidates", "Search, best"),
    Group("fashion_search.cv_accuracy", "search", "Search, accuracy over the folds"),
    Group("autoencoder", "figures", "Autoencoder"),
    Group("bottleneck_probe.train_accuracy", "feature_classifier", "32-d codes, training accuracy"),
    Group("bottleneck_probe.test_accuracy", "feature_classifier", "32-d codes, test accuracy"),
    Group("bottleneck_probe.compared", "report", "32-d codes, compared with"),
)  # fmt: skip
"""In the study's order."""


def group_of(path: str) -> Group | None:
    """Give the group of a number by its path in published.yaml; None if there is none."""
    return next((g for g in GROUPS if path == g.path or path.startswith(f"{g.path}.")), None)
