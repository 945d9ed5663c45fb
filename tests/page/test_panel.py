"""A panel's errors are kept and said in words, and its widgets end with it."""

from __future__ import annotations

import gc
import threading
from unittest import mock

import ipywidgets as widgets
import pytest

from glora_lab import panels
from glora_lab.page.panel import guarded
from glora_lab.panels import Panel, check_panels, panel_errors
from glora_lab.training.in_turn import TURN
from tests.page.instances import INSTANCES


class Divider(Panel):
    """A panel whose button divides by a number."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by, self.result = by, 0.0
        self.button = widgets.Button(description="Divide")
        self.arrange(controls=[self.button], more=[widgets.FloatSlider(description="x")], picture=[])

    @guarded
    def divide(self) -> float:
        self.result = 1 / self.by
        return self.result

    @guarded
    def refuse(self) -> None:
        raise ValueError("`x` (=<3>) must be small")


@pytest.fixture(autouse=True)
def no_panels_before() -> None:
    gc.collect()
    for error in panel_errors():
        raise error


def test_an_error_is_kept_shown_and_not_raised() -> None:
    panel = Divider(0)
    panel.divide()
    (error,) = panel.errors
    assert isinstance(error, ZeroDivisionError)
    assert panel.problem == "ZeroDivisionError: division by zero"
    assert 'role="alert"' in panel.error_line.value and "division by zero" in panel.error_line.value
    panel.close()


def test_success_clears_the_line_and_keeps_the_error() -> None:
    panel = Divider(0)
    panel.divide()
    panel.by = 2
    assert panel.divide() == 0.5
    assert panel.problem == panel.error_line.value == "" and len(panel.errors) == 1
    panel.close()


def test_a_value_error_is_said_as_it_is_written_and_escaped() -> None:
    panel = Divider(1)
    panel.refuse()
    assert panel.problem == "`x` (=<3>) must be small"
    assert "(=&lt;3&gt;)" in panel.error_line.value
    panel.close()


def test_a_problem_that_is_said_is_no_error() -> None:
    panel = Divider(1)
    panel.say("nothing to train")
    assert panel.problem == "nothing to train" and panel.errors == []
    check_panels()
    panel.close()


def test_the_last_cell_asks_all_open_panels() -> None:
    good, bad = Divider(1), Divider(0)
    good.divide()
    check_panels()
    bad.divide()
    assert panel_errors() == bad.errors
    with pytest.raises(AssertionError, match="Divider: ZeroDivisionError: division by zero"):
        check_panels()
    bad.close()
    check_panels()
    good.close()


def test_closing_a_panel_closes_every_widget_in_it() -> None:
    before = set(INSTANCES)
    panel = Divider(1)
    inside = set(INSTANCES) - before
    assert len(inside) > 5
    panel.close()
    assert not inside & set(INSTANCES)


def test_a_panel_is_shown_by_its_widgets() -> None:
    panel = Divider(1)
    (shown,) = displayed(panel)
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert "glora-lab doctor" in shown["text/plain"]  # what a page without widgets shows instead
    panel.close()


def test_where_a_page_has_no_widgets_a_panel_is_a_still_picture_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLORA_LAB_STATIC", "1")
    panel = panels.TrainPanel(keep_runs=False)
    says, *shown = displayed(panel)
    assert "still picture" in says.data and "panel.rank.value = 4" in says.data
    assert len(shown) == 2 * len(panel.pictured())
    for place, picture, words in zip(panel.pictured(), shown[::2], shown[1::2], strict=True):
        assert picture["text/plain"] == place.picture.words and place.picture.words[:20] in words.data
    panel.close()


def test_a_panel_that_names_a_slider_has_it_on_such_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLORA_LAB_STATIC", "1")
    panel = panels.PathPanel()
    says, sweep = displayed(panel)
    assert "pictures with one slider" in says.data and "panel.rank.value = 4" in says.data
    assert sweep.frames[sweep.start][0].words == panel.figure.summary
    panel.rank.value = 4
    assert displayed(panel)[1] != sweep
    panel.close()


def displayed(panel: Panel) -> list:
    """What IPython is given, whichever ipywidgets is here."""
    with (
        mock.patch("glora_lab.page.panel.display") as ours,
        mock.patch.object(widgets.widgets.widget, "display", ours, create=True),
    ):
        panel._ipython_display_()
    return [call.args[0] for call in ours.call_args_list]


@pytest.mark.parametrize("name", [name for name in panels.__all__ if name.endswith("Panel")])
def test_no_panel_takes_a_name_that_ipywidgets_sends_to_the_page(name: str) -> None:
    """A property called `_model_name` made a panel that worked in Python and could not be shown."""
    own = {name for kind in getattr(panels, name).__mro__ if issubclass(kind, Panel) for name in vars(kind)}
    assert own & set(widgets.VBox.class_trait_names()) == set()


def test_a_panel_that_is_collected_waits_for_nobody() -> None:
    """The collector runs on any thread, as on one that loads a model for whoever has the turn."""
    panel = Divider(0)
    panel.close()
    with TURN:
        collector = threading.Thread(target=panel.__del__, daemon=True)
        collector.start()
        collector.join(5)
        assert not collector.is_alive()
