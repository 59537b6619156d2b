"""Draw the study's figures from the results of the other stages, and say what each shows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix, silhouette_samples

from mlcore import plotting
from mlcore.data.splits import FASHION_CLASSES, Part, from_arrays
from mlcore.files import load_arrays, read_json, read_table, read_yaml, write_json
from mlcore.judging.replicates import read_curves, read_replicates
from mlcore.nn.diagnostics import explain
from mlcore.pipeline.dvc_yaml import outline
from mlcore.plotting import display
from mlcore.process import derive_seed
from mlcore.training.autoencoder import reconstruct
from mlcore.training.weights import load_mlp

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace

Drawn = dict[str, tuple[Any, str]]
"""Figures by name, each with a sentence that says what it shows."""

ENTROPY = "cross-entropy (nats)"


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/figures, metrics/svg and what the figures show, metrics/figures.json."""
    data = workspace.input("data/fashion_mnist.npz")
    parts = from_arrays(load_arrays(data), str(data))
    lines = {
        "verdict": verdict_figure(workspace),
        "hyperplanes": hyperplane_figure(workspace),
        **cell_figures(config, workspace),
        **grid_figures(config, workspace),
        **loss_figures(config, workspace),
        "search": search_figure(workspace),
        "pipeline": pipeline_figure(workspace),
    }
    images = {
        **image_figures(config, workspace, parts["test"]),
        **confusion_figures(config, workspace, parts),
        "codes": code_figure(config, workspace),
    }
    drawn = lines | images
    for name, (figure, _) in drawn.items():
        plotting.save(figure, workspace.output(f"metrics/figures/{name}.png"))
    for name, (figure, _) in lines.items():  # for the page
        plotting.save_svg(figure, workspace.output(f"metrics/svg/{name}.svg"))
    write_json(
        workspace.output("metrics/figures.json"),
        {name: {"shows": shows, "is_image": name in images} for name, (_, shows) in drawn.items()},
    )


def _cell(activation: str, init: str) -> str:
    return f"{display(activation)}, {display(init)} init"


def _cells(config: Config) -> list[tuple[str, str]]:
    return [(a, i) for a in config.grid.activation for i in config.grid.init]


def _by_cell(table: pd.DataFrame, config: Config) -> dict[tuple[str, str], pd.DataFrame]:
    return {cell: table[table["run"] == "-".join(cell)] for cell in _cells(config)}


def cell_figures(config: Config, workspace: Workspace) -> Drawn:
    """Draw the loss curves of each cell (report, figure 5), other seeds behind the run's."""
    runs = read_replicates(workspace.input("metrics/replicates.csv"))
    curves = dict(
        list(read_curves(workspace.input("metrics/replicates_curves.csv")).groupby("params"))
    )
    histories = _by_cell(read_table(workspace.input("metrics/history/network.csv")), config)
    drawn = {}
    for cell, history in histories.items():
        of_cell = runs[(runs["part"] == "network") & (runs["name"] == "-".join(cell))]
        others = [curves[params] for params in of_cell["params"] if params in curves]
        first, last = history.iloc[0], history.iloc[-1]
        lowest = history.loc[history["val_loss"].idxmin()]
        drawn[f"network/{'-'.join(cell)}"] = (
            plotting.loss_curves(history, _cell(*cell), others=others),
            f"{_cell(*cell)}: over {len(history)} epochs the training loss goes from "
            f"{first['train_loss']:.3g} to {last['train_loss']:.3g}, the validation loss from "
            f"{first['val_loss']:.3g} to {last['val_loss']:.3g}; it is lowest, "
            f"{lowest['val_loss']:.3g}, after epoch {lowest['epoch']:g}. {len(others)} seeds.",
        )
    return drawn


