"""What follows the site's links finds one that leads nowhere, a place that is not there, and another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.check import main, problems


@pytest.mark.parametrize(
    "body, says",
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="other.html#gone">', "other.html#gone has its page, and no such place in it"),
        ('<a href="#gone">', "#gone has its page, and no such place in it"),
        ('<img src="gone.png">', "gone.png leads nowhere"),
        ('<script src="https://elsewhere.example/a.js"></script>', "from another host"),
        ('<link rel="stylesheet" href="//elsewhere.example/a.css">', "from another host"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, body: str, says: str) -> None:
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "index.html").write_text(body)
    (found,) = set(problems(tmp_path))
    assert says in found and found.startswith("index.html")
    with pytest.raises(SystemExit, match=r"index\.html"):
        main(tmp_path)


def test_what_is_right_passes(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "index.html").write_text(
        '<p id="top"><a href="other.html#here"><a href="#top"><a href="https://elsewhere.example/"><img src="data:,">'
    )
    main(tmp_path)
