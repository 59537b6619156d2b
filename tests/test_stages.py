"""The stages that gather results: all of them, and what a narrowed grid leaves."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mlcore.config import compose
from mlcore.data.splits import Part
from mlcore.errors import RetraceError
from mlcore.files import read_json, save_arrays, write_json, write_table
from mlcore.pipeline.workspace import Workspace
from mlcore.report.pictures import fashion
from mlcore.study.replicates import read_curves, read_runs
from mlcore.training.mlp import ObservedMLPClassifier, ObservedMLPRegressor
from mlcore.training.weights import MLPWeights, save_mlp
from stages import evaluate, plot, split_mnist, subset_fashion, worked_examples

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PUBLISHED = yaml.safe_load((ROOT / "metrics" / "published.yaml").read_text())
NARROW = ["grid.init=[normal]", "grid.activation=[tanh,relu]", "grid.classifier_activation=[tanh]",
          "grid.autoencoder_activation=[relu]"]  # fmt: skip


DIAGNOSTICS = {
    **{f"gradient_norm_{layer}": 0.1 * layer for layer in (1, 2, 3)},
    **{f"{name}_{layer}": 0.25 for layer in (1, 2)
       for name in ("dead_units", "saturated_units", "unit_spread")},
}  # fmt: skip
EPOCHS = [{"epoch": e, "train_loss": 2 / e, "val_loss": 3 / e} for e in (1, 2, 3)]
PARTS = ("train", "val", "test")
METRICS = {f"{p}_{m}": 0.25 for p in PARTS for m in ("loss", "accuracy")}
OF_ALL_IMAGES = {f"{p}_{m}": 0.75 for p in ("train", "test") for m in ("loss", "accuracy")}
METHODS = {"partial_fit": (METRICS, EPOCHS), "warm_start": (METRICS, EPOCHS),
           "fit": (OF_ALL_IMAGES, [{"epoch": e, "train_loss": 4 / e} for e in (1, 2)])}  # fmt: skip


def training(workspace, name, metrics, epochs=EPOCHS):
    write_json(workspace.output(f"metrics/{name}.json"), metrics)
    write_table(workspace.output(f"history/{name}.csv"), epochs)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Results of all stages before evaluate and plot, made up."""
    root = tmp_path_factory.mktemp("stages")
    workspace = Workspace(root, root)
    ignored = shutil.ignore_patterns("figures", "history", "svg", "replicates*.csv")
    shutil.copytree(ROOT / "metrics", root / "metrics", ignore=ignored)
    config = compose(CONF)
    for name, read in (("replicates", read_runs), ("replicates_curves", read_curves)):
        path = root / "metrics" / f"{name}.csv"
        read(path).to_csv(path, index=False)  # empty
    worked_examples.run(config, workspace)
    for file, parts in (("mnist", PARTS), ("fashion_mnist", ("full", "test"))):
        counts = {part: {"n_samples": 10, "class_counts": [1] * 10} for part in parts}
        write_json(workspace.output(f"metrics/{file}.json"), counts)
    for i, activation in enumerate(config.grid.activation):
        for j, init in enumerate([*config.grid.init, "he"]):
            k = 10 * i + j
            epochs = [row | DIAGNOSTICS | {"unit_spread_1": k / 7} for row in EPOCHS]
            training(workspace, f"network/{activation}-{init}", {"test_accuracy": k / 100}, epochs)
    for method, (metrics, epochs) in METHODS.items():
        for name in config.grid.classifier_activation:
            training(workspace, f"classifier/{name}-{method}", metrics, epochs)
        for name in config.grid.autoencoder_activation:
            error = {"test_mse": metrics["test_loss"] / 2}
            training(workspace, f"autoencoder/{name}-{method}", error, epochs)
    for name in config.grid.autoencoder_activation:
        training(workspace, f"feature_classifier/{name}", METRICS)
    best = {"solver": "sgd", "learning_rate": 0.5, "batch_size": 7}
    write_json(workspace.output("metrics/search/best.json"), {"val_accuracy": 0.5})
    write_table(workspace.output("metrics/search.csv"), [best | {"rank": 1, "mean_accuracy": 0.5}])
    return workspace


