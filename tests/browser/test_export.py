"""nbconvert's page of a notebook that ran: pictures and a slider in the panel's place, by day and by night."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from glora_lab import panels
from tests.page.test_viewers import Shown, exported, in_a_cell  # noqa: F401, a fixture

KEPT = ("file:", "data:", "blob:")


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", [True, False])
def test_pictures_stand_in_the_panels_place(
    browser: Browser,
    in_a_cell: Shown,  # noqa: F811
    tmp_path: Path,
    state: bool,
    scheme: str,
    scripts: bool,
) -> None:
    file = tmp_path / "exported.html"
    file.write_text(exported(in_a_cell(panels.BlockPanel(k=2)), state=state), encoding="utf-8")
    size = {"width": 390, "height": 844}
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=scripts)  # type: ignore[arg-type]
    page = context.new_page()
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(KEPT) else route.abort())
    page.goto(file.as_uri())
    expect(page.locator(".jp-OutputArea-child").first).to_be_hidden()  # what draws widgets finds no place
    expect(page.get_by_text("stand below")).to_be_hidden()
    expect(page.locator(".glora-still")).to_contain_text("BlockPanel as it was last seen.")
    image, slider = page.locator(".glora-sweep img"), page.locator(".glora-sweep input")
    expect(image).to_be_visible()
    expect(image).to_have_css("color-scheme", "light")  # as the page is, whatever the reader's system
    if scripts:
        before = image.get_attribute("src")
        slider.press("ArrowRight")
        assert image.get_attribute("src") != before
    else:
        expect(slider).to_be_hidden()
        expect(page.locator(".glora-sliders")).to_have_text("k = 2")
    context.close()
