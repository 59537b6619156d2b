"""MLflow's own pages in a real browser: what users see of the runs."""

import json
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from servers import serving

from mlcore.tracking.store import default_uri

pytestmark = [pytest.mark.slow, pytest.mark.mlflow, pytest.mark.xdist_group("browser")]

GRID = ["network.activation=tanh,relu", "network.init=random,normal", "network.max_epochs=3",
        "network.hidden_layer_sizes=[8,6]"]  # fmt: skip
SECONDS = 90_000
"""Milliseconds that a page has: MLflow's are large, and machines that test are busy."""


@pytest.fixture
def page(browser):
    with browser.new_context(viewport={"width": 1600, "height": 1400}) as context:
        context.set_default_timeout(SECONDS)
        expect.set_options(timeout=SECONDS)
        yield context.new_page()


def test_users_find_their_runs_compare_them_and_open_a_sweep(project, page):
    project.run("stages.train_network", "-m", *GRID)
    experiment = project.client().get_experiment_by_name("retrace/network").experiment_id
    children = project.runs("network", "tags.origin = 'sweep' and params.activation != ''")
    (parent,) = project.runs("network", "tags.best_by != ''")
    assert len(children) == 4
    ui = ["-m", "mlflow", "ui", "--backend-store-uri", default_uri(project.root)]
    env = project.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with serving(
        *(sys.executable, *ui, "--host", "127.0.0.1", "--workers", "1", "--port"),
        cwd=project.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as url:  # fmt: skip
        page.goto(f"{url}/#/experiments")
        expect(page.get_by_text("network").first).to_be_visible()

        # The list of runs: the sweep is one row, which opens
        page.goto(f"{url}/#/experiments/{experiment}/runs")
        expect(page.get_by_text(parent.info.run_name).first).to_be_visible()

        # The runs side by side, with parallel coordinates
        ids = [run.info.run_id for run in children]
        page.goto(f"{url}/#/compare-runs?runs={quote(json.dumps(ids))}"
                  f"&experiments={quote(json.dumps([experiment]))}")  # fmt: skip
        expect(page.get_by_text("Comparing 4 Runs")).to_be_visible()
        for run in children:
            expect(page.get_by_text(run.info.run_name).first).to_be_visible()
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        accuracy = f"{children[0].data.metrics['final/test_accuracy']:.3f}".rstrip("0")
        expect(page.get_by_text(accuracy).first).to_be_visible()

        # The losses of a run as charts, and its picture
        run = children[0].info.run_id
        page.goto(f"{url}/#/experiments/{experiment}/runs/{run}/model-metrics")
        expect(page.get_by_text("val_loss").first).to_be_visible()
        page.goto(f"{url}/#/experiments/{experiment}/runs/{run}/artifacts/figures/loss.png")
        pictures = "img[src*='blob:'], .image-container img, img[src*='loss.png']"
        picture = page.locator(pictures).first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 300

        # The sweep's own run: which is the best, and the table of all
        page.goto(f"{url}/#/experiments/{experiment}/runs/{parent.info.run_id}")
        expect(page.get_by_text("best_run_name").first).to_be_visible()
        expect(page.get_by_text(parent.data.tags["best_run_name"]).first).to_be_visible()