def evaluated(workspace, *overrides):
    """The summary and the headline of a grid."""
    evaluate.run(compose(CONF, overrides), workspace)
    return [read_json(workspace.out / f"metrics/{name}.json") for name in ("summary", "headline")]


def layout(tree):
    """The keys of a layout, down to a number or a pair of numbers."""
    if isinstance(tree, list):
        return [layout(value) for value in tree]
    if isinstance(tree, dict) and set(tree) != {"ours", "published"}:
        return {key: layout(value) for key, value in tree.items()}
    return "number"


def test_each_number_is_where_it_belongs(workspace):
    found, headline = evaluated(workspace)
    assert layout(found | {"notebook": PUBLISHED["notebook"]}) == layout(PUBLISHED)
    accuracy = found["mnist_grid"]["test_accuracy"]
    assert accuracy["relu"]["random"] == {"ours": 0.21, "published": 0.9416}
    assert accuracy["sigmoid"]["normal"] == {"ours": 0.02, "published": 0.9511}
    assert found["fashion_classifier"]["val_loss"]["tanh"] == {"ours": 0.25, "published": 0.4419}
    assert found["fashion_classifier"]["test_loss"]["tanh"]["ours"] == 0.25
    assert found["fashion_classifier"]["test_accuracy"]["tanh"]["ours"] == 0.75
    assert found["fashion_search"]["best"]["solver"] == {"ours": "sgd", "published": "adam"}
    assert found["bottleneck_probe"]["test_accuracy"]["identity"]["published"] == 0.737
    step = found["worked_examples"]["backprop"]
    assert step["updated"]["w2"]["ours"] == pytest.approx(0.585)
    assert step["loss_after"] == {"ours": pytest.approx(3.2872008, abs=1e-7), "published": 3.3}
    assert headline["relu-random"] == 0.21
    assert (headline["fashion-logistic"], headline["codes-identity"]) == (0.75, 0.25)
    assert (headline["search-cv"], headline["mse-relu"]) == (0.5, 0.375)
    assert len(headline) == 21


def test_histories_of_a_part_are_one_long_table(workspace):
    evaluated(workspace)
    table = pd.read_csv(workspace.out / "metrics" / "history" / "network.csv")
    assert list(table) == ["run", "epoch", "train_loss", "val_loss"]
    assert table["run"].nunique() == 12
    last = table[table["run"] == "leaky_relu-normal"].iloc[-1]
    assert last[["epoch", "train_loss", "val_loss"]].tolist() == [3, 2 / 3, 1.0]
    table = pd.read_csv(workspace.out / "metrics" / "history" / "classifier.csv")
    of = {name: rows["val_loss"].tolist() for name, rows in table.groupby("run")}
    assert of["tanh-partial_fit"] == [3.0, 1.5, 1.0]
    assert np.isnan(of["tanh-fit"]).all()
    assert len(of) == 8
    diagnostics = pd.read_csv(workspace.out / "metrics" / "diagnostics.csv")
    assert set(diagnostics) == {"run", "epoch", *DIAGNOSTICS}
    rounded = diagnostics[diagnostics["run"] == "tanh-random"]["unit_spread_1"]
    assert rounded.tolist() == [1.571] * 3  # 11 / 7


def test_a_narrowed_grid_leaves_gaps_not_old_numbers(workspace):
    evaluated(workspace)
    found, headline = evaluated(workspace, *NARROW)
    accuracy = found["mnist_grid"]["test_accuracy"]
    assert accuracy["relu"]["normal"]["ours"] == 0.22
    assert accuracy["relu"]["zero"]["ours"] is None
    assert accuracy["sigmoid"]["normal"]["ours"] is None
    assert found["fashion_classifier"]["test_loss"]["relu"]["ours"] is None
    assert found["bottleneck_probe"]["train_accuracy"]["identity"]["ours"] is None
    assert set(headline) == {
        "tanh-normal", "relu-normal", "fashion-tanh", "codes-relu", "search-cv", "mse-relu",
    }  # fmt: skip


