"""Follows every link of the site that leads into it: `python -m docs.check SITE`.

Each has to find its page and, behind a #, its place in it; each image, script and style sheet has to be there, and none
may be of another host. What one may click on may lead away.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
SAID = ("canonical", "alternate")  # links that nothing is loaded from


class Page(HTMLParser):
    """`links` has what a reader may click on, `loads` what comes with the page, `ids` the places in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()

    @cached_property
    def read(self) -> Page:
        self.feed(self.file.read_text(encoding="utf-8"))
        return self

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attributes}
        self.ids |= {told[name] for name in ("id", "name") if name in told}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        if tag in LOADED and LOADED[tag] in told and told.get("rel") not in SAID:
            self.loads.append(told[LOADED[tag]])


def problems(site: Path) -> Iterator[str]:
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    for page in pages.values():
        here = page.file.relative_to(site)
        for address in page.read.loads:
            parts = urlsplit(address)
            if parts.scheme != "data" and (parts.scheme or parts.netloc):
                yield f"{here} loads {address} from another host"
        for address in [*page.read.links, *page.read.loads]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file.resolve()
            if not target.exists():
                yield f"{here}: {address} leads nowhere"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].read.ids:
                yield f"{here}: {address} has its page, and no such place in it"


def main(site: Path) -> None:
    found = sorted(set(problems(site)))
    if found:
        raise SystemExit("\n".join(found))
    print(f"{len(list(site.rglob('*.html')))} pages, all links found")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
