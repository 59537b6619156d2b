"""Which runs count: the pipeline's own newest ones, and the best models, in MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mlcore.tracking.notes import checkout_root

if TYPE_CHECKING:
    from mlcore.tracking.store import Store

CURRENT = "current"
"""Tag of the pipeline's own runs: "true" of the newest of a stage, "false" of those before it."""

SUPERSEDED_BY = "superseded_by"
"""Tag of a run with the id of the one that took its place."""

ALIAS = "champion"

MODELS = {"network": "mnist-network", "classifier": "fashion-mnist-classifier"}
"""Parts whose best model is registered, and under which name."""

BETTER_BY = "val_accuracy"
"""What the best model is best by. Never a test figure: that would choose by the test images."""


NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model, or none with that alias."""


def newer_than(store: Store, experiment: str, run_id: str, stage: str) -> str:
    """Give the id of the current run of a stage if it was started after this one; else "".

    Runs that were kept for `make sync` come later than those that took their place. The parameters
    are those of `supersede`.
    """
    started = store.client.get_run(run_id).info.start_time
    others = _current(store, experiment, run_id, stage)
    return next((run.info.run_id for run in others if run.info.start_time > started), "")


def supersede(store: Store, experiment: str, run_id: str, stage: str) -> None:
    """Make a run the current one of its stage, unless a newer one is; nothing is deleted.

    Parameters
    ----------
    store : Store
    experiment : str
        Name of the experiment.
    run_id : str
    stage : str
        As DVC names it, such as "train_network@tanh-normal".
    """
    if newer := newer_than(store, experiment, run_id, stage):
        store.client.set_tag(run_id, CURRENT, "false")
        store.client.set_tag(run_id, SUPERSEDED_BY, newer)
        return
    for run in _current(store, experiment, run_id, stage):
        store.client.set_tag(run.info.run_id, CURRENT, "false")
        store.client.set_tag(run.info.run_id, SUPERSEDED_BY, run_id)
    store.client.set_tag(run_id, CURRENT, "true")


def _current(store: Store, experiment: str, run_id: str, stage: str) -> list[Any]:
    """Give the current runs of a stage but this one; more than one if a change was broken off."""
    runs = store.client.search_runs(
        [store.experiment(experiment)],
        f"tags.`dvc.stage` = '{stage}' and tags.`{CURRENT}` = 'true'",
    )
    return [run for run in runs if run.info.run_id != run_id]


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
        except errors.MlflowException as error:
            if error.error_code not in NO_CHAMPION:
                raise  # a store that does not answer may have one
            champion = None
        if champion is not None:
            same_data = champion.tags.get("data") == about["data"]
            better = float(about[BETTER_BY]) > float(champion.tags[BETTER_BY])
            if not (better if same_data else own):
                return False
        with suppress(errors.MlflowException):  # it is there
            client.create_registered_model(name)
        tags = {key: str(value) for key, value in about.items()}
        # One that was registered before it was broken off
        known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        # Without the model's id a server refuses its URI
        model_id = model_uri.rpartition("/")[2]
        version = next(iter(known), None) or client.create_model_version(
            name, model_uri, run_id, tags=tags, model_id=model_id
        )
        client.set_registered_model_alias(name, ALIAS, version.version)
    return True
