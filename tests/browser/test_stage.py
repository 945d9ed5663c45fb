"""A panel fills the window and gives it back, and unfolds the rest of its controls, by hand of the keyboard.

How all panels lie on the page at all sizes is asked in test_all_panels, where they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenNotebook
from tests.browser.layout import begin, resize
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

ONE = "from glora_lab.panels import PathPanel\npanel = PathPanel()\npanel"
LARGER = "() => document.querySelector('.glora-figure .main-svg .xtick text').getBoundingClientRect().height"
CELL = """() => {
    const { xaxis, yaxis } = document.querySelector(".glora-panel .js-plotly-plot")._fullLayout;
    const at = ([from, to], share) => Math.round(from + share * (to - from));
    return [at(yaxis.range, 0.3), at(xaxis.range, 0.3)];
}"""  # of the first heatmap, 0.3 from the left and from below
LABEL = """label => {
    const { e, f } = label.getScreenCTM(); // where its tip is
    const [name, ground] = ["text.name", "rect"].map((part) => label.querySelector(part).getBoundingClientRect());
    return { tip: [e, f], over: Math.max(ground.left - name.left, name.right - ground.right) };
}"""


def test_a_panel_fills_the_window_and_gives_it_back(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "one.ipynb", ONE))
    notebook.run_all()
    notebook.until("document.querySelector('.glora-panel .main-svg')")
    resize(notebook, 1280, 800)
    fills_the_window_and_gives_it_back(notebook.page, the_pointer_finds_what_it_is_at)
    folds_with_the_keyboard(notebook)


def fills_the_window_and_gives_it_back(page: Page, while_it_fills: Callable[[Page], None] = lambda _: None) -> None:
    """Code and notebook are hidden, the figure's letters are larger, and Escape brings all back, the focus too."""
    panel, button = page.locator(".glora-panel").first, page.locator(".glora-present").first
    begin(page)
    before, width = page.evaluate(LARGER), panel.bounding_box()["width"]
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    size = page.viewport_size
    assert panel.bounding_box() == {"x": 0, "y": 0, **size}
    page.wait_for_function("layout.settled()")
    assert page.evaluate(LARGER) > 1.2 * before
    seen = "([x, y]) => Boolean(document.elementFromPoint(x, y).closest('.glora-panel'))"
    points = [(x * (size["width"] - 1), y * (size["height"] - 1)) for x in (0, 0.5, 1) for y in (0, 0.5, 1)]
    assert all(page.evaluate(seen, point) for point in points)
    while_it_fills(page)
    for _ in range(60):
        page.keyboard.press("Tab")
        assert page.evaluate("() => Boolean(document.activeElement.closest('.glora-panel'))")
    page.keyboard.press("Escape")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(button).to_be_focused()
    page.wait_for_function(f"() => document.querySelector('.glora-panel').getBoundingClientRect().width === {width}")


def the_pointer_finds_what_it_is_at(page: Page) -> None:
    """plotly has to know that it is drawn larger: what it finds, where its label stands, how wide the label is."""
    plot = page.locator(".glora-panel .glora-figure .nsewdrag[data-subplot=xy]").first
    plot.hover()  # which waits until it stands still
    box = plot.bounding_box()
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.7 * box["height"]
    page.mouse.move(x, y, steps=5)
    o, i = page.evaluate(CELL)
    label = page.locator(".glora-figure .hoverlayer .hovertext")
    expect(label).to_contain_text(f"o {o}, i {i}")
    shown = label.evaluate(LABEL)
    assert math.dist(shown["tip"], (x, y)) < 5  # a cell is this large
    assert shown["over"] < 1  # the matrix's name stands on the label, and not beyond it


def folds_with_the_keyboard(notebook: NotebookPage) -> None:
    fold, folded = notebook.page.locator("button.glora-fold"), notebook.page.locator(".glora-folded")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(folded).to_be_hidden()
    fold.focus()
    notebook.page.keyboard.press("Space")
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(folded).to_be_visible()
