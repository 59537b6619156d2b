"""Fetch the files of a data set."""

import logging
import os
from pathlib import Path

from mlcore.data import sources
from stages import Config, Workspace, main

log = logging.getLogger(__name__)


def run(config: Config, workspace: Workspace) -> None:
    """Write data/raw/{dataset}; from the folder RETRACE_DATA if that is set.

    With Kaggle's files that folder need not have MNIST, too.
    """
    dataset = config.fetch.dataset
    local = os.environ.get("RETRACE_DATA")
    folder = Path(local).expanduser().resolve() if local else None
    out = workspace.output(f"data/raw/{dataset}")
    kaggle = config.fashion_mnist.source == "kaggle"
    if kaggle and dataset == "fashion_mnist":
        log.info("%s: from %s", dataset, sources.copy_kaggle(out, folder))
        return
    if kaggle and folder and not (folder / dataset).is_dir():
        folder = None
    source = sources.fetch(dataset, out, folder)
    log.info("%s: complete and verified, from %s", dataset, source)


if __name__ == "__main__":
    main(run)
