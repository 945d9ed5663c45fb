"""`glora-lab docs`: opens the site where it was made."""

from __future__ import annotations

import webbrowser
from pathlib import Path

SITE = Path(__file__).parents[2] / "build" / "site" / "index.html"
MISSING = """\
glora-lab docs: {site} is not there. From a clone or an unpacked sdist of glora_lab, `make site` makes it; it needs no
network once the packages are installed."""


def first_page() -> Path:
    """The site's first page.

    Raises:
        FileNotFoundError: where nobody made it; it says how.
    """
    if not SITE.is_file():
        raise FileNotFoundError(MISSING.format(site=SITE))
    return SITE


def open_docs() -> str:
    """Open the first page in the reader's browser, and say where it is."""
    page = first_page().as_uri()
    webbrowser.open(page)
    return page