def test_a_grid_beyond_the_studys_is_evaluated_for_what_the_study_has(workspace):
    overrides = ["grid.init=[normal,he]", "grid.method=[warm_start,fit,partial_fit]"]
    found, headline = evaluated(workspace, *overrides)
    assert found["fashion_classifier"]["test_loss"]["tanh"]["ours"] == 0.25
    assert headline["mse-relu"] == 0.375
    assert set(found["mnist_grid"]["test_accuracy"]["tanh"]) == {"zero", "random", "normal"}


@pytest.mark.parametrize(("overrides", "n_cells"), [([], 12), (NARROW, 2)])
def test_every_figure_is_drawn(workspace, overrides, n_cells):
    config = compose(CONF, overrides)
    rng = np.random.default_rng(0)
    arrays = {}
    for part in PARTS:
        arrays[f"X_{part}"] = rng.integers(0, 256, (20, 784)).astype(np.uint8)
        arrays[f"y_{part}"] = (np.arange(20) % 10).astype(np.uint8)
    save_arrays(workspace.output("data/fashion_mnist.npz"), **arrays)
    X, codes = arrays["X_train"] / 255, {"y_test": arrays["y_test"]}
    codes |= {f"X_{p}": rng.random((20, 4)) for p in ("full", "test")}
    small = {"hidden_layer_sizes": (4,), "max_iter": 1}
    for name in config.grid.autoencoder_activation:
        model = ObservedMLPRegressor(**small, activation=name).fit(X, X)
        save_mlp(workspace.output(f"models/autoencoder/{name}-fit.npz"), model)
        save_arrays(workspace.output(f"data/features/{name}.npz"), **codes)
    for name in config.grid.classifier_activation:
        model = ObservedMLPClassifier(**small, activation=name).fit(X, arrays["y_train"])
        save_mlp(workspace.output(f"models/classifier/{name}-fit.npz"), model)
    shutil.copy(ROOT / "dvc.yaml", workspace.root)
    figures, svgs = (workspace.out / "metrics" / name for name in ("figures", "svg"))
    for folder in (figures, svgs):
        shutil.rmtree(folder, ignore_errors=True)
    evaluate.run(config, workspace)
    plot.run(config, workspace)
    shows = read_json(workspace.out / "metrics" / "figures.json")
    cells = {name for name in shows if name.startswith("network/")}
    assert len(cells) == n_cells
    assert set(shows) - cells == {
        *("network", "heatmap", "classifier", "autoencoder", "feature_classifier"),
        *("search", "samples", "reconstructions", "diagnostics", "verdict", "confusion"),
        *("confused", "codes", "hyperplanes", "pipeline", "verdict_small", "interventions"),
    }
    lines = {name for name, of in shows.items() if not of["is_image"]}
    for folder, ending, names in ((figures, ".png", shows.keys()), (svgs, ".svg", lines)):
        drawn = folder.rglob(f"*{ending}")
        assert {str(path.relative_to(folder)).removesuffix(ending) for path in drawn} == names
    for path in figures.rglob("*.png"):
        Image.open(path).verify()


