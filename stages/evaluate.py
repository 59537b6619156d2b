"""Gather the results of all trainings, and put every number that the study printed beside ours."""

from typing import Any

from mlcore.files import read_json, read_table, read_yaml, write_json, write_table
from mlcore.judging.published import compare
from mlcore.process import fingerprint
from mlcore.study.comparison import gather, headline, our_numbers
from mlcore.study.parts import PARTS
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write the comparison, one row of headline numbers, and the histories of each part."""

    def results(file: str) -> Any:
        return read_json(workspace.input(f"metrics/{file}"))

    grid = config.grid.model_dump()
    published = read_yaml(workspace.input("metrics/published.yaml"))
    del published["notebook"]  # see mlcore.review.study_models
    candidates = read_table(workspace.input("metrics/search.csv"))
    ours = our_numbers(published, results, candidates, grid, config.figures.n_images)
    summary = compare(published, ours)
    autoencoders = [n for n in PARTS["autoencoder"].names(grid) if n.endswith("-fit")]
    errors = {
        name.removesuffix("-fit"): float(results(f"autoencoder/{name}.json")["test_mse"])
        for name in autoencoders
    }
    write_json(workspace.output("metrics/summary.json"), summary)
    # As many digits as DVC prints: else differences in the last bits are rows with a change of 0.0
    shown = {name: round(value, 5) for name, value in headline(summary, errors).items()}
    write_json(workspace.output("metrics/headline.json"), shown)
    write_json(workspace.output("metrics/environment.json"), fingerprint())
    for name, part in PARTS.items():
        if part.varied:
            files = {run: f"history/{name}/{run}.csv" for run in part.names(grid)}
            tables = {run: read_table(workspace.input(file)) for run, file in files.items()}
            losses, diagnostics = gather(tables)
            write_table(workspace.output(f"metrics/history/{name}.csv"), losses.to_dict("records"))
            if name == "network":
                rows = diagnostics.to_dict("records")
                write_table(workspace.output("metrics/diagnostics.csv"), rows)


if __name__ == "__main__":
    main(run)
