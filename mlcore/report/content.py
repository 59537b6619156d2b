"""What the page shows of the results, in the order and the words in which it shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.pipeline.dvc_yaml import Stage
from mlcore.report.strips import Strip, strip

SECTIONS = {
    "worked_examples.backprop": "Q1 a",
    "worked_examples.max_margin": "Q1 b",
    "worked_examples.given_hyperplane": "Q1 c",
    "mnist_grid.split": "MNIST, images",
    "mnist_grid.test_accuracy": "MNIST, test accuracy",
    "fashion_classifier.subset": "Fashion-MNIST, images",
    "fashion_classifier.test_accuracy": "Fashion-MNIST, test accuracy",
    "fashion_classifier.test_loss": "Fashion-MNIST, test loss",
    "fashion_classifier.val_loss": "Fashion-MNIST, validation loss",
    "fashion_search.best": "Search, best",
    "fashion_search.cv_accuracy": "Search, accuracy over the folds",
    "autoencoder": "Autoencoder",
    "bottleneck_probe.train_accuracy": "32-d codes, training accuracy",
    "bottleneck_probe.test_accuracy": "32-d codes, test accuracy",
}
"""Beginnings of the figures' paths, in the study's order, and what they are of."""

ORDER = [
    "zero",
    "random",
    "normal",
    "sigmoid",
    "logistic",
    "tanh",
    "relu",
    "leaky_relu",
    "identity",
]
"""Of initialisations and activations."""

WORDS = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "learning_rate_init": "learning rate"}

CHOICES = {
    "stopping": "When a training of the grid ends: patience of 10 or 20, last or best weights",
    "mnist-split": "How MNIST is split",
    "init-scale": "The scale of normal and random initial weights",
    "classifier-split": "Which of the 8,000 images validate",
    "validation-share": "How many validate: 10, 20 or 30 %, stratified",
    "fashion-subset": "Which 8,000 images are taken",
    "code-split": "Which images validate the autoencoder and the classifier on its code",
    "code-layer": "The layer that the code is read from",
    "autoencoder-stopping": "Whether the autoencoders stop early",
    "autoencoder-batch": "The autoencoders' batch size: 128",
    "search-iterations": "The search's epochs: 200",
}
"""Sweeps of sweeps/sensitivity.yaml, with what each asks; in the study's order."""


def name_of(path: str) -> str:
    """Name a figure in words: "MNIST, test accuracy: tanh, normal"."""
    beginning = next((b for b in SECTIONS if path == b or path.startswith(f"{b}.")), None)
    if beginning is None:
        return path
    rest = path.removeprefix(beginning).strip(".")
    words = ", ".join(WORDS.get(word, word.replace("_", " ")) for word in rest.split(".") if word)
    return f"{SECTIONS[beginning]}: {words}" if words else SECTIONS[beginning]


def in_order(figures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the figures in the study's order, each with its name and the strip of its seeds."""
    beginnings = list(SECTIONS)

    def position(path: str) -> list[int]:
        first = next((k for k, b in enumerate(beginnings) if path.startswith(b)), len(beginnings))
        return [first, *(ORDER.index(word) for word in path.split(".") if word in ORDER)]

    return [
        {**figures[path], "name": name_of(path), "strip": strip_of(figures[path])}
        for path in sorted(figures, key=position)
    ]


def strip_of(figure: Mapping[str, Any]) -> Strip | None:
    """Give the strip of a figure's seeds; None if there are none, or it is no number."""
    if not figure["values"] or not isinstance(figure["published"], int | float):
        return None
    return strip(
        figure["values"],
        figure["published"],
        figure["ours"],
        figure["interval"],
        figure["tolerance"] or 0.0,
    )


def choices(
    sensitivity: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give the open choices in the study's order, each with the figures that it moves.

    Parameters
    ----------
    sensitivity : mapping
        What `stages.sensitivity` wrote.
    figures : mapping of str to mapping
        Verdicts by path.
    """
    values: dict[tuple[str, str], list[float]] = {}
    for row in sensitivity["alternatives"]:
        values.setdefault((row["choice"], row["figure"]), []).append(row["mean"])
    by_choice: dict[str, list[dict[str, Any]]] = {}
    for row in sensitivity["printed_values"]:
        means = values[row["choice"], row["figure"]]
        tolerance = figures[row["figure"]]["tolerance"] or 0.0
        by_choice.setdefault(row["choice"], []).append(
            {
                **row,
                "name": name_of(row["figure"]),
                "strip": strip(
                    means,
                    row["published"],
                    row["default"],
                    tolerance=tolerance,
                    what="alternatives",
                ),
            }
        )
    order = [*CHOICES, *sorted(set(by_choice) - set(CHOICES))]
    return [
        {"title": CHOICES.get(choice, choice), "choice": choice, "figures": by_choice[choice]}
        for choice in order
        if choice in by_choice
    ]


def stages(outline: Sequence[Stage], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Give the pipeline's stages, each with how often it ran and how long that took.

    Parameters
    ----------
    outline : sequence of Stage
    seconds : mapping of str to float
        By stage as DVC names it: ``name``, or ``name@item`` for each item of a matrix.

    Returns
    -------
    list of dict
        "name", "desc" and "needs" of each stage; "runs", and "seconds" of all of them together.
    """
    taken: dict[str, list[float]] = {}
    for name, value in seconds.items():
        taken.setdefault(name.partition("@")[0], []).append(value)
    return [
        {
            "name": stage.name,
            "desc": stage.desc,
            "needs": stage.needs,
            "runs": len(taken.get(stage.name, [])),
            "seconds": sum(taken.get(stage.name, [])),
        }
        for stage in outline
    ]
