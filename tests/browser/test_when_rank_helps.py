"""The notebook on rank: its panel in a real browser, another change chosen and the rank turned by hand."""

from __future__ import annotations

from tests.browser.conftest import OpenNotebook
from tests.source import ROOT

ABOVE = 'lab.plots().some(plot => plot.title.includes("block low rank") && plot.title.includes("k = 4 comes closest"))'


def test_a_reader_chooses_a_change_and_turns_the_rank(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(ROOT / "notebooks/07_when_rank_helps.ipynb")
    notebook.run_to("panel = ReachPanel")
    notebook.choose("wanted change", "block low rank")
    notebook.until(ABOVE)
    assert notebook.evaluate("panel.best[0].name") == "block low rank"

    notebook.page.locator(".jp-CodeCell", has_text="panel = ReachPanel").last.evaluate(
        "element => element.scrollIntoView({ block: 'start' })"
    )
    notebook.page.wait_for_timeout(500)
    notebook.screenshot("when_rank_helps")
    took = notebook.seconds_to_picture("rank", "error 0.", ["ArrowRight", "ArrowLeft"] * 3)
    notebook.tell_times("07, rank to picture", took)
    notebook.becomes("(panel.rank.value, panel.reach.rows[0].r)", [16, 16])
    assert notebook.errors() == []
