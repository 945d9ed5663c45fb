"""The buttons for a panel's state, without a page: what they say, what is copied, and what a link brings."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from torch import nn

from glora_lab.page import state as state_of_panels
from glora_lab.page.closing import tree
from glora_lab.page.controls.widgets import Button
from glora_lab.page.state_tools import binder_address
from glora_lab.panels import Panel, PathPanel
from tests.page.driving import press, send


@pytest.fixture
def panel() -> Iterator[PathPanel]:
    panel = PathPanel()
    yield panel
    panel.close()


def tool(panel: Panel, words: str) -> Button:
    return next(one for one in tree(panel.tools) if getattr(one, "description", "") == words)


def copied(panel: Panel) -> str:
    """The code that the button copies."""
    (shown,) = (one.value for one in tree(panel.tools) if "glora-copy" in getattr(one, "value", ""))
    return html.unescape(shown.partition("<pre")[2].partition(">")[2].partition("</pre>")[0])


def test_the_buttons_take_back_and_say_what_there_is_to_take_back(panel: PathPanel) -> None:
    undo, redo, reset = (tool(panel, words) for words in ("Undo", "Redo", "Reset"))
    assert undo.disabled and redo.disabled
    send(panel.rank, value=3)
    send(panel.form, index=1)
    assert not undo.disabled and redo.disabled
    press(undo)
    assert (panel.rank.value, panel.form.index, redo.disabled) == (3, 0, False)
    press(redo)
    press(reset)
    assert (panel.rank.value, panel.form.index) == (8, 0)
    press(undo)
    assert (panel.rank.value, panel.form.index) == (3, 1)


def test_what_is_copied_makes_the_panel_again(panel: PathPanel) -> None:
    panel.rank.value = 3
    names: dict[str, Any] = {}
    *begin, last = copied(panel).splitlines()
    exec("\n".join(begin), names)
    again = eval(last, names)
    assert type(again) is PathPanel and again.state == panel.state
    again.close()


def test_a_model_of_ones_own_is_called_as_in_the_cells() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    shell = mock.Mock(user_ns={"_": net, "my_net": net})
    with mock.patch.object(state_of_panels, "get_ipython", lambda: shell):
        panel = PathPanel(net)
    assert copied(panel).endswith("}, model=my_net)")
    panel.close()


def test_a_panel_without_settings_has_no_tools_for_them() -> None:
    panel = type("Bare", (Panel,), {})()
    assert [one for one in tree(panel.tools) if isinstance(one, Button)] == []
    panel.close()


def test_a_link_brings_a_state_in_one_step(panel: PathPanel) -> None:
    before = panel.state
    brought = {**before, "rank": 3, "A": "none"}
    send(tool(panel, "state"), value=json.dumps(brought))
    assert panel.state == brought and panel.problem == ""
    panel.undo()
    assert panel.state == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"panel": "PathPanel", "version": 1, "rank": 3, "form": "loud"}', "`form` (='loud') must be one of"),
        ('{"panel": "PathPanel", "version": 9, "rank": 3}', "`version` (=9)"),
        ('{"panel": "PathPanel", "version": 1, "rank": 3, "own": {"model": {"class": "Net"}}}', "`model`"),
        ("[]", "`state` (=[]) must be a dict"),
        ("%%%", "`glora_lab` (='%%%') must be a state as a link has it"),
    ],
)
def test_a_link_that_cannot_be_is_refused_in_words_and_nothing_moves(panel: PathPanel, text: str, says: str) -> None:
    before = panel.state
    send(tool(panel, "state"), value=text)
    assert says in panel.problem and panel.state == before and panel.errors == []


def test_on_binder_the_link_is_binders(monkeypatch: pytest.MonkeyPatch) -> None:
    assert binder_address() == ""
    monkeypatch.setenv("BINDER_LAUNCH_HOST", "https://mybinder.org/")
    monkeypatch.setenv("BINDER_PERSISTENT_REQUEST", "v2/gh/somebody/course/abc")
    assert binder_address() == "https://mybinder.org/v2/gh/somebody/course/abc"
