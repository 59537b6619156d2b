"""Draw the study's pictures from the results of the other stages, and say what each shows."""

from mlcore import plotting
from mlcore.files import write_json
from mlcore.report.pictures import as_images, in_lines
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/figures, metrics/svg and what the figures show, metrics/figures.json."""
    runs, figures = config.grid.model_dump(), config.figures
    lines = in_lines(workspace.input, runs)
    images = as_images(workspace.input, runs, figures.n_images)
    told = {}
    for name, (figure, shows) in (lines | images).items():
        plotting.save(figure, workspace.output(f"metrics/figures/{name}.png"))
        if name in lines:  # for the page
            plotting.save_svg(figure, workspace.output(f"metrics/svg/{name}.svg"))
        told[name] = {"shows": shows, "is_image": name in images}
    write_json(workspace.output("metrics/figures.json"), told)


if __name__ == "__main__":
    main(run)
