"""The study's printed figures beside ours."""

from collections.abc import Mapping
from typing import Any


def compare(published: Any, ours: Any, path: str = "") -> Any:
    """Pair every published figure with ours.

    Parameters
    ----------
    published : nested mappings and lists of figures
    ours : the same layout
        None where we have no figure, for example because the grid was narrowed.
    path : str
        Where in the layout this is, for the error.

    Returns
    -------
    The layout of `published`, each figure replaced by ``{"ours": ..., "published": ...}``.

    Raises
    ------
    ValueError
        If the layouts differ.
    """
    kind = next((k for k in (Mapping, list) if isinstance(published, k)), None)
    ours_kind = next((k for k in (Mapping, list) if isinstance(ours, k)), None)
    if ours is not None and ours_kind is not kind:
        raise ValueError(f"{path or 'figures'}: ours is {ours!r}, published {published!r}")
    if isinstance(published, Mapping):
        if ours is not None and set(ours) != set(published):
            raise ValueError(
                f"{path or 'figures'}: ours are {sorted(ours, key=str)}, "
                f"published {sorted(published, key=str)}"
            )
        return {
            key: compare(value, ours and ours[key], f"{path}.{key}".lstrip("."))
            for key, value in published.items()
        }
    if isinstance(published, list):
        if ours is not None and len(ours) != len(published):
            raise ValueError(f"{path}: ours are {len(ours)}, published {len(published)}")
        return [
            compare(value, ours and ours[i], f"{path}[{i}]") for i, value in enumerate(published)
        ]
    return {"ours": ours, "published": published}


def headline(
    summary: Mapping[str, Any], reconstruction_errors: Mapping[str, float]
) -> dict[str, float]:
    """Pick the figures that one would compare between experiments, under short flat names.

    Parameters
    ----------
    summary : nested mappings
        What `compare` gave.
    reconstruction_errors : mapping of str to float
        Mean squared error on the test part, by the autoencoder's activation.

    Returns
    -------
    dict of str to float
        Accuracies in the test part by run ("tanh-normal", "fashion-tanh", "codes-relu"), the
        search's cross-validated one, and the reconstruction errors. What did not run is left out.
    """
    accuracies = {
        f"{activation}-{init}": figure["ours"]
        for activation, row in summary["mnist_grid"]["test_accuracy"].items()
        for init, figure in row.items()
    }
    for prefix, part in (("fashion", "fashion_classifier"), ("codes", "bottleneck_probe")):
        accuracies |= {
            f"{prefix}-{activation}": figure["ours"]
            for activation, figure in summary[part]["test_accuracy"].items()
        }
    accuracies["search-cv"] = summary["fashion_search"]["cv_accuracy"]["ours"]
    errors = {f"mse-{name}": error for name, error in reconstruction_errors.items()}
    return {name: v for name, v in (accuracies | errors).items() if v is not None}
