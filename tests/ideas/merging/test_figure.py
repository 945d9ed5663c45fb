"""plot_merge_report on reports written by hand: lines of the drift, zero at the lowest tick, a cross where it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glora_lab.drawing.theme import RUN_COLORS, WRONG
from glora_lab.figures import describe_merge_report, plot_merge_report
from glora_lab.ideas.merging.figure import COLORS
from glora_lab.ideas.merging.record import OURS, STOCK
from glora_lab.records import LayerMerge, MergeReport


def layer(by, drift, *, name="up", changed=0.0, unmerged=0.01, merged=0.02):
    return LayerMerge(name, by, np.array(drift, dtype=float), changed, 0.25, unmerged, merged)


WHOLE = layer(OURS, [0, 0, 0])
DRIFTS = MergeReport(
    (WHOLE, layer(STOCK, [0, 1e-3, 2e-3], changed=0.5), layer(STOCK, [0, 4e-3, 1e-3], name="down", changed=0.25)),
    "bfloat16",
)
LOST = MergeReport((WHOLE, layer(STOCK, [0, math.inf, math.inf], changed=1.0)), "float16")
LATER = MergeReport((WHOLE, layer(STOCK, [0, 1e-2, math.inf], changed=1.0)), "float16")


def crosses_of(figure):
    return [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers+text"]


def test_a_record_says_the_farthest_layer_and_what_was_lost():
    assert (DRIFTS.cycles, DRIFTS.libraries) == (2, (OURS, STOCK))
    np.testing.assert_array_equal(DRIFTS.drift(STOCK), [0, 4e-3, 2e-3])
    assert (DRIFTS.changed(STOCK), DRIFTS.changed(OURS), DRIFTS.lost_at(STOCK)) == (0.5, 0, None)
    assert (LOST.lost_at(STOCK), LATER.lost_at(STOCK), LATER.lost_at(OURS)) == (1, 2, None)
    assert DRIFTS.error(STOCK, "merged") == 0.02
    silent = MergeReport((layer(OURS, [0, 0], unmerged=math.nan, merged=math.nan),), "float32")
    assert math.isnan(silent.error(OURS, "merged"))
    assert DRIFTS.rows[1].to_dicts() == [
        {"layer": "up", "by": STOCK, "drift": 2e-3, "changed": 0.5, "effect": 0.25, "unmerged": 0.01, "merged": 0.02}
    ]
    assert len(DRIFTS.to_dicts()) == 3 and MergeReport((), "float32").cycles == 0


def test_each_library_is_a_line_and_zero_is_the_lowest_tick():
    figure = plot_merge_report(DRIFTS)
    ours, stock, *bars = figure.data
    assert [line.name for line in (ours, stock)] == [OURS, STOCK]
    assert [line.line.color for line in (ours, stock)] == [COLORS[OURS], COLORS[STOCK]]
    np.testing.assert_array_equal(stock.customdata, [0, 4e-3, 2e-3])
    np.testing.assert_allclose(ours.y, 1e-4)  # one power of ten below the least that drifts
    np.testing.assert_allclose(stock.y, [1e-4, 4e-3, 2e-3])
    axis = figure.layout.yaxis
    assert (axis.type, axis.tickvals[0], axis.ticktext[0]) == ("log", 1e-4, "0")
    assert [(bar.type, list(bar.x), list(bar.y)) for bar in bars] == [("bar", ["unmerged", "merged"], [0.01, 0.02])] * 2
    assert figure.layout.title.text == (
        "After 2 cycles in bfloat16 the base of stock PEFT is off by 0.2% of itself; glora_lab gives every bit back"
    )


def test_a_cross_stands_where_a_number_was_lost():
    figure = plot_merge_report(LATER)
    (cross,) = crosses_of(figure)
    assert (list(cross.x), cross.marker.symbol, cross.marker.color) == ([2], "x", WRONG)
    assert list(cross.text) == ["no numbers after 2 cycles"]
    assert list(figure.data[1].x) == [0, 1]  # the line ends before
    assert "the base of stock PEFT holds no numbers any more" in figure.layout.title.text


def test_several_reports_are_told_apart_and_ours_that_never_drifts_is_one_entry():
    figure = plot_merge_report({"A = <-1>": LOST, "A = -0.9": DRIFTS, "A = -0.99": LATER})
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode != "markers+text"]
    shown = [line.name for line in lines if line.showlegend is not False]
    assert shown == ["glora_lab, all 3", "A = &lt;-1&gt;, stock PEFT", "A = -0.9, stock PEFT", "A = -0.99, stock PEFT"]
    assert [line.line.color for line in lines if STOCK in line.name] == list(RUN_COLORS[:3])
    crosses = crosses_of(figure)
    assert [cross.text[0] for cross in crosses] == [
        "A = &lt;-1&gt;: no numbers after 1 cycle", "A = -0.99: no numbers after 2 cycles"
    ]  # fmt: skip
    assert crosses[0].y[0] < crosses[1].y[0] < 10 ** figure.layout.yaxis.range[1]
    assert all(bar.text is None for bar in figure.data if bar.type == "bar")


def test_ours_keeps_its_lines_where_it_drifts():
    """A figure says what a record holds, also what should not be."""
    off = MergeReport((layer(OURS, [0, 1e-8], changed=0.1),), "float32")
    figure = plot_merge_report({"a": off, "b": MergeReport((layer(OURS, [0, 0]),), "float32")})
    assert [line.name for line in figure.data if line.type == "scatter"] == ["a, glora_lab", "b, glora_lab"]
    assert "every bit" not in figure.layout.title.text and "is off by 1e-08 of itself" in figure.layout.title.text


def test_nothing_drifts_and_nothing_acts():
    calm = MergeReport((layer(OURS, [0, 0], unmerged=math.nan, merged=math.nan),), "float32", "GLoRA", {"up (x)": "y"})
    figure = plot_merge_report(calm)
    assert figure.layout.title.text == "After 1 cycle in float32 every bit is back"
    assert list(figure.data[1].text) == ["none", "none"]
    assert describe_merge_report(calm) == (
        "GLoRA merged and unmerged 1 time in float32: with glora_lab the base has every bit back, and the adapter does "
        "nothing yet. Left out: up (x)."
    )


def test_the_words():
    assert describe_merge_report(DRIFTS) == (
        "GLoRA merged and unmerged 2 times in bfloat16: with glora_lab the base has every bit back, and the output is "
        "off by 0.01 of what the adapter does unmerged, by 0.02 merged; with stock PEFT the base is off by 0.2% of "
        "itself, with 50% of its numbers changed, and the output is off by 0.01 of what the adapter does unmerged, by "
        "0.02 merged."
    )
    assert "with stock PEFT the base holds no numbers any more after 1 cycle, and the" in describe_merge_report(LOST)
    assert describe_merge_report({"a": DRIFTS, "b": LOST}) == (
        "GLoRA merged and unmerged, time and again. With glora_lab every base has every bit back; the merged output is "
        "off by 0.02 (a) and 0.02 (b) of what the adapter does. With stock PEFT the base of a is off by 0.2% of itself "
        "and the base of b holds no numbers any more after 1 cycle; the merged output is off by 0.02 (a) and 0.02 (b) "
        "of what the adapter does."
    )


def test_nothing_is_refused():
    for nothing in ({}, MergeReport((), "float32")):
        with pytest.raises(ValueError, match=r"`reports` \(=.*\) must hold at least one layer"):
            plot_merge_report(nothing)
