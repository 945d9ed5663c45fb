"""What holds for every panel there is: words for everything, and an end that leaves nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import ipywidgets as widgets
import pytest

from glora_lab import panels
from glora_lab.drawing.picture import Picture
from glora_lab.page import settings
from glora_lab.page.closing import tree
from glora_lab.panels import Panel
from tests.browser.all_panels import BEGIN, MAIN, PANELS
from tests.page.driving import controls, send, sent
from tests.page.instances import INSTANCES

CONTROLS = (widgets.Button, widgets.ValueWidget)
# Widgets at most: the page makes each anew at a reload, and asks the kernel for it.
MOST = {
    "PathPanel": 60,
    "BudgetPanel": 74,
    "TrainPanel": 116,
    "BlockPanel": 65,
    "EntanglementPanel": 48,
    "OutlierPanel": 48,
    "ReachPanel": 46,
    "XrayPanel": 50,
    "SearchPanel": 105,
    "MergePanel": 44,
}
MOVES = 40
SHOWN_ONLY = (widgets.HTML, widgets.Label, widgets.Output)


@pytest.fixture(params=PANELS)
def before_and_panel(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[set[str], Panel]]:
    """The widgets that were there, and a panel as the course calls it."""
    names: dict[str, object] = {}
    exec(BEGIN, names)
    monkeypatch.setattr(settings, "MOST_STEPS", 5)  # what is kept to be undone is kept soon
    before = set(INSTANCES)
    panel = eval(PANELS[request.param], names)
    yield before, panel
    panel.close()


def test_all_panels_are_here() -> None:
    public = {name for name in panels.__all__ if name.endswith("Panel") and name != "Panel"}
    assert set(PANELS) == set(MOST) == set(MAIN) == public


def test_controls_and_figures_have_words_and_nothing_is_left(before_and_panel: tuple[set[str], Panel]) -> None:
    before, panel = before_and_panel
    inside = tree(panel)
    controls = [widget for widget in inside if isinstance(widget, CONTROLS) and not isinstance(widget, SHOWN_ONLY)]
    assert controls and [control for control in controls if not getattr(control, "description", "")] == []
    says = {control.description: explained(control) for control in controls}
    assert {name: words for name, words in says.items() if not words.endswith((".", "?")) or words == name} == {}
    pictures = [found for widget in inside if isinstance(found := getattr(widget, "picture", None), Picture)]
    assert pictures and all(picture.words.endswith(".") for picture in pictures)
    assert 20 < len(set(INSTANCES) - before) <= MOST[type(panel).__name__]
    panel.close()
    assert set(INSTANCES) - before == set()


def test_moves_of_the_main_control_leave_nothing(before_and_panel: tuple[set[str], Panel]) -> None:
    """As many widgets, and of all Python's blocks of memory too few more for a picture or a record of each move.

    What is made at first use, somewhere in a library, is made once: what leaks, leaks in each of three rounds.
    """
    _, panel = before_and_panel
    name, _ = MAIN[type(panel).__name__]
    (control,) = (one for one in controls(panel) if getattr(one, "description", "") == name)
    start, steps = getattr(control, sent(control)), [getattr(control, "step", 1) * n for n in (1, 2, 1, 0)]
    powers = isinstance(control, widgets.FloatLogSlider)
    places = [start * control.base**step if powers else start + step for step in steps]

    def after(moves: int) -> tuple[int, int]:
        for move in range(moves):
            send(control, **{sent(control): places[move % 4]})
        gc.collect()
        return len(INSTANCES), sys.getallocatedblocks()

    widgets_before, blocks_before = after(20)
    for _ in range(3):
        widgets_after, blocks_after = after(MOVES)
        assert widgets_after == widgets_before and panel.errors == [] and panel.problem == ""
        if (grown := blocks_after - blocks_before) < 10 * MOVES:
            return
        blocks_before = blocks_after
    raise AssertionError(f"{grown:,} more blocks after {MOVES} moves")


def explained(control: widgets.Widget) -> str:
    """The sentence that a page shows of a control, under whichever ipywidgets is here."""
    return getattr(control, "tooltip", None) or getattr(control, "description_tooltip", None) or ""
