"""Which runs count: the pipeline's own newest ones, and the best models, in MLflow's registry."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlcore.tracking import notes
from mlcore.tracking.store import CURRENT, Store

REGISTERED = ("network", "classifier")  # the parts whose best model is registered
# Never a test metric, which would choose by the test images
ALIAS, BETTER_BY = "champion", "val_accuracy"
TRUSTED_TYPES = [  # all that a fitted MLP holds beyond what skops trusts by itself
    "mlcore.training.mlp.ObservedMLPClassifier",
    "mlcore.training.mlp.ObservedMLPRegressor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]


def supersede(store: Store, experiment: str, run_id: str, stage: str) -> bool:
    """Tag the newest run of a stage of DVC's as current, and the others with its id.

    This run may be an older one, if it waited for `make sync`. Returns whether it is current.
    """
    current = store.runs(f"tags.`dvc.stage` = '{stage}' and tags.`{CURRENT}` = 'true'", experiment)
    runs = [store.client.get_run(run_id), *current]  # the first of two that began together wins
    winner = max(runs, key=lambda run: run.info.start_time).info.run_id
    for old in {run.info.run_id for run in runs} - {winner}:  # several if it was broken off
        store.log(old, tags={CURRENT: winner})
    store.log(winner, tags={CURRENT: "true"})
    return bool(winner == run_id)


def log_model(store: Store, run_id: str, training: Path) -> str:
    """Log a training's model, once, for `mlflow.pyfunc` and `mlflow models serve`; its URI."""
    run = store.client.get_run(run_id)
    for made in run.outputs.model_outputs:
        if store.client.get_logged_model(made.model_id).status == "READY":
            return f"models:/{made.model_id}"
    from mlcore.nn import NeuralNetwork

    model, example = pickle.loads((training / notes.MODEL).read_bytes())  # noqa: S301 - our own
    mlflow, root = store.mlflow, store.root
    pins = (root / "requirements.numeric.txt").read_text(encoding="utf-8").split()
    # Columns, which take arrays of any float, lists and tables; a tensor takes float32 alone
    columns = mlflow.types.Schema([mlflow.types.ColSpec("double")] * example.shape[1])
    outputs = mlflow.models.infer_signature(example, model.predict(example)).outputs
    about: dict[str, Any] = {
        "name": notes.title(training),
        "tags": {"mlflow.source.name": run.data.tags["mlflow.source.name"]},
        "code_paths": [str(root / "mlcore")],
        "signature": mlflow.models.ModelSignature(columns, outputs),
        "input_example": example,
        "pip_requirements": [*pins, "skops"],
    }
    if isinstance(model, NeuralNetwork):
        flavour, (file,) = mlflow.pyfunc, (training / notes.FILES).glob("*.pkl")
        about["python_model"] = str(root / "mlcore" / "tracking" / "serving.py")
        about["artifacts"] = {"network": str(file)}
    else:
        flavour, about["sk_model"] = mlflow.sklearn, model
        about |= {"serialization_format": "skops", "skops_trusted_types": TRUSTED_TYPES}
    mlflow.start_run(run_id=run_id)
    try:
        return str(flavour.log_model(**about).model_uri)
    finally:
        mlflow.end_run("RUNNING")


def promote(
    store: Store, part: str, model_uri: str, run_id: str, about: Mapping[str, Any], own: bool
) -> None:
    """Register a model as the champion of its part, if it is better.

    `about` has "val_accuracy", and "data": the digest of what it was trained and validated on.
    With `own`, of the pipeline, it takes the place of one with which it cannot be compared.
    """
    name, client = f"retrace-{part}", store.client
    # Two recorders that compare at once would both win
    with FileLock(store.home / ".mlflow.lock"):
        found = client.search_registered_models(f"name = '{name}'")
        version = found and found[0].aliases.get(ALIAS)
        if version and not _beats(about, client.get_model_version(name, version).tags, own):
            return
        if not found:
            purpose = f"The best model of `retrace/{part}` on validation images: alias `{ALIAS}`"
            client.create_registered_model(name, description=purpose)
        # One that was registered before it was broken off
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        if not versions:  # without the model's id a server refuses its URI
            tags = {key: str(value) for key, value in about.items()}
            model = {"tags": tags, "model_id": model_uri.rpartition("/")[2]}
            model["description"] = client.get_run(run_id).info.run_name
            versions = [client.create_model_version(name, model_uri, run_id, **model)]
        client.set_registered_model_alias(name, ALIAS, versions[0].version)


def _beats(about: Mapping[str, Any], champion: Mapping[str, str], own: bool) -> bool:
    """Compare with a champion whose tags anybody may have written."""
    try:
        best = float(champion[BETTER_BY])
    except (KeyError, ValueError):
        return own
    return float(about[BETTER_BY]) > best if champion.get("data") == about["data"] else own