def test_the_splits_are_written_with_their_counts(tmp_path, write_idx):
    workspace = Workspace(tmp_path, tmp_path)
    write_idx(tmp_path / "data" / "raw" / "mnist", 160, 40)
    write_idx(tmp_path / "data" / "raw" / "fashion_mnist", 160, 40)
    sizes = ["mnist.n_samples=100", "fashion_mnist.n_train=100", "fashion_mnist.n_test=20"]
    config = compose(CONF, sizes)
    split_mnist.run(config, workspace)
    subset_fashion.run(config, workspace)

    def counts(name):
        parts = read_json(tmp_path / "metrics" / f"{name}.json")
        return {part: about["n_samples"] for part, about in parts.items() if part != "sha256"}

    raw = tmp_path / "data" / "raw" / "fashion_mnist"
    told = read_json(tmp_path / "metrics" / "fashion_mnist.json")["sha256"]
    assert told == {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in raw.iterdir()}

    assert counts("mnist") == {"train": 80, "val": 10, "test": 10}
    assert counts("fashion_mnist") == {"full": 100, "train": 90, "val": 10, "test": 20}
    with np.load(tmp_path / "data" / "mnist.npz") as file:
        pixels = np.concatenate([file[f"X_{part}"][:, 0] for part in PARTS])
    assert sorted(pixels) == list(range(100))
    with np.load(tmp_path / "data" / "fashion_mnist.npz") as file:
        assert file["X_full"][:, 0].tolist() == list(range(100))
        assert file["X_test"][:, 0].tolist() == list(range(20))


@pytest.mark.parametrize(("key", "n", "there"), [("n_train", 161, 160), ("n_test", 41, 40)])
def test_more_images_than_the_files_have_are_refused(tmp_path, write_idx, key, n, there):
    write_idx(tmp_path / "data" / "raw" / "fashion_mnist", 160, 40)
    sizes = {"n_train": 100, "n_test": 20} | {key: n}
    config = compose(CONF, [f"fashion_mnist.{name}={size}" for name, size in sizes.items()])
    with pytest.raises(RetraceError, match=rf"fashion_mnist\.{key}={n}: .* has {there} images"):
        subset_fashion.run(config, Workspace(tmp_path, tmp_path))


def test_images_stand_above_what_the_autoencoders_make_of_them_and_the_error():
    X = np.random.default_rng(0).random((3, 784))
    quarter = MLPWeights([np.eye(784) / 4], [np.zeros(784)], "relu")
    drawn = fashion.images(Part(X, np.array([0, 9, 2])), {"relu": quarter}, 2)
    (samples, names), (rows, errors) = drawn["samples"], drawn["reconstructions"]
    assert [axes.get_title() for axes in samples.axes[:3]] == ["T-shirt/top", "Ankle boot", ""]
    assert names == "Images of clothing: T-shirt/top, Ankle boot."
    assert [axes.get_ylabel() for axes in rows.axes[::2]] == ["original", "ReLU", "ReLU,\nerror"]
    shown = [axes.images[0].get_array().ravel() for axes in (samples.axes[1], *rows.axes[1::2])]
    np.testing.assert_allclose(shown, np.outer([1, 1, 0.25, 0.75], X[1]))
    assert errors.endswith(f": ReLU {np.mean((0.75 * X) ** 2):.4f}.")


def test_what_the_classifiers_confuse_is_counted_by_hand():
    """A network that takes every image for the brightest of its first ten pixels."""
    X, y = np.zeros((12, 784)), np.array([*range(10), 4, 4])
    X[np.arange(12), [*range(10), 2, 2]] = 1  # two coats that look like pullovers
    brightest = MLPWeights([np.eye(784, 10), np.eye(10)], [np.zeros(10)] * 2, "identity")
    drawn = fashion.confusion(Part(X, y), np.unique(y), {"identity": brightest})
    assert "identity Coat for Pullover (2 of 3)" in drawn["confusion"][1]
    counts = {tuple(t.get_position()): t.get_text() for t in drawn["confusion"][0].axes[0].texts}
    assert counts[2.5, 4.5] == "2"
    (shown,) = [axes for axes in drawn["confused"][0].axes if axes.images]
    assert shown.get_title() == "Coat\ntaken for Pullover\n2 times"
    assert shown.images[0].get_array().ravel()[2] == 1
