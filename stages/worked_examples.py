"""Compute section A of the study with the code that trains networks."""

from mlcore.files import read_yaml, write_json
from mlcore.study.worked_examples import backprop, given_hyperplane, max_margin
from stages import Config, Workspace, main


def run(config: Config, workspace: Workspace) -> None:
    """Write metrics/worked_examples.json: each example with what it starts from."""
    published = read_yaml(workspace.input("metrics/published.yaml"))["worked_examples"]
    given = {
        name: {key: published[name][key] for key in keys}
        for name, keys in {
            "backprop": ("w1", "b1", "w2", "b2", "points", "learning_rate"),
            "given_hyperplane": ("w", "b", "samples", "query"),
        }.items()
    }
    points, labels = (published["max_margin"][key] for key in ("support_vectors", "labels"))
    write_json(
        workspace.output("metrics/worked_examples.json"),
        {
            "backprop": given["backprop"] | backprop(**given["backprop"]),
            "max_margin": {"labels": labels} | max_margin(points, labels),
            "given_hyperplane": given["given_hyperplane"]
            | given_hyperplane(**given["given_hyperplane"]),
        },
    )


if __name__ == "__main__":
    main(run)
