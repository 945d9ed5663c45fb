"""`glora-lab docs` opens the site where it was made, and says how to make it where it was not."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from glora_lab.cli import docs, main


def test_the_first_page_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "index.html"
    page.write_text("<h1>glora_lab</h1>")
    opened: list[str] = []
    monkeypatch.setattr(docs, "SITE", page)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert main(["docs"]) == 0
    assert opened == [page.as_uri()] and capsys.readouterr().out.strip() == page.as_uri()


def test_where_it_was_not_made_it_is_said_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "SITE", tmp_path / "index.html")
    monkeypatch.setattr(webbrowser, "open", lambda page: pytest.fail(page))
    assert main(["docs"]) == 1
    assert "`make site` makes it" in capsys.readouterr().err
