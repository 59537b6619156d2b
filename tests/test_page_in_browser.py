"""The page in a real browser: whole, quiet, usable by keyboard, on a phone and on paper."""

import io
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from mlcore.config import compose
from mlcore.workspace import Workspace
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


def rows(page):
    return page.locator("#table tbody tr:visible")


def column(page, k):
    cells = page.locator(f"#table tbody tr > :nth-child({k})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_it_asks_for_nothing_and_complains_of_nothing(opened, url):
    page = opened()
    page.mouse.wheel(0, 100_000)
    page.wait_for_timeout(300)
    assert [asked for asked in page.asked if not asked.startswith("data:")] == [url]
    assert page.complaints == []
    sizes = page.eval_on_selector_all("img", "all => all.map(i => i.complete && i.naturalWidth)")
    assert len(sizes) >= 4
    assert all(sizes)


def test_the_table_sorts_by_number_and_back(opened):
    page = opened()
    printed = page.get_by_role("button", name="Printed", exact=True)
    printed.click()

    def numbers():
        shown = [text.replace("\N{MINUS SIGN}", "-") for text in column(page, 2)]
        return [float(text) for text in shown if text[-1].isdigit()]

    assert len(numbers()) > 60
    assert numbers() == sorted(numbers())
    assert column(page, 2)[-1] == "adam"  # what is no number comes last
    printed.click()
    assert numbers() == sorted(numbers(), reverse=True)
    assert column(page, 2)[-1] == "adam"
    heading = page.locator("#table thead th", has_text="Printed")
    assert heading.get_attribute("aria-sort") == "descending"


def test_the_table_filters(opened):
    page = opened()
    all_rows = rows(page).count()
    page.get_by_label("Filter").fill("leaky relu, RANDOM")
    assert rows(page).count() == 1
    assert "leaky ReLU, random" in rows(page).first.inner_text()
    assert page.locator("#shown").inner_text() == f"1 of {all_rows} numbers"
    page.get_by_label("Filter").fill("")
    assert rows(page).count() == all_rows


def test_a_picture_enlarges_and_goes_back_by_keyboard(opened):
    page = opened()
    button = page.locator(".panels .enlarge").first
    small = button.locator("svg").first.bounding_box()["width"]
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert dialog.locator("svg").first.bounding_box()["width"] > 2 * small
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.locator("svg").count() >= 1
    assert button.evaluate("node => node === document.activeElement")


def test_without_script_all_is_there(opened):
    page = opened(java_script_enabled=False)
    assert rows(page).count() > 60
    assert page.locator(".filter").is_hidden()
    assert page.locator("#claims li").first.is_visible()
    assert page.locator("figure .paper").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_no_violation(opened, scheme, viewport):
    page = opened(viewport, color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_sticks_out_to_the_side(opened, width):
    page = opened({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_dark_page_is_dark(opened):
    shades = {}
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
        shades[scheme] = picture.getpixel((5, 500))
    assert shades["light"] > 240
    assert shades["dark"] < 40


def test_it_prints_with_what_is_folded(opened):
    page = opened()
    page.emulate_media(media="print")
    assert page.get_by_text("Statement", exact=True).first.is_visible()
    assert not page.get_by_label("Filter").is_visible()
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") > 5
