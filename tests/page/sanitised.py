"""A page as a viewer shows it that trusts nobody: GitHub's, which keeps known elements and attributes and no style.

The elements are those of GitHub's own allow-list for what people write (html-pipeline's sanitization filter). What is
not on it goes, and what stood between its tags stays, of a script
and of a style nothing. An image that lies in the page itself, as a data: address, is let through by some such viewers
and by others not: `images` says.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

WRITTEN = """
h1 h2 h3 h4 h5 h6 br b i strong em a pre code img tt div ins del sup sub p ol ul table thead tbody tfoot blockquote dl
dt dd kbd q samp var hr ruby rt rp li tr td th s strike summary details caption figure figcaption abbr bdo cite dfn mark
small span time wbr
"""
KEPT = """
href src alt title width height align aria-hidden aria-label aria-describedby border colspan rowspan dir lang name role
scope open start tabindex type value itemprop
"""
ELEMENTS, ATTRIBUTES = frozenset(WRITTEN.split()), frozenset(KEPT.split())
WITHOUT_END = frozenset({"br", "hr", "img", "wbr"})
SILENT = frozenset({"script", "style"})


class Sanitised(HTMLParser):
    """`page` is what is left, `text` what can be read of it, `pictures` the alternative texts of images in order."""

    def __init__(self, source: str, *, images: bool = True) -> None:
        super().__init__(convert_charrefs=True)
        self.page = ""
        self.pictures: list[str] = []
        self._images, self._silent = images, 0
        self.feed(source)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.page)).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._silent += tag in SILENT
        if tag not in ELEMENTS or (tag == "img" and not self._images):
            return
        kept = {name: value or "" for name, value in attributes if name in ATTRIBUTES}
        if tag == "img":
            self.pictures.append(kept.get("alt", ""))
        told = "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())
        self.page += f"<{tag}{told}>"

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT
        if tag in ELEMENTS and tag not in WITHOUT_END:
            self.page += f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.page += html.escape(data, quote=False)
