"""Which runs count: the pipeline's own newest ones, and the best models, in MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mlcore.notes import checkout_root

if TYPE_CHECKING:
    from mlcore.stores import Store

CURRENT = "current"
"""Tag of the pipeline's own runs: "true" of the newest of a stage, "false" of those before it."""

SUPERSEDED_BY = "superseded_by"
"""Tag of a run with the id of the one that took its place."""

ALIAS = "champion"

MODELS = {"network": "mnist-network", "classifier": "fashion-mnist-classifier"}
"""Parts whose best model is registered, and under which name."""

BETTER_BY = "val_accuracy"
"""What the best model is best by. Never a test figure: that would choose by the test images."""


def supersede(store: Store, experiment: str, run_id: str, stage: str) -> None:
    """Make a run the current one of its stage; nothing is deleted.

    Parameters
    ----------
    store : Store
    experiment : str
        Name of the experiment.
    run_id : str
    stage : str
        As DVC names it, such as "train_network@tanh-normal".
    """
    older = store.client.search_runs(
        [store.experiment(experiment)],
        f"tags.`dvc.stage` = '{stage}' and tags.`{CURRENT}` = 'true'",
    )
    for run in older:
        if run.info.run_id != run_id:
            store.client.set_tag(run.info.run_id, CURRENT, "false")
            store.client.set_tag(run.info.run_id, SUPERSEDED_BY, run_id)
    store.client.set_tag(run_id, CURRENT, "true")


def promote(
    store: Store, part: str, model_uri: str, run_id: str, about: Mapping[str, Any], own: bool
) -> bool:
    """Register a model as the champion of its part, if it is better than the one that is.

    Parameters
    ----------
    store : Store
    part : str
    model_uri : str
    run_id : str
    about : mapping
        "val_accuracy", and "data": the digest of what it was trained and validated on.
    own : bool
        Whether the pipeline trained it: then it takes the place of one on other data, with which
        it cannot be compared.

    Returns
    -------
    bool
    """
    name = MODELS.get(part)
    if name is None or about.get(BETTER_BY) is None:
        return False
    client, errors = store.client, store.mlflow.exceptions
    # Two writers that compare at once would both win
    with FileLock(checkout_root(store.root) / ".mlflow.lock"):
        try:
            champion = client.get_model_version_by_alias(name, ALIAS)
        except errors.MlflowException:
            champion = None
        if champion is not None:
            same_data = champion.tags.get("data") == about["data"]
            better = float(about[BETTER_BY]) > float(champion.tags[BETTER_BY])
            if not (better if same_data else own):
                return False
        with suppress(errors.MlflowException):  # it is there
            client.create_registered_model(name)
        tags = {key: str(value) for key, value in about.items()}
        version = client.create_model_version(name, model_uri, run_id, tags=tags)
        client.set_registered_model_alias(name, ALIAS, version.version)
    return True
