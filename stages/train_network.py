"""Train the network from scratch on MNIST: one cell of the grid (report, section 2.4)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlcore.artifacts import load_arrays, save_network, write_json, write_table
from mlcore.datasets import from_arrays
from mlcore.nn import NeuralNetwork
from mlcore.record import Dataset, Training
from mlcore.runtime import derive_seed

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config
    from mlcore.nn.training import EpochStats

log = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace) -> Training:
    """Write models/network/{cell}.pkl, metrics/network/{cell}.json and its history."""
    params = config.network
    name = f"{params.activation}-{params.init}"
    data = workspace.input("data/mnist.npz")
    train, val, test = from_arrays(load_arrays(data), str(data)).values()

    def progress(stats: EpochStats) -> None:
        if stats.epoch % 10 == 1:
            log.info("%s: epoch %d, validation loss %.4f", name, stats.epoch, stats.val_loss)

    network = NeuralNetwork(
        hidden_layer_sizes=tuple(params.hidden_layer_sizes),
        activation=params.activation,
        weight_init=params.init,
        learning_rate=params.learning_rate,
        batch_size=params.batch_size,
        max_epochs=params.max_epochs,
        patience=params.patience,
        restore_best=params.restore_best,
        on_epoch=progress,
        random_state=derive_seed(params.seed, "network", params.activation, params.init),
    ).fit(train.X, train.y, validation=(val.X, val.y))

    history = [stats._asdict() for stats in network.history_]
    kept = history[network.best_epoch_ - 1] if params.restore_best else history[-1]
    metrics = {
        "n_epochs": network.n_epochs_,
        "best_epoch": network.best_epoch_,
        **{key: value for key, value in kept.items() if key != "epoch"},
        **{f"test_{key}": value for key, value in network.evaluate(test.X, test.y).items()},
    }
    model = workspace.output(f"models/network/{name}.pkl")
    save_network(model, network)
    write_json(workspace.output(f"metrics/network/{name}.json"), metrics)
    write_table(workspace.output(f"metrics/history/network/{name}.csv"), history)
    log.info("%s: test accuracy %.2f %%", name, 100 * metrics["test_accuracy"])
    return Training(
        part="network",
        name=name,
        params=params.model_dump(),
        metrics=metrics,
        history=history,
        dataset=Dataset("mnist", data, train.X, train.y),
        model=network,
        files=[model],
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
