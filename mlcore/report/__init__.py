"""The page: the study and its verdict as one HTML file that needs nothing else.

Everything on it is handed to the template in this folder; no HTML is written in Python.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def inline_svg(svg: str, name: str, description: str) -> Markup:
    """Prepare an SVG file, as matplotlib writes it, to be part of a page.

    `name` is put before every id, so that those of two figures on one page differ; `description`
    says what the figure shows to those who cannot see it.
    """
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r'\bid="', f'id="{name}-', picture)
    picture = re.sub(r"url\(#", f"url(#{name}-", picture)
    picture = re.sub(r'(xlink:href|href)="#', rf'\1="#{name}-', picture)
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    # As wide as the page is, but not so wide that its text were larger than the page's
    head, _, rest = picture.partition(">")
    width = re.search(r' width="([\d.]+)pt"', head)
    assert width
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = Markup.escape(description)
    most = f"max-width: {1.3 * float(width[1]):.0f}pt"
    return Markup(f'{head} role="img" aria-label="{label}" style="{most}">{rest}')


def inline_png(content: bytes) -> str:
    """Give an image as a URI that holds it."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def render(context: Mapping[str, Any]) -> str:
    """Fill in the page's template; a name that is missing is an error."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters |= {"digits": digits, "short": short}
    script = (HERE / "script.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.jinja").render(
        context,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The browser runs this one, whatever else should have found its way onto the page
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def digits(value: Any) -> str:
    """Write a number as it is read: four digits after the point, none of a whole number."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float) and not value.is_integer():
        return _signed(f"{value:.4f}")
    return _signed(f"{value:g}") if isinstance(value, int | float) else str(value)


def short(value: float) -> str:
    """Write a number with five digits at most, none of them a closing zero."""
    return _signed(f"{value:.5g}")


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
