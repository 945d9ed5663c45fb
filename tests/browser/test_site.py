"""The site without a server and without a kernel: pictures move, nobody else is asked, phones can read it.

`make site` has made it; it is opened from the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from tests.browser.accessibility import AXE, SERIOUS
from tests.course.lessons import Lesson, course
from tests.source import ROOT

SITE = ROOT / "build/site"
HEAVIEST = 3_000_000  # bytes of a page with all that it loads
SIZES = {"phone, light": (390, 844, "light"), "wide, dark": (1280, 800, "dark")}
UNPLAYED = ("13",)  # the exercises ask for numbers and code, and show nothing before they are answered
SCREEN = 1080  # pixels, of a screen; at 1280 pixels' width
HOW_TO = sorted((ROOT / "docs/how_to").glob("*.md"))

each_lesson = pytest.mark.parametrize("lesson", course(), ids=lambda lesson: lesson.number)


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    if not SITE.is_dir():
        pytest.skip("no site: `make site` makes it")
    width, height, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(_outside(request)))
    yield page
    assert not any(asked), f"the page asks {', '.join(filter(None, asked))}"
    context.close()


def _outside(request: Request) -> str:
    return "" if request.url.startswith(("file:", "data:", "blob:")) else request.url


def opened(page: Page, name: str, asked: str = "") -> None:
    page.goto((SITE / name).as_uri() + asked)


@each_lesson
def test_a_lesson_can_be_read_and_its_picture_answers_its_slider(page: Page, lesson: Lesson) -> None:
    weighed: list[Path] = []
    page.on("requestfinished", lambda request: weighed.append(Path(request.url.removeprefix("file://"))))
    opened(page, f"lessons/{lesson.path.stem}.html")
    expect(page.locator("h1")).to_contain_text(lesson.title)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    assert sum(file.stat().st_size for file in weighed if file.is_file()) < HEAVIEST
    if lesson.number not in UNPLAYED:
        picture_moves(page)
    assert serious(page) == []


def picture_moves(page: Page) -> None:
    """By the keyboard alone: picture and words are others, and the same again after the way back."""
    sweep = page.locator(".glora-sweep").first
    slider, image, words = sweep.locator("input").first, sweep.locator("img").first, sweep.locator(".glora-says").first
    there, back = ("ArrowLeft", "ArrowRight") if slider.input_value() != "0" else ("ArrowRight", "ArrowLeft")
    slider.scroll_into_view_if_needed()
    expect(image).to_be_visible()
    before, said = words.text_content(), slider.get_attribute("aria-valuetext")
    expect(sweep.locator("output").first).to_have_text(str(said))
    slider.press(there)
    slider.press(back)
    first = drawn(sweep)
    slider.press(there)
    assert drawn(sweep) != first and drawn(sweep)[0].startswith("data:image/svg+xml,")
    assert slider.get_attribute("aria-valuetext") != said
    expect(sweep.locator("output").first).to_have_text(str(slider.get_attribute("aria-valuetext")))
    assert image.get_attribute("alt") == words.text_content()
    assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 300
    box, window = image.bounding_box(), page.viewport_size
    assert box and window and box["x"] + box["width"] <= window["width"]  # a phone has a form of its own
    slider.press(back)
    expect(words).to_have_text(str(before))


def drawn(sweep: Locator) -> list[str]:
    """The pictures that are shown."""
    return [str(image.evaluate("(image) => image.currentSrc")) for image in sweep.locator("img").all()]


def serious(page: Page) -> list[str]:
    if not AXE.is_file():
        pytest.skip("no axe-core: make axe")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({ include: [['article']] }, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
        if rule["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("name", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to_page_is_a_screen_long(page: Page, name: Path) -> None:
    opened(page, f"how_to/{name.stem}.html")
    if page.viewport_size and page.viewport_size["width"] > 1000:
        assert page.locator("article").evaluate("(article) => article.getBoundingClientRect().height") <= SCREEN
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    assert serious(page) == []


def test_the_ledger_sorts_filters_and_leads_to_its_cells(page: Page) -> None:
    opened(page, "claims.html")
    rows = page.locator("#claims tbody tr")
    claims = [claim for lesson in course() for claim in lesson.claims()]
    expect(rows).to_have_count(len(claims))
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    page.get_by_label("Filter").fill("gralora holds partly")
    asked = ("gralora", "holds", "partly")
    shown = page.locator("#claims tbody tr:visible")
    kept = shown.all_text_contents()
    assert 0 < len(kept) < len(claims) and all(word in row.lower() for row in kept for word in asked)
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="Verdict").click()
    verdicts = page.locator("#claims tbody tr td:nth-child(3)").all_text_contents()
    assert verdicts == sorted(verdicts) and len(verdicts) == len(claims)
    rows.first.locator("a").last.click()
    expect(page.locator(":target")).to_be_visible()
    assert serious(page) == []


def test_what_is_looked_for_is_found(page: Page) -> None:
    opened(page, "search.html", "?q=entanglement")
    expect(page.locator("#search-results li").first).to_be_visible()
