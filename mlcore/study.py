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
                f"{path or 'figures'}: ours are {sorted(ours)}, published {sorted(published)}"
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
