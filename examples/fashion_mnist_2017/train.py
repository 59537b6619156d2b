"""Train the networks of Xiao, Rasul and Vollgraf (2017) again: ``python train.py -m``.

Each job adds a row to runs.csv; what stands there is not trained again, so Ctrl-C loses the jobs at
work and no other. The protocol is the paper's: all 60,000 training images, standardised, and
scikit-learn's defaults. The images are those that ``dvc repro fetch`` gets.
"""

from mlcore.process import pin_threads

pin_threads()  # before NumPy is imported

import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import hydra  # noqa: E402
import pandas as pd  # noqa: E402
from filelock import FileLock  # noqa: E402
from omegaconf import DictConfig  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils import shuffle  # noqa: E402

from mlcore.data.images import read_images  # noqa: E402
from mlcore.files import write_table  # noqa: E402

HERE = Path(__file__).resolve().parent
RUNS, LOCK = HERE / "runs.csv", HERE / ".runs.csv.lock"
IMAGES = HERE.parents[1] / "data" / "raw"


def rows() -> list[dict[str, object]]:
    """Read the runs that are done."""
    return pd.read_csv(RUNS).to_dict("records") if RUNS.exists() else []


def train(config: DictConfig) -> dict[str, float]:
    """Train one network; gives its metrics."""
    (X, y), test = read_images(IMAGES / config.data)
    scaler = StandardScaler().fit(X)
    X, y = shuffle(X, y, random_state=config.seed)
    network = MLPClassifier(
        hidden_layer_sizes=tuple(map(int, str(config.layers).split("-"))),
        activation=config.activation,
        n_iter_no_change=config.n_iter_no_change,
        random_state=config.seed,
    )
    with warnings.catch_warnings():
        # Of Ctrl-C scikit-learn only warns, and gives a network that is half trained
        warnings.filterwarnings("error", "Training interrupted")
        try:
            network.fit(scaler.transform(X), y)
        except UserWarning:
            raise KeyboardInterrupt from None
    accuracy = network.score(scaler.transform(test.X), test.y)
    return {"test_accuracy": accuracy, "train_loss": network.loss_, "n_epochs": network.n_iter_}


@hydra.main(version_base=None, config_path=".", config_name="conf")
def main(config: DictConfig) -> None:
    """Train, unless it is done, and write the row down."""
    name = f"patience-{config.n_iter_no_change}/{config.data}.{config.activation}.{config.layers}"
    run = {"name": name, "seed": config.seed}
    if any(row["name"] == name and row["seed"] == config.seed for row in rows()):
        return
    run |= train(config)
    with FileLock(LOCK):
        write_table(RUNS, sorted([*rows(), run], key=lambda row: (row["name"], row["seed"])))
    told = f"{run['test_accuracy']:.4f} after {run['n_epochs']} epochs"
    print(f"{name}, seed {config.seed}: {told}", flush=True)


if __name__ == "__main__":
    if not IMAGES.is_dir():
        sys.exit(f"error: {IMAGES} does not exist; `dvc repro fetch` gets the images")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from here")
