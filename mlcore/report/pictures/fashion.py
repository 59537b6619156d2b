"""scikit-learn's models of Fashion-MNIST: losses, the search, images and codes."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix, silhouette_samples

from mlcore import plotting
from mlcore.data.splits import FASHION_CLASSES, Part
from mlcore.plotting import Picture, display
from mlcore.training.autoencoder import reconstruct
from mlcore.training.weights import MLPWeights

Array = NDArray[Any]
Models = Mapping[str, MLPWeights]

N_PAIRS = 4
"""Pairs of classes that are confused most, shown for each classifier."""

TITLES = {
    "classifier": "Fashion-MNIST: losses of the classifiers",
    "autoencoder": "Fashion-MNIST: losses of the autoencoders",
    "feature_classifier": "Fashion-MNIST: training losses of the classifiers of codes",
}


def losses(part: str, names: Mapping[str, str], table: pd.DataFrame) -> Picture:
    """Draw the losses of a part's models (report, figures 7 and 8), by the names to show."""
    unit = "half mean squared error" if part == "autoencoder" else "cross-entropy (nats)"
    histories = {
        shown: table[table["run"] == name].dropna(axis="columns", how="all")
        for shown, name in names.items()
    }
    told = []
    for shown, history in histories.items():
        last = history.filter(like="_loss").iloc[-1]
        told.append(f"{display(shown)} {' and '.join(map('{:.3g}'.format, last))}")
    which = "Training loss" if part == "feature_classifier" else "Training and validation loss"
    shows = f"{which} after the last epoch: {', '.join(told)}."
    return plotting.loss_panels(histories, unit, TITLES[part]), shows


def search(table: pd.DataFrame, summary: Mapping[str, Any]) -> Picture:
    """Draw the accuracies of the search's candidates, the study's choice marked.

    `summary` is what `judging.published.compare` made.
    """
    ranked = table.sort_values("rank")
    best, last = ranked.iloc[0], ranked.iloc[-1]
    printed = {key: of["published"] for key, of in summary["fashion_search"]["best"].items()}
    solver, rate, size = (printed[k] for k in ("solver", "learning_rate_init", "batch_size"))
    title = "Fashion-MNIST: grid search, accuracy over the folds (%)"
    return (
        plotting.search_heatmaps(ranked, title, (solver, rate, size)),
        f"{len(ranked)} candidates, from {100 * last['mean_accuracy']:.1f} % to "
        f"{100 * best['mean_accuracy']:.1f} %; the best is {best['solver']} with learning rate "
        f"{best['learning_rate']:g} and batches of {best['batch_size']:g}; "
        f"the study's choice is {solver}, {rate:g} and {size:g}.",
    )


def images(test: Part, autoencoders: Models, n_images: int) -> dict[str, Picture]:
    """Draw the first test images (report, figure 6) and their reconstructions (figure 9)."""
    shown, classes = test.X[:n_images], [FASHION_CLASSES[label] for label in test.y[:n_images]]
    rows, errors = {"original": shown}, []
    for name, model in autoencoders.items():
        again = reconstruct(shown, *model)
        rows |= {display(name): again, f"{display(name)},\nerror": np.abs(again - shown)}
        mse = np.mean((reconstruct(test.X, *model) - test.X) ** 2)
        errors.append(f"{display(name)} {mse:.4f}")
    title = "Fashion-MNIST: test images, reconstructions, and absolute errors on the same scale"
    return {
        "samples": (
            plotting.image_samples(shown, classes, "Fashion-MNIST: the first test images"),
            f"Images of clothing: {', '.join(classes)}.",
        ),
        "reconstructions": (
            plotting.image_rows(rows, title),
            "The same images as the autoencoders give them back, and the absolute differences. "
            f"Mean squared error on all test images: {', '.join(errors)}.",
        ),
    }


def confusion(test: Part, labels: Array, classifiers: Models) -> dict[str, Picture]:
    """Draw what the classifiers take for what, and an image of each pair confused most.

    `labels`, of shape (n_outputs,), are what the outputs of the networks stand for.
    """
    X, y = test
    counts, examples, titles, sentences = {}, {}, {}, []
    fresh = np.ones(len(y))
    for name, model in classifiers.items():
        probabilities = reconstruct(X, *model)
        predicted = labels[probabilities.argmax(axis=1)]
        counts[name] = count = confusion_matrix(y, predicted, labels=range(len(FASHION_CLASSES)))
        pairs = most_confused(y, predicted)
        rank = probabilities.max(axis=1) + fresh
        shown = [np.where((y == t) & (predicted == p), rank, -1).argmax() for t, p in pairs]
        fresh[shown] = 0  # the next classifier has another example, if there is one
        examples[display(name)] = X[shown]
        titles[display(name)] = [
            f"{FASHION_CLASSES[t]}\ntaken for {FASHION_CLASSES[p]}\n{count[t, p]} times"
            for t, p in pairs
        ]
        t, p = pairs[0]
        sentences.append(f"{display(name)} {FASHION_CLASSES[t]} for {FASHION_CLASSES[p]} "
                         f"({count[t, p]} of {count[t].sum()})")  # fmt: skip
    title = "Fashion-MNIST: test images by class and prediction"
    examples_title = "Fashion-MNIST: what is confused most, with examples"
    return {
        "confusion": (
            plotting.confusion_matrices(counts, FASHION_CLASSES, title),
            f"What is most often taken for what: {', '.join(sentences)}.",
        ),
        "confused": (
            plotting.image_rows(examples, examples_title, titles),
            f"For each classifier {N_PAIRS} wrongly classified images of clothing, with their "
            "class and what they were taken for.",
        ),
    }


def most_confused(y: Array, predicted: Array) -> list[tuple[int, int]]:
    """Give the pairs of a class and a wrong prediction of it that occur most."""
    wrong = y != predicted
    confused = Counter(zip(y[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    return [pair for pair, _ in confused.most_common(N_PAIRS)]


def codes(features: Mapping[str, Mapping[str, Array]]) -> Picture:
    """Draw the codes of the test images in the plane of their two principal components.

    `features` are the arrays "X_full", "X_test" and "y_test" of each autoencoder.
    """
    views, shares, sentences = {}, [], []
    for name, arrays in features.items():
        pca = PCA(2, svd_solver="full").fit(arrays["X_full"])
        views[name], y = pca.transform(arrays["X_test"]), arrays["y_test"]
        shares.append(f"{pca.explained_variance_ratio_.sum():.0%} for {display(name)}")
        apart = pd.Series(silhouette_samples(views[name], y)).groupby(y).mean()
        sentences.append(
            f"for {display(name)} {FASHION_CLASSES[apart.idxmax()]} lies most apart, "
            f"{FASHION_CLASSES[apart.idxmin()]} least"
        )
    title = "Fashion-MNIST: 32-d codes of the test images"
    return (
        plotting.class_map(views, y, FASHION_CLASSES, "principal component", title),
        f"Points in the plane by class. The two components hold {' and '.join(shares)} of the "
        f"variance. By the mean silhouette of the classes, {'; '.join(sentences)}.",
    )
