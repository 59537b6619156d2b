"""Search solver, learning rate and batch size of the classifier (report, section 3.3)."""

from pathlib import Path

from mlcore.data.splits import for_training
from mlcore.files import load_arrays
from mlcore.training.mlp import ObservedMLPClassifier, sklearn_arguments
from mlcore.training.run import Candidate, Dataset, Training
from mlcore.training.search import GridSearch, n_fits
from mlcore.training.weights import save_mlp
from stages import Config, Workspace, main

SEARCHED = ["solver", "learning_rate", "batch_size"]


def run(config: Config, workspace: Workspace) -> Training:
    """Declare the search, and the refit of its best candidate."""
    params = config.search.model_dump()
    grid = {name: params[name] for name in SEARCHED}
    shared = {k: v for k, v in params.items() if k not in (*SEARCHED, "cv", "fold_seed")}
    data = workspace.input("data/fashion_mnist.npz")
    parts = for_training(load_arrays(data), str(data), "full", dtype=params["dtype"])
    return Training(
        part="search",
        parallel=True,
        name="best",
        estimator=GridSearch(
            ObservedMLPClassifier(**sklearn_arguments(shared)),
            grid,
            cv=params["cv"],
            fold_seed=params["fold_seed"],
        ),
        n_steps=n_fits(grid, params["cv"]),
        data=parts,
        dataset=Dataset("fashion_mnist", data),
        params=params,
        save_model=_save_best,
        model_suffix=".npz",
        # The folds are its validation
        extra=lambda search: {"val_accuracy": search.candidates_[0]["mean_accuracy"]},
        tables=lambda search: {"metrics/search.csv": search.candidates_},
        candidates=_candidates,
    )


def _save_best(path: Path, search: GridSearch) -> None:
    save_mlp(path, search.best_)


def _candidates(search: GridSearch) -> list[Candidate]:
    return [
        Candidate(
            name="-".join(str(row[name]) for name in SEARCHED),
            params={name: row[name] for name in SEARCHED},
            metrics={name: float(row[name]) for name in row if name not in SEARCHED},
            started=started,
            ended=ended,
        )
        for row, (started, ended) in zip(search.candidates_, search.times_, strict=True)
    ]


if __name__ == "__main__":
    main(run)