def grid_figures(config: Config, workspace: Workspace) -> Drawn:
    """Draw the grid as a whole: accuracies, validation losses, and why cells fail."""
    histories = _by_cell(read_table(workspace.input("metrics/history/network.csv")), config)
    diagnostics = _by_cell(read_table(workspace.input("metrics/diagnostics.csv")), config)
    reasons = {cell: explain(rows.iloc[-1].to_dict()) for cell, rows in diagnostics.items()}
    final = {cell: history["val_loss"].iloc[-1] for cell, history in histories.items()}
    return {
        "heatmap": heatmap_figure(config, workspace),
        "network": (
            plotting.grid_curves(histories, "MNIST: validation loss of the grid"),
            "Validation loss after the last epoch: "
            + ", ".join(f"{_cell(*cell)} {loss:.3g}" for cell, loss in final.items())
            + ".",
        ),
        "diagnostics": (
            plotting.diagnostic_grid(diagnostics, reasons),
            " ".join(
                f"{_capitalized(_cell(*cell))}: {reason}." for cell, reason in reasons.items()
            ),
        ),
    }


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]  # str.capitalize makes "Relu" of "ReLU"


def heatmap_figure(config: Config, workspace: Workspace) -> tuple[Any, str]:
    """Draw the test accuracies of the grid, each above the study's."""
    published = read_json(workspace.input("metrics/summary.json"))["mnist_grid"]["test_accuracy"]
    cells = _cells(config)
    ours = {
        cell: read_json(workspace.input(f"metrics/network/{'-'.join(cell)}.json"))["test_accuracy"]
        for cell in cells
    }
    theirs = {(a, i): published.get(a, {}).get(i, {}).get("published", np.nan) for a, i in cells}

    def table(values: dict[tuple[str, str], float]) -> pd.DataFrame:
        return pd.DataFrame(
            {i: {a: values[a, i] for a in config.grid.activation} for i in config.grid.init}
        )

    best, worst = (pick(ours, key=lambda cell: ours[cell]) for pick in (max, min))
    return (
        plotting.accuracy_heatmap(
            table(ours), table(theirs), "MNIST test accuracy of the network from scratch (%)"
        ),
        f"Test accuracies of {len(cells)} networks, each above the study's: from "
        f"{100 * ours[worst]:.2f} % ({_cell(*worst)}) to {100 * ours[best]:.2f} % "
        f"({_cell(*best)}).",
    )


def loss_figures(config: Config, workspace: Workspace) -> Drawn:
    """Draw the losses of scikit-learn's MLPs (report, figures 7 and 8)."""
    grid = config.grid
    drawn = {}
    for part, names, unit in (
        ("classifier", grid.classifier_activation, ENTROPY),
        ("autoencoder", grid.autoencoder_activation, "half mean squared error"),
        ("feature_classifier", grid.autoencoder_activation, ENTROPY),
    ):
        table = read_table(workspace.input(f"metrics/history/{part}.csv"))
        histories = {str(name): table[table["run"] == name] for name in names}
        last = {
            name: history[["train_loss", "val_loss"]].iloc[-1]
            for name, history in histories.items()
        }
        drawn[part] = (
            plotting.loss_panels(histories, unit),
            "Training and validation loss after the last epoch: "
            + ", ".join(f"{display(name)} {a:.3g} and {b:.3g}" for name, (a, b) in last.items())
            + ".",
        )
    return drawn


def search_figure(workspace: Workspace) -> tuple[Any, str]:
    """Draw the accuracies of the search's candidates."""
    table = read_table(workspace.input("metrics/search.csv")).sort_values("rank")
    best, last = table.iloc[0], table.iloc[-1]
    return (
        plotting.search_heatmaps(table, "Fashion-MNIST: grid search, cross-validated accuracy (%)"),
        f"{len(table)} candidates, from {100 * last['mean_accuracy']:.1f} % to "
        f"{100 * best['mean_accuracy']:.1f} %; the best is {best['solver']} with learning rate "
        f"{best['learning_rate']:g} and batches of {best['batch_size']:g}.",
    )


