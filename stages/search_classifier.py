"""Search solver, learning rate and batch size of the classifier (report, section 3.3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier

from mlcore.artifacts import load_arrays, save_mlp, write_json, write_table
from mlcore.datasets import from_arrays
from mlcore.estimators import grid_search
from mlcore.record import Dataset, Training

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config

log = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace) -> Training:
    """Write models/search.npz, metrics/search.json and the table of all candidates."""
    params = config.search
    data = workspace.input("data/fashion_mnist.npz")
    full, test = from_arrays(load_arrays(data), str(data), ("full", "test")).values()
    model = MLPClassifier(
        hidden_layer_sizes=tuple(params.hidden_layer_sizes),
        activation=params.activation,
        max_iter=params.max_epochs,
        random_state=params.seed,
    )
    grid: dict[str, list[Any]] = {
        "solver": params.solver,
        "learning_rate_init": params.learning_rate,
        "batch_size": params.batch_size,
    }
    result = grid_search(model, grid, full.X, full.y, cv=params.cv)

    probabilities = result.best_model.predict_proba(test.X)
    predicted = result.best_model.classes_[probabilities.argmax(axis=1)]
    metrics = {
        "cv_accuracy": result.candidates[0]["mean_accuracy"],
        "test_accuracy": float(accuracy_score(test.y, predicted)),
        "test_loss": float(log_loss(test.y, probabilities, labels=result.best_model.classes_)),
    }
    n_fits = len(result.candidates) * params.cv
    save_mlp(workspace.output("models/search.npz"), result.best_model)
    write_json(
        workspace.output("metrics/search.json"),
        {**metrics, "best": result.best_params, "n_fits": n_fits},
    )
    table = [
        {
            **{key: value for key, value in row.items() if key != "fold_accuracies"},
            **{f"fold_{k}": value for k, value in enumerate(row["fold_accuracies"], start=1)},
        }
        for row in result.candidates
    ]
    write_table(workspace.output("metrics/search.csv"), table)
    log.info("search: best %s, accuracy %.4f", result.best_params, metrics["cv_accuracy"])
    return Training(
        part="search",
        name="search",
        params=params.model_dump(),
        metrics=metrics,
        history=[
            {"epoch": epoch, "train_loss": loss}
            for epoch, loss in enumerate(result.best_model.loss_curve_, start=1)
        ],
        dataset=Dataset("fashion_mnist", data, full.X, full.y),
        model=result.best_model,
        files=[workspace.output("metrics/search.csv")],
        children=[_candidate(row, list(grid)) for row in table],
    )


def _candidate(row: dict[str, object], names: list[str]) -> Training:
    return Training(
        part="search",
        name="-".join(str(row[name]) for name in names),
        params={name: row[name] for name in names},
        metrics={k: float(v) for k, v in row.items() if k not in names},  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
