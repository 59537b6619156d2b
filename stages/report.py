"""Put the study and its verdict on one page, and the findings into REPORT.md."""

from base64 import b64encode
from typing import Any

from mlcore.files import atomic_path, read_json, read_yaml
from mlcore.pipeline.dvc_yaml import outline
from mlcore.report import content, inline_svg, render
from mlcore.study.parts import PARTS
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/report.html and REPORT.md, from metrics alone."""
    figures = read_json(workspace.input("metrics/figures.json"))
    svgs, pngs = pictures(workspace, figures)
    shown = content.of_page(
        verdict=read_json(workspace.input("metrics/verdict.json")),
        sensitivity=read_json(workspace.input("metrics/sensitivity.json")),
        stages=outline(read_yaml(workspace.input("dvc.yaml"))),
        times=read_json(workspace.input("benchmarks/repro.json")),
    ) | {
        "svgs": svgs,
        "pngs": pngs,
        "shows": {name: of["shows"] for name, of in figures.items()},
        "cells": PARTS["network"].names(config.grid.model_dump()),
        "environment": read_json(workspace.input("metrics/environment.json")),
    }
    pages = {"metrics/report.html": "page.html.jinja", "REPORT.md": "report.md.jinja"}
    for name, template in pages.items():
        with atomic_path(workspace.output(name)) as temporary:
            temporary.write_text(render(shown, template), encoding="utf-8")


def pictures(workspace: Workspace, figures: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what the page shows as lines and text, and as images, by name."""
    svgs, pngs = {}, {}
    for name, of in figures.items():
        if of["is_image"]:
            png = b64encode(workspace.input(f"metrics/figures/{name}.png").read_bytes()).decode()
            pngs[name] = {"uri": f"data:image/png;base64,{png}", "shows": of["shows"]}
        else:
            svg = workspace.input(f"metrics/svg/{name}.svg").read_text(encoding="utf-8")
            svgs[name] = inline_svg(svg, name.replace("/", "-"), of["shows"])
    return svgs, pngs


if __name__ == "__main__":
    main(run)