def image_figures(config: Config, workspace: Workspace, test: Part) -> Drawn:
    """Draw random test images (report, figure 6) and their reconstructions (figure 9)."""
    rng = np.random.default_rng(derive_seed(config.figures.seed, "figures"))
    chosen = rng.choice(len(test.X), config.figures.n_images, replace=False)
    versions, errors = {}, []
    for name in config.grid.autoencoder_activation:
        model = load_mlp(workspace.input(f"models/autoencoder/{name}.npz"))
        versions[str(name)] = reconstruct(test.X[chosen], *model)
        mse = float(np.mean((reconstruct(test.X, *model) - test.X) ** 2))
        errors.append(f"{display(name)} {mse:.4f}")
    names = [FASHION_CLASSES[label] for label in test.y[chosen]]
    return {
        "samples": (
            plotting.image_samples(test.X[chosen], names, "Fashion-MNIST: random test images"),
            f"Images of clothing: {', '.join(names)}.",
        ),
        "reconstructions": (
            plotting.reconstructions(
                test.X[chosen], versions, "Fashion-MNIST: test images and their reconstructions"
            ),
            "The same images as the autoencoders give them back, and the absolute differences. "
            f"Mean squared error on all test images: {', '.join(errors)}.",
        ),
    }


N_PAIRS = 4
"""Pairs of classes that are confused most, shown for each classifier."""


def confusion_figures(config: Config, workspace: Workspace, parts: dict[str, Part]) -> Drawn:
    """Draw what the classifiers take for what, and an image of each pair confused most."""
    X, y = parts["test"]
    known = np.unique(parts["train"].y)  # what an output of the network stands for
    counts, examples, titles, sentences = {}, {}, {}, []
    for activation in config.grid.classifier_activation:
        name = str(activation)
        model = load_mlp(workspace.input(f"models/classifier/{name}.npz"))
        probabilities = reconstruct(X, *model)
        predicted = known[probabilities.argmax(axis=1)]
        counts[name] = confusion_matrix(y, predicted, labels=range(len(FASHION_CLASSES)))
        pairs = most_confused(y, predicted)
        shown = [
            # The image of the pair that the network is surest about
            max(np.flatnonzero((y == true) & (predicted == taken)),
                key=lambda k: float(probabilities[k].max()))
            for true, taken in pairs
        ]  # fmt: skip
        examples[name] = X[shown]
        titles[name] = [
            f"{FASHION_CLASSES[t]}\ntaken for {FASHION_CLASSES[p]}\n{counts[name][t, p]} times"
            for t, p in pairs
        ]
        (true, taken) = pairs[0]
        sentences.append(
            f"{display(name)} {FASHION_CLASSES[true]} for {FASHION_CLASSES[taken]} "
            f"({counts[name][true, taken]} of {counts[name][true].sum()})"
        )
    return {
        "confusion": (
            plotting.confusion_matrices(
                counts, FASHION_CLASSES, "Fashion-MNIST: test images by class and prediction"
            ),
            f"What is most often taken for what: {', '.join(sentences)}.",
        ),
        "confused": (
            plotting.image_rows(examples, titles, "An image of each pair that is confused most"),
            f"For each classifier {N_PAIRS} wrongly classified images of clothing, with their "
            "class and what they were taken for.",
        ),
    }


