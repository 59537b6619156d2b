"""Put the study and its verdict on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlcore.artifacts import atomic_path, read_json
from mlcore.claims import CLAIM_VERDICTS, CLAIMS
from mlcore.report import inline_png, inline_svg, render
from mlcore.verdict import VERDICTS

if TYPE_CHECKING:
    from mlcore.app import Workspace
    from mlcore.config import Config

DRAWN = {
    "verdict": "Every printed figure of a trained model against the interval that our runs give",
    "heatmap": "Test accuracies of the twelve networks, ours above the study's",
    "network": "Validation loss of the twelve networks over epochs",
    "diagnostics": "Gradient norms and spread of the units of the twelve networks over epochs",
    "classifier": "Training and validation loss of the four classifiers over epochs",
    "search": "Cross-validated accuracy by learning rate, batch size and solver",
    "autoencoder": "Training and validation loss of the two autoencoders over epochs",
    "feature_classifier": "Losses of the two classifiers on the 32-d codes over epochs",
}
"""Figures that are drawn as lines and text, with what they show."""

IMAGES = {
    "samples": "Ten images of clothing with the names of their classes",
    "reconstructions": "Ten images of clothing, and blurred versions of them by two autoencoders",
}
"""Figures that are images."""


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/report.html from metrics alone."""
    verdict = read_json(workspace.input("metrics/verdict.json"))
    cells = [f"{a}-{i}" for a in config.grid.activation for i in config.grid.init]
    svgs, pngs = pictures(workspace, cells)
    page = render(
        {
            "svgs": svgs,
            "pngs": pngs,
            "cells": cells,
            "counts": {
                kind: {word: verdict["figures"][kind][word] for word in VERDICTS}
                for kind in ("trained", "exact")
            },
            "claim_counts": {word: verdict["claims"][word] for word in CLAIM_VERDICTS},
            "coverage": verdict["coverage"],
            "seeds": min(f["n"] for f in verdict["by_figure"].values() if f["kind"] == "trained"),
            "rules_sha256": verdict["rules_sha256"],
            "figures": list(verdict["by_figure"].values()),
            "claims": [verdict["by_claim"][name] for name in CLAIMS],
            "choices": read_json(workspace.input("metrics/sensitivity.json"))["printed_values"],
            "environment": read_json(workspace.input("metrics/environment.json")),
            "data": verdict,
        }
    )
    with atomic_path(workspace.output("metrics/report.html")) as temporary:
        temporary.write_text(page, encoding="utf-8")


def pictures(workspace: Workspace, cells: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what the page shows as lines and text, and as images, by name."""
    drawn = DRAWN | {
        f"network/{cell}": f"Training and validation loss of {cell} over epochs" for cell in cells
    }
    svgs = {
        name: inline_svg(
            workspace.input(f"metrics/svg/{name}.svg").read_text(encoding="utf-8"),
            name.replace("/", "-"),
            description,
        )
        for name, description in drawn.items()
    }
    pngs = {
        name: {
            "uri": inline_png(workspace.input(f"metrics/figures/{name}.png").read_bytes()),
            "description": description,
        }
        for name, description in IMAGES.items()
    }
    return svgs, pngs


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
