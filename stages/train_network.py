"""Train one cell of the grid: the network from scratch on MNIST (report, section 2.4)."""

from mlcore.data.splits import from_arrays
from mlcore.files import load_arrays
from mlcore.nn import NeuralNetwork
from mlcore.nn.diagnostics import why
from mlcore.process import derive_seed
from mlcore.training.models import save_network
from mlcore.training.run import Dataset, Training
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the training of one activation and initialisation."""
    params = config.network
    data = workspace.input("data/mnist.npz")
    return Training(
        part="network",
        name=f"{params.activation}-{params.init}",
        estimator=NeuralNetwork(
            hidden_layer_sizes=tuple(params.hidden_layer_sizes),
            activation=params.activation,
            weight_init=params.init,
            bias_init=params.bias_init,
            init_scale=params.init_scale,
            learning_rate=params.learning_rate,
            batch_size=params.batch_size,
            max_epochs=params.max_epochs,
            patience=params.patience,
            restore_best=params.restore_best,
            diagnostics=True,
            random_state=derive_seed(params.seed, "network", params.activation, params.init),
        ),
        n_steps=params.max_epochs,
        data=from_arrays(load_arrays(data), str(data), dtype=params.dtype),
        dataset=Dataset("mnist", data),
        params=params.model_dump() | {"solver": "sgd", "split_seed": config.mnist.seed},
        save_model=save_network,
        model_suffix=".pkl",
        extra=lambda network: why(network.history_),
    )


if __name__ == "__main__":
    main(run)