def most_confused(y: NDArray[Any], predicted: NDArray[Any]) -> list[tuple[int, int]]:
    """Give the pairs of a class and a wrong prediction of it that occur most."""
    wrong = y != predicted
    confused = Counter(zip(y[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    return [pair for pair, _ in confused.most_common(N_PAIRS)]


def code_figure(config: Config, workspace: Workspace) -> tuple[Any, str]:
    """Draw the codes of the test images in the plane of their two principal components."""
    views: dict[str, Any] = {}
    shares, sentences = [], []
    for name in config.grid.autoencoder_activation:
        arrays = load_arrays(workspace.input(f"data/features/{name}.npz"))
        pca = PCA(2, svd_solver="full").fit(arrays["X_train"])
        views[str(name)] = pca.transform(arrays["X_test"])
        y = arrays["y_test"]
        shares.append(f"{pca.explained_variance_ratio_.sum():.0%} for {display(name)}")
        apart = pd.Series(silhouette_samples(views[str(name)], y)).groupby(y).mean()
        sentences.append(
            f"for {display(name)} {FASHION_CLASSES[apart.idxmax()]} lies most apart, "
            f"{FASHION_CLASSES[apart.idxmin()]} least"
        )
    return (
        plotting.class_map(
            views, y, FASHION_CLASSES, "principal component", "32-d codes of the test images"
        ),
        f"Points in the plane by class. The two components hold {' and '.join(shares)} of the "
        f"variance. By the mean silhouette of the classes, {'; '.join(sentences)}.",
    )


GROUPS = {
    "mnist_grid.test_accuracy": ("MNIST: test accuracy, %", 100, 2),
    "fashion_classifier.test_accuracy": ("Fashion-MNIST: test accuracy, %", 100, 2),
    "fashion_classifier.test_loss": ("Fashion-MNIST: test loss", 1, 4),
    "fashion_classifier.val_loss": ("Fashion-MNIST: validation loss", 1, 4),
    "fashion_search.cv_accuracy": ("Grid search: accuracy over the folds, %", 100, 2),
    "bottleneck_probe.train_accuracy": ("32-d codes: training accuracy, %", 100, 1),
    "bottleneck_probe.test_accuracy": ("32-d codes: test accuracy, %", 100, 1),
}
"""Beginnings of the figures' paths, with a heading, and the unit and digits they are printed in."""


def verdict_figure(workspace: Workspace) -> tuple[Any, str]:
    """Draw the printed figures of trained models against the intervals of ours."""
    table = read_table(workspace.input("metrics/verdict.csv"))
    groups, verdicts = {}, Counter[str]()
    for path, (heading, unit, digits) in GROUPS.items():
        rows = table[table["path"].str.startswith(path)]
        printed = rows["published"].astype(float)
        names = rows["path"].str.removeprefix(path).str.strip(".").str.split(".")
        labels = [
            f"{' '.join(map(display, name))}\N{EN SPACE}{unit * value:.{digits}f}"
            for name, value in zip(names, printed, strict=True)
        ]
        groups[heading] = rows.assign(label=labels, published=printed)
        verdicts.update(rows["verdict"])
    return (
        plotting.verdict_chart(groups, "What the study printed, against runs of ours"),
        f"{verdicts.total()} printed figures against the intervals that our runs give: "
        + "; ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        + ". The choices of the search have no interval and are not drawn.",
    )


def hyperplane_figure(workspace: Workspace) -> tuple[Any, str]:
    """Draw the two lines of section A that separate points (report, Q1 b and c)."""
    worked = read_json(workspace.input("metrics/worked_examples.json"))
    fitted, given = worked["max_margin"], worked["given_hyperplane"]
    planes = {
        "Q1 b: the line of maximum margin": plotting.Hyperplane(
            np.array(fitted["w"]),
            fitted["b"],
            np.array(fitted["support_vectors"]),
            np.array(fitted["labels"]),
            np.empty((0, 2)),
        ),
        "Q1 c: the line that was given": plotting.Hyperplane(
            np.array(given["w"]),
            given["b"],
            np.array(given["samples"]),
            np.sign(given["scores"]),
            np.array([given["query"]]),
        ),
    }
    return (
        plotting.hyperplanes(planes),
        f"Left, {len(fitted['support_vectors'])} points, all support vectors, on the margins of a "
        f"line between two classes. Right, {len(given['support_vectors'])} of "
        f"{len(given['samples'])} points on the margins; the query lies on the side of "
        f"{given['query_label']:+d}.",
    )


def pipeline_figure(workspace: Workspace) -> tuple[Any, str]:
    """Draw the pipeline's stages."""
    stages = outline(read_yaml(workspace.input("dvc.yaml")))
    return (
        plotting.pipeline_graph({stage.name: stage.needs for stage in stages}),
        f"{len(stages)} stages, from {stages[0].name} to {stages[-1].name}; the table below names "
        "what each takes.",
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
