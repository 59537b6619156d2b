"""Put the study and its verdict on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlcore.files import atomic_path, read_json, read_yaml
from mlcore.judging.claims import CLAIM_VERDICTS, CLAIMS
from mlcore.judging.numbers import VERDICTS
from mlcore.pipeline.dvc_yaml import outline
from mlcore.report import content, inline_png, inline_svg, render

if TYPE_CHECKING:
    from mlcore.config import Config
    from mlcore.workspace import Workspace


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/report.html from metrics alone."""
    verdict = read_json(workspace.input("metrics/verdict.json"))
    shows = read_json(workspace.input("metrics/figures.json"))
    times = read_json(workspace.input("benchmarks/repro.json"))
    svgs, pngs = pictures(workspace, shows)
    figures = content.in_order(verdict["by_figure"])
    page = render(
        {
            "svgs": svgs,
            "pngs": pngs,
            "shows": {name: of["shows"] for name, of in shows.items()},
            "cells": [f"{a}-{i}" for a in config.grid.activation for i in config.grid.init],
            "counts": {
                kind: {word: verdict["figures"][kind][word] for word in VERDICTS}
                for kind in ("trained", "exact")
            },
            "claim_counts": {word: verdict["claims"][word] for word in CLAIM_VERDICTS},
            "coverage": verdict["coverage"],
            "seeds": min(f["n"] for f in figures if f["kind"] == "trained"),
            "rules_sha256": verdict["rules_sha256"],
            "figures": figures,
            "by_path": verdict["by_figure"],
            "claims": [verdict["by_claim"][name] for name in CLAIMS],
            "choices": content.choices(
                read_json(workspace.input("metrics/sensitivity.json")), verdict["by_figure"]
            ),
            "environment": read_json(workspace.input("metrics/environment.json")),
            "stages": content.stages(
                outline(read_yaml(workspace.input("dvc.yaml"))), times["stages"]
            ),
            "times": times,
            "data": verdict,
        }
    )
    with atomic_path(workspace.output("metrics/report.html")) as temporary:
        temporary.write_text(page, encoding="utf-8")


def pictures(workspace: Workspace, shows: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what the page shows as lines and text, and as images, by name."""
    svgs, pngs = {}, {}
    for name, of in shows.items():
        if of["is_image"]:
            png = workspace.input(f"metrics/figures/{name}.png").read_bytes()
            pngs[name] = {"uri": inline_png(png), "shows": of["shows"]}
        else:
            svg = workspace.input(f"metrics/svg/{name}.svg").read_text(encoding="utf-8")
            svgs[name] = inline_svg(svg, name.replace("/", "-"), of["shows"])
    return svgs, pngs


if __name__ == "__main__":
    from mlcore.app import main

    main(run)
