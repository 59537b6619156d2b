"""The page: the study and its verdict as one HTML file that needs nothing else; and REPORT.md.

Everything on them is handed to the templates in this folder; no HTML is written in Python.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mlcore.report.words import name_of, plain, short, shown

HERE = Path(__file__).parent

INKS = {
    "#000000": "var(--ink)",
    "#ffffff": "var(--ground)",
    "#e6e6e6": "var(--line)",
    "#555555": "var(--soft)",
    "#8c8c8c": "var(--mute)",
    "#00664b": "var(--good)",
    "#855600": "var(--noisy)",
    "#17648f": "var(--slight)",
    "#a83f00": "var(--bad)",
    "#5a606b": "var(--mute)",
}
"""Colours of pictures that the page draws in its own, light or dark."""


def inline_svg(svg: str, name: str, description: str) -> Markup:
    """Prepare an SVG file, as matplotlib writes it, to be part of a page.

    `name` is put before every id, so that those of two figures on one page differ; `description`
    says what the figure shows to those who cannot see it.
    """
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r'\bid="|url\(#|href="#', rf"\g<0>{name}-", picture)
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    picture = re.sub("|".join(INKS), lambda found: INKS[found[0]], picture)
    # As wide as the page is, but not so wide that its text were larger than the page's
    head, _, rest = picture.partition(">")
    width = re.search(r' width="([\d.]+)pt"', head)
    assert width
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = Markup.escape(description)
    most = f"max-width: {1.1 * float(width[1]):.0f}pt"
    return Markup(f'{head} role="img" aria-label="{label}" style="{most}">{rest}')


def render(context: Mapping[str, Any], template: str = "page.html.jinja") -> str:
    """Fill in a template of this folder; a name that is missing is an error."""
    is_page = template.endswith(".html.jinja")
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=is_page,
                              undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters.update(plain=plain, short=short, anchor=anchor)
    environment.globals.update(shown=shown, name_of=name_of)
    script = (HERE / "script.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        context,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The browser runs this one, whatever else should have found its way onto the page
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def anchor(path: str) -> str:
    """Give the id of a number on the page, by its path."""
    return re.sub(r"[^\w.-]", "-", path)
