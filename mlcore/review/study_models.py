"""The study's own networks on our data: ``python -m mlcore.review.study_models FOLDER``.

The study's code is public, and with it the twelve networks that it trained. Where they score on our
parts of MNIST what it printed, our parts are its own. Nothing in a file is run: each name that its
pickle refers to gets a stand-in of ours, or is refused.
"""

import hashlib
import io
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.data.splits import N_CLASSES, Part, from_arrays
from mlcore.errors import RetraceError, one_line
from mlcore.files import load_arrays, read_yaml, write_json
from mlcore.nn.activations import ACTIVATIONS, Array, softmax
from mlcore.nn.losses import cross_entropy
from mlcore.nn.training import evaluate
from mlcore.pipeline.workspace import Workspace
from mlcore.process import checkout, pin_threads
from mlcore.training.models import ArrayUnpickler
from mlcore.training.weights import check_layers

RESULT = "metrics/study_models.json"

DIGITS = {"test_accuracy": 4, "train_loss": 6, "val_loss": 6}
"""What the study printed of each network, and the digits after the point in published.yaml."""

OFFSET = 1e-10
"""What the study's code adds to a probability before it takes the logarithm."""

Layers = tuple[list[Array], list[Array]]
"""Weights of shape (fan_in, fan_out) and biases of shape (fan_out,)."""


class _Array:
    """Stands in for numpy.ndarray, which a state from a file could make one of pointers."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.values = np.frombuffer(content, dtype.dtype).reshape(
            shape, order="F" if fortran else "C"
        )


class _StudyUnpickler(ArrayUnpickler):
    """Reads the study's class as a plain holder of attributes, its methods as their names."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Give a stand-in for each of four names more; made anew, for a file can change it."""
        match module, name:
            case "__main__", "NeuralNetwork":
                return type("NeuralNetwork", (), {})
            case "builtins", "getattr":  # for the activation and its derivative, bound methods
                return lambda _, method: method
            case "numpy.core.multiarray", "_reconstruct":
                return lambda *_: _Array()
            case "numpy", "ndarray":  # an argument of the one above
                return lambda: None
        return super().find_class(module, name)


def read_network(content: bytes, activation: str, init: str, n_features: int) -> Layers:
    """Read the pickle of one of the study's networks; any error tells that it is not that one."""
    network = _StudyUnpickler(io.BytesIO(content)).load()
    if (network.activation_func, network.weight_init) != (activation, init):
        raise ValueError(f"it is of {network.activation_func!r} and {network.weight_init!r}")
    weights = [array.values.T for array in network.weights]
    biases = [array.values.ravel() for array in network.biases]
    check_layers(weights, biases)
    ends = len(weights[0]), len(biases[-1])
    if ends != (n_features, N_CLASSES):
        raise ValueError(f"it is from {ends[0]} to {ends[1]} units")
    return weights, biases


def study_loss(scores: Array, labels: NDArray[Any]) -> tuple[float, float]:
    """Mean cross-entropy as the study's code computes it, at most 23 nats an image, and NaN.

    `scores`, of shape (n_samples, n_classes), are logits and are overwritten by their softmax;
    `labels` are integers, of shape (n_samples,).
    """
    softmax(scores)
    return -float(np.log(scores[np.arange(len(labels)), labels] + OFFSET).mean()), math.nan


def score_network(
    path: Path, activation: str, init: str, parts: Mapping[str, Part]
) -> dict[str, Any]:
    """Score the pickle of one of the study's networks on "train", "val" and "test", float64 pixels.

    Gives "file", "sha256", the metrics of `DIGITS` with losses by `study_loss`, and the exact
    cross-entropy as "train_exact" and "val_exact". To nine digits: machines differ beyond.

    Raises RetraceError if the file is not there, is truncated, refers to any other class or
    function, or holds another network.
    """
    if not path.is_file():
        raise RetraceError(f"{path} does not exist; docs/judging.md says where the networks are")
    content, hidden = path.read_bytes(), ACTIVATIONS[activation]
    try:
        with np.errstate(over="raise", invalid="raise"):
            layers = read_network(content, activation, init, parts["test"].X.shape[1])
            found = {"test_accuracy": evaluate(*parts["test"], *layers, hidden, cross_entropy)[1]}
            for name, loss in (("loss", study_loss), ("exact", cross_entropy)):
                for part in ("train", "val"):
                    found[f"{part}_{name}"] = evaluate(*parts[part], *layers, hidden, loss)[0]
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = one_line(error, 300)
        raise RetraceError(f"{path} is not the study's {activation}-{init}: {reason}") from None
    rounded = {metric: round(value, 9) for metric, value in found.items()}
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), **rounded}


def beside_printed(scored: float, printed: float, digits: int) -> dict[str, Any]:
    """Put a score of a network beside the printed one; all digits printed should agree."""
    agrees = f"{scored:.{digits}f}" == f"{printed:.{digits}f}"
    return {"scored": scored, "printed": printed, "agrees": agrees}


def score_all(folder: Path, root: Path) -> dict[str, Any]:
    """Score the networks in a folder with the data of the checkout `root`.

    Gives "networks", by name what `score_network` gives, beside what was printed, and how many of
    the printed "accuracies" and "losses" agree. Raises RetraceError if the data is not there yet,
    or a file is not the network that it should be.
    """
    workspace = Workspace(root, root)
    data = workspace.input("data/mnist.npz")
    published = read_yaml(workspace.input("metrics/published.yaml"))
    tables = {**published["mnist_grid"], **published["notebook"]["mnist_grid"]}
    arrays = load_arrays(data)
    in_float64 = {n: values / 255 if n[0] == "X" else values for n, values in arrays.items()}
    parts = from_arrays(in_float64, str(data))
    networks = {}
    for activation, inits in tables["test_accuracy"].items():
        for init in inits:
            path = folder / f"model_{activation}_{init}.pkl"
            found = score_network(path, activation, init, parts)
            for metric, digits in DIGITS.items():
                printed = tables[metric][activation][init]
                found[metric] = beside_printed(found[metric], printed, digits)
            networks[f"{activation}-{init}"] = found
    return {
        "networks": networks,
        "accuracies": _count(networks, "test_accuracy"),
        "losses": _count(networks, "train_loss", "val_loss"),
    }


def _count(networks: Mapping[str, Any], *metrics: str) -> dict[str, int]:
    agree = [network[metric]["agrees"] for network in networks.values() for metric in metrics]
    return {"agree": sum(agree), "of": len(agree)}


def main(arguments: list[str], root: Path) -> None:
    """Write what the networks of a folder score, and say how much of it was printed."""
    if len(arguments) != 1:
        sys.exit("usage: python -m mlcore.review.study_models FOLDER")
    pin_threads()
    try:
        result = score_all(Path(arguments[0]), root)
        write_json(root / RESULT, result)
    except (RetraceError, OSError) as error:
        sys.exit(f"error: {one_line(error)}")
    for what in ("accuracies", "losses"):
        print(f"{result[what]['agree']} of {result[what]['of']} {what} agree to the printed digits")
    print(RESULT)


if __name__ == "__main__":
    main(sys.argv[1:], checkout())
