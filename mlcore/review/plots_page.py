"""The page that `make plots` puts DVC's plots on: ``python -m mlcore.review.plots_page FILE``.

DVC's own page loads Vega from the network and stays blank without one; this one carries it.
"""

import sys
from pathlib import Path

import vl_convert

from mlcore.files import atomic_path

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>Retrace: plots</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; }}
img {{ max-width: 100%; height: auto; }}
</style>
<script>(function () {{{vega}}})();</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""
"""DVC fills in {refresh_tag} and {plot_divs}."""


def plots_page() -> str:
    """Give the page with Vega, Vega-Lite and Vega-Embed in it."""
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub says otherwise
    return PAGE.format(vega=bundle.replace("</script", "<\\/script"))


if __name__ == "__main__":
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_text(plots_page(), encoding="utf-8")
