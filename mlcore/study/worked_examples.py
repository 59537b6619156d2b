"""Section A of the study: worked by hand there, computed here by the code that trains networks.

Each function returns plain numbers in the layout of metrics/published.yaml.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from mlcore.nn.activations import ACTIVATIONS
from mlcore.nn.gradients import forward, gradients
from mlcore.nn.losses import squared_error
from mlcore.nn.training import train

Array = NDArray[np.float64]

HARD_MARGIN = 1e10
"""Penalty C at which the soft-margin SVM leaves no slack on separable data."""


def backprop(
    w1: float, b1: float, w2: float, b2: float, points: list[list[float]], learning_rate: float
) -> dict[str, Any]:
    """Train a 1-1-1 network (ReLU, linear output, squared error) for one step (Q1 a).

    From weight and bias of the hidden and of the output unit, on points [x, y]. Gives the hidden
    unit's outputs, predictions and loss before the step; the loss's derivatives by the
    predictions, summed, and by the parameters; updated parameters; and, after the step, hidden
    outputs, predictions, errors (y less prediction) and loss.
    """
    x, y = np.array(points, float).T.reshape(2, -1, 1)
    weights = [np.array([[w1]], float), np.array([[w2]], float)]
    biases = [np.array([b1], float), np.array([b2], float)]
    relu = ACTIVATIONS["relu"]
    _, hidden, predictions = forward(x, weights, biases, relu)
    by_prediction = predictions.copy()
    squared_error(by_prediction, y)  # overwrites them by its derivatives
    before, weight_grads, bias_grads = gradients(x, y, weights, biases, relu, squared_error)
    rng = np.random.default_rng(0)  # orders the batch, which does not matter
    one_step = train(x, y, weights, biases, hidden=relu, loss=squared_error, rng=rng,
                     learning_rate=learning_rate, batch_size=len(x), max_epochs=1)  # fmt: skip
    next(one_step)
    _, hidden_after, predictions_after = forward(x, weights, biases, relu)
    return {
        "hidden": hidden[:, 0].tolist(),
        "predictions": predictions[:, 0].tolist(),
        "loss_before": before,
        "grad_output": float(by_prediction.sum()),
        "grad": _named(weight_grads, bias_grads),
        "updated": _named(weights, biases),
        "hidden_after": hidden_after[:, 0].tolist(),
        "predictions_after": predictions_after[:, 0].tolist(),
        "errors_after": (y - predictions_after)[:, 0].tolist(),
        "loss_after": squared_error(predictions_after.copy(), y)[0],
    }


def _named(ws: list[Any], bs: list[Any]) -> dict[str, float]:
    names = {"w1": ws[0], "b1": bs[0], "w2": ws[1], "b2": bs[1]}
    return {name: float(value.item()) for name, value in names.items()}


def max_margin(points: list[list[float]], labels: list[int]) -> dict[str, Any]:
    """Find the line of maximum margin between two classes of points (Q1 b).

    Gives "w" and "b" of the line w x + b = 0 at which the nearest points score +1 and -1,
    "support_vectors", the points that do, in the order given, and their "scores".
    """
    X = np.array(points, float)
    svm = SVC(kernel="linear", C=HARD_MARGIN, tol=1e-9).fit(X, labels)
    w, b = svm.coef_[0], svm.intercept_[0]
    scores = X @ w + b
    on_margin = np.isclose(np.abs(scores), 1.0, atol=1e-6)
    # libsvm stops within a tolerance: the solution is exact to nine digits
    return {
        "support_vectors": X[on_margin].tolist(),
        "w": np.round(w, 9).tolist(),
        "b": round(float(b), 9),
        "scores": np.round(scores[on_margin], 9).tolist(),
    }


def given_hyperplane(
    w: list[float], b: float, samples: list[list[float]], query: list[float]
) -> dict[str, Any]:
    """Score points against a given hyperplane w x + b = 0 (Q1 c).

    Gives where it crosses the first axis ("crossing"), scores of `samples`, the width 2 / |w| of
    the margin, the distance of the closest sample, the support vectors (|score| = 1), and score
    and label of `query`.
    """
    normal = np.array(w, float)
    length = np.linalg.norm(normal)
    scores = np.array(samples, float) @ normal + b
    query_score = float(np.array(query, float) @ normal + b)
    return {
        "crossing": float(-b / normal[0]),
        "scores": scores.tolist(),
        "margin": float(2.0 / length),
        "distance": float(np.abs(scores).min() / length),
        "support_vectors": np.array(samples, float)[np.isclose(np.abs(scores), 1.0)].tolist(),
        "query_score": query_score,
        "query_label": 1 if query_score > 0 else -1,
    }
