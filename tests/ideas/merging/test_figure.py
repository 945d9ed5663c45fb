"""plot_merge_report on reports written by hand: lines of the drift, zero at the lowest tick, a cross where it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glora_lab.drawing.theme import RIGHT, RUN_COLORS, WRONG
from glora_lab.figures import (
    describe_merge_errors,
    describe_merge_order,
    describe_merge_report,
    plot_merge_errors,
    plot_merge_order,
    plot_merge_report,
)
from glora_lab.ideas.merging.figure import COLORS
from glora_lab.ideas.merging.record import OURS, STOCK
from glora_lab.records import LayerMerge, MergeOrder, MergeReport


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
    ours, stock = figure.data
    assert [line.name for line in (ours, stock)] == [OURS, STOCK]
    assert [line.line.color for line in (ours, stock)] == [COLORS[OURS], COLORS[STOCK]]
    np.testing.assert_array_equal(stock.customdata, [0, 4e-3, 2e-3])
    np.testing.assert_allclose(ours.y, 1e-4)  # one power of ten below the least that drifts
    np.testing.assert_allclose(stock.y, [1e-4, 4e-3, 2e-3])
    axis = figure.layout.yaxis
    assert (axis.type, axis.tickvals[0], axis.ticktext[0]) == ("log", 1e-4, "0")
    title, below = figure.layout.title.text.split("<br>")
    assert title == "Stock PEFT's base is off by 0.2%; ours is back, every bit"
    assert "up in bfloat16, after 2 cycles" in below


def test_a_cross_stands_where_a_number_was_lost():
    figure = plot_merge_report(LATER)
    (cross,) = crosses_of(figure)
    assert (list(cross.x), cross.marker.symbol, cross.marker.color) == ([2], "x", WRONG)
    assert list(cross.text) == ["no numbers after 2 cycles"]
    assert list(figure.data[1].x) == [0, 1]  # the line ends before
    assert "Stock PEFT's base is lost after 2 cycles; ours is back" in figure.layout.title.text


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
    assert "Stock PEFT's base is lost after 1 cycle at A = &lt;-1&gt;; ours" in figure.layout.title.text
    errors = plot_merge_errors({"A = <-1>": LOST, "A = -0.9": DRIFTS})
    assert [bar.name for bar in errors.data] == [
        "A = &lt;-1&gt;, glora_lab", "A = &lt;-1&gt;, stock PEFT", "A = -0.9, glora_lab", "A = -0.9, stock PEFT"
    ]  # fmt: skip
    assert all(bar.text is None for bar in errors.data)


def test_the_outputs_error_is_a_picture_of_its_own():
    figure = plot_merge_errors(DRIFTS)
    assert [(bar.type, list(bar.x), list(bar.y)) for bar in figure.data] == [
        ("bar", ["unmerged", "merged"], [0.01, 0.02])
    ] * 2
    title = "Merged, the output is off by 0.02 (glora_lab) and 0.02 (stock PEFT)"
    assert figure.layout.title.text.startswith(title + "<br>")
    assert describe_merge_errors(DRIFTS) == (
        "The output is off, of what the adapter does, with glora_lab by 0.01 unmerged and 0.02 merged; with stock PEFT "
        "by 0.01 unmerged and 0.02 merged."
    )
    assert "with stock PEFT (b) by" in describe_merge_errors({"a": DRIFTS, "b": LOST})


def test_the_two_pictures_have_one_layout():
    drift, output = plot_merge_report(DRIFTS).layout, plot_merge_errors(DRIFTS).layout
    assert (drift.height, drift.margin, drift.legend) == (output.height, output.margin, output.legend)


def test_ours_keeps_its_lines_where_it_drifts():
    """A figure says what a record holds, also what should not be."""
    off = MergeReport((layer(OURS, [0, 1e-8], changed=0.1),), "float32")
    figure = plot_merge_report({"a": off, "b": MergeReport((layer(OURS, [0, 0]),), "float32")})
    assert [line.name for line in figure.data if line.type == "scatter"] == ["a, glora_lab", "b, glora_lab"]
    assert "every bit" not in figure.layout.title.text and "Ours base" not in figure.layout.title.text
    assert "Our base is off by 1e-08 at a" in figure.layout.title.text


def test_nothing_drifts_and_nothing_acts():
    calm = MergeReport((layer(OURS, [0, 0], unmerged=math.nan, merged=math.nan),), "float32", "GLoRA", {"up (x)": "y"})
    figure = plot_merge_report(calm)
    assert figure.layout.title.text.startswith("After 1 cycle every bit of the base is back<br>")
    errors = plot_merge_errors(calm)
    assert list(errors.data[0].text) == ["none", "none"] and "The adapter does nothing yet" in errors.layout.title.text
    assert describe_merge_errors(calm) == "The adapter does nothing yet."
    assert describe_merge_report(calm) == (
        "GLoRA merged and unmerged 1 time in float32: with glora_lab the base has every bit back. Left out: up (x)."
    )


def test_the_words():
    assert describe_merge_report(DRIFTS) == (
        "GLoRA merged and unmerged 2 times in bfloat16: with glora_lab the base has every bit back; with stock PEFT "
        "the base is off by 0.2% of itself, with 50% of its numbers changed."
    )
    assert "with stock PEFT the base holds no numbers any more after 1 cycle." in describe_merge_report(LOST)
    assert describe_merge_report({"a": DRIFTS, "b": LOST}) == (
        "GLoRA merged and unmerged, time and again. With glora_lab every base has every bit back. With stock PEFT the "
        "base of a is off by 0.2% of itself and the base of b holds no numbers any more after 1 cycle."
    )


def test_nothing_is_refused():
    for nothing in ({}, MergeReport((), "float32")):
        with pytest.raises(ValueError, match=r"`reports` \(=.*\) must hold at least one layer"):
            plot_merge_report(nothing)


def test_two_adapters_are_right_together_and_wrong_in_turn():
    order = MergeOrder("up", ("<a>", "b"), 0.0, (0.25, 0.1), "GLoRA")
    figure = plot_merge_order(order)
    (bar,) = figure.data
    assert list(bar.x) == ["both together", "&lt;a&gt;, then b", "b, then &lt;a&gt;"]
    assert list(bar.y) == [0, 25, 10] and list(bar.text) == ["nothing", "25.0%", "10.0%"]
    assert list(bar.marker.color) == [RIGHT, WRONG, WRONG]
    assert figure.layout.title.text.startswith("Merged in turn the weight is 25.0% wrong, together right<br>")
    assert describe_merge_order(order) == (
        "Two GLoRA adapters on layer up, merged: together the weight is off by nothing of both changes; <a>, then b, "
        "by 25.0%; the other way round by 10.0%."
    )
    same = plot_merge_order(MergeOrder("up", ("a", "b"), 1e-17, (1e-16, 1e-16)))
    assert same.layout.title.text.startswith("Together or in turn: the same weight<br>")
