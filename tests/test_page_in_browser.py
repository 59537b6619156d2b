"""The page in a real browser: whole, quiet, usable by keyboard, on a phone and on paper."""

import io
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from mlcore.config import compose
from mlcore.pipeline.workspace import Workspace
from stages import report

ROOT = Path(__file__).parents[1]
WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 800}

# One worker starts one browser; playwright's own loop warns of nothing else
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The page of the committed results."""
    folder = tmp_path_factory.mktemp("page")
    report.run(compose(ROOT / "conf"), Workspace(ROOT, folder))
    return (folder / "metrics" / "report.html").as_uri()


@pytest.fixture
def opened(browser, url):
    """Open the page; gives it, with what it asked for and what it complained of."""
    contexts = []

    def open_page(viewport=WIDE, **options):
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


def entries(page, what="numbers"):
    return page.locator(f"#{what} .entries > li:visible")


def test_it_asks_for_nothing_and_complains_of_nothing(opened, url):
    page = opened()
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(300)
    assert [asked for asked in page.asked if not asked.startswith("data:")] == [url]
    assert page.complaints == []
    sizes = page.eval_on_selector_all("img", "all => all.map(i => i.complete && i.naturalWidth)")
    assert len(sizes) >= 4
    assert all(sizes)


def test_a_list_sorts_by_verdict_and_in_the_reports_order(opened):
    page = opened()
    order = page.locator("#claims").get_by_label("Sort by")

    def ids():
        return page.locator("#claims-list > li > details").evaluate_all("all => all.map(d => d.id)")

    by_verdict = ids()
    assert len(by_verdict) > 60
    order.select_option("order")
    assert ids() == sorted(by_verdict, key=lambda name: (name[0], int(name[1:])))
    order.select_option("severity")
    assert ids() == by_verdict


def test_a_list_filters_by_text_and_by_verdict(opened):
    page = opened()
    numbers = page.locator("#numbers")
    before = entries(page).count()
    numbers.get_by_label("Find").fill("leaky relu, RANDOM")
    assert entries(page).count() == 1
    assert "leaky ReLU, random" in entries(page).first.inner_text()
    assert numbers.locator("output").inner_text() == "1 of 98 found"
    numbers.get_by_label("Find").fill("q1 a: loss")  # what is folded comes out
    assert entries(page).count() == 2
    numbers.get_by_label("Find").fill("validation loss, leaky_tanh")
    assert numbers.locator("output").inner_text() == "none of 98 found"
    numbers.get_by_label("Find").fill("tanh, validation loss")
    assert entries(page).count() == 1
    page.evaluate("location.hash = '#fashion_search.cv_accuracy'")  # not among those found
    assert page.locator('[id="fashion_search.cv_accuracy"] .panel').is_visible()
    chip = numbers.get_by_role("button", name="exact")
    chip.click()
    verdicts = entries(page).evaluate_all("all => all.map(e => e.dataset.verdict)")
    assert set(verdicts) == {"exact"}
    assert chip.get_attribute("aria-pressed") == "true"
    chip.click()
    assert entries(page).count() >= before


def test_a_link_opens_the_panel_that_it_names(opened, url):
    page = opened()
    path = "fashion_classifier.test_accuracy.tanh"
    page.locator(f'#fashion a[href="#{path}"]').click()
    panel = page.locator(f'[id="{path}"] .panel')
    assert panel.is_visible()
    assert "dvc repro" in panel.locator(".command").inner_text()
    assert panel.bounding_box()["width"] > 600
    page.goto(f"{url}#worked_examples.backprop.loss_before")
    page.reload()  # folded twice
    assert page.locator('[id="worked_examples.backprop.loss_before"] .panel').is_visible()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("place", ["#verdict .enlarge", ".panels .enlarge"])
def test_a_picture_enlarges_and_goes_back_by_keyboard(opened, viewport, place):
    page = opened(viewport)
    page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
    button = page.locator(place).first
    small = button.locator("svg").first.bounding_box()["width"]
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert dialog.locator("svg").first.bounding_box()["width"] > 1.45 * small
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.locator("svg").count() >= 1
    assert button.evaluate("node => node === document.activeElement")


def test_without_script_all_is_there(opened):
    page = opened(java_script_enabled=False)
    assert entries(page).count() > 25
    assert page.locator(".filter").first.is_hidden()
    assert entries(page, "claims").count() > 60
    assert page.locator("figure .paper").first.is_visible()


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_no_violation(opened, viewport, scheme):
    page = opened(viewport, color_scheme=scheme)
    # Of a list the first entry stands for the others, or this would take minutes
    some = ".fold, td > details, .entries > li:first-child > details"
    page.eval_on_selector_all(some, "all => all.forEach(d => d.open = true)")
    page.eval_on_selector_all(".entries > li + li", "all => all.forEach(li => li.remove())")
    found = Axe().run(page, context={"exclude": [[".paper svg > *"]]})
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_sticks_out_to_the_side_and_the_contents_stay_in_sight(opened, width):
    page = opened({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#numbers").scroll_into_view_if_needed()
    assert page.locator("nav").bounding_box()["y"] == pytest.approx(0, abs=1)


def test_the_dark_page_is_dark(opened):
    shots = [opened(color_scheme=scheme).screenshot() for scheme in ("light", "dark")]
    light, dark = (Image.open(io.BytesIO(s)).convert("L").getpixel((5, 500)) for s in shots)
    assert dark < 40 < 240 < light


def test_it_prints_on_few_pages_with_what_is_folded(opened):
    page = opened()
    page.emulate_media(media="print")
    assert page.locator(".panel p").first.is_visible()
    assert not page.get_by_label("Find").first.is_visible()
    content = page.pdf(format="A4", prefer_css_page_size=True)
    assert content.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type /Page\b", content)) <= 16
