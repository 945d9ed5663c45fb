"""The cost report drawn: a panel a kind of cost, a bar a method, and how many times LoRA's it is."""

from __future__ import annotations

import dataclasses

import pytest

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import describe_cost_report, plot_cost_report
from glora_lab.records import Cost, CostReport

ROWS = (
    Cost("frozen base", "frozen", 500, 10, 0, 0, 0, 1.0),
    Cost("LoRA", "LoRA", 1000, 100, 2048, 40, 160, 2.0),
    Cost("vectors", "GLoRA", 990, 150, 3072, 10, 40, 3.0),
    Cost("vectors, stock", "stock GLoRA", 2500, 400, 8192, 10, 5_000_000, 30.0),
)
KINDS = ("flops", "elementwise", "saved_bytes", "params", "checkpoint_bytes", "milliseconds")


def report(**changes: object) -> CostReport:
    return CostReport(**{"rows": ROWS, "model": "tiny", "device": "cpu", "threads": 1, "repeats": 5, **changes})


def test_every_kind_of_cost_has_its_own_panel_and_scale():
    figure = plot_cost_report(report())
    assert [list(bars.x) for bars in figure.data] == [[getattr(row, kind) for row in ROWS] for kind in KINDS]
    axes = [figure.layout[bars.xaxis.replace("x", "xaxis")] for bars in figure.data]
    assert all(axis.range[0] == 0 and axis.range[1] > max(bars.x) for axis, bars in zip(axes, figure.data, strict=True))
    boxes = [(axis.domain, figure.layout[axis.anchor.replace("y", "yaxis")].domain) for axis in axes]
    for n, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:n]:
            assert x[0] >= other_x[1] or other_x[0] >= x[1] or y[0] >= other_y[1] or other_y[0] >= y[1]
        assert 0 <= x[0] < x[1] <= 1.0001 and 0 <= y[0] < y[1] <= 1
    headings = [note.text for note in figure.layout.annotations[:6]]
    assert headings[0] == "<b>FLOPs of products</b>" and headings[2] == "<b>kept for backward</b>"


def test_the_bars_say_multiples_of_loras_cost_and_lora_the_cost_itself():
    bars = dict(zip(KINDS, plot_cost_report(report()).data, strict=True))
    assert list(bars["flops"].text) == ["0.50×", "<b>1,000</b>", "0.99×", "2.50×"]
    assert list(bars["saved_bytes"].text) == ["0", "<b>2 KiB</b>", "1.50×", "4.00×"]
    assert list(bars["checkpoint_bytes"].text) == ["0", "<b>160 bytes</b>", "0.25×", "31,250×"]
    assert list(bars["milliseconds"].text) == ["0.50×", "<b>2 ms</b>", "1.50×", "15×"]
    assert list(bars["checkpoint_bytes"].customdata[3]) == ["vectors, stock", "4.77 MiB"]
    named = plot_cost_report(report(), to="vectors").data[0]
    assert named.text[2] == "<b>990</b>" and named.text[1] == "1.01×"


def test_what_costs_nothing_is_no_unit():
    bars = plot_cost_report(report(), to="frozen base").data
    assert list(bars[2].text) == ["<b>0 bytes</b>", "2 KiB", "3 KiB", "8 KiB"]
    assert "the forward pass alone" in plot_cost_report(report()).layout.annotations[-1].text


def test_methods_have_their_colours_and_stock_ones_are_hatched():
    for bars in plot_cost_report(report()).data:
        wanted = ("frozen", "LoRA", "GLoRA", "GLoRA")
        assert list(bars.marker.color) == [METHOD_COLORS[name] for name in wanted]
        assert list(bars.marker.pattern.shape) == ["", "", "", "/"]


def test_the_title_and_the_words_say_the_finding():
    title = plot_cost_report(report()).layout.title.text
    assert title == "<b>vectors, stock</b> on tiny: 2.50× the FLOPs of LoRA, 4.00× its memory for backward"
    assert describe_cost_report(report()) == (
        "A step of tiny with LoRA (cpu, 1 thread, median of 5): 1,000 FLOPs in products, 100 values written pointwise, "
        "2 KiB kept for backward, 40 trainable parameters, 160 bytes in the checkpoint and 2 ms of time. As multiples "
        "of these, in that order: frozen base 0.50×, 0.10×, 0, 0, 0, 0.50×; vectors 0.99×, 1.50×, 1.50×, 0.25×, 0.25×, "
        "1.50×; vectors, stock 2.50×, 4.00×, 4.00×, 0.25×, 31,250×, 15×."
    )


def test_one_method_stands_alone_and_the_first_is_compared_with_where_lora_is_not():
    alone = report(rows=ROWS[1:2])
    assert plot_cost_report(alone).layout.title.text == "<b>LoRA</b> on tiny: 1,000 FLOPs a step, 2 KiB kept"
    assert describe_cost_report(alone).endswith("2 ms of time.")
    without = report(rows=(ROWS[2], ROWS[3]), model="", threads=4)
    assert plot_cost_report(without).layout.title.text.startswith("<b>vectors, stock</b>: 2.53× the FLOPs of vectors")
    assert "A step of the model with vectors (cpu, 4 threads," in describe_cost_report(without)


def test_what_is_left_out_is_named_with_its_reason():
    found = report(left_out={"stock GLoRA": "Conv1D is not supported."})
    assert "Not on this model: stock GLoRA. " in plot_cost_report(found).layout.annotations[-1].text
    assert describe_cost_report(found).endswith(" stock GLoRA does not fit: Conv1D is not supported.")


def test_names_are_no_markup_and_long_ones_are_cut():
    rows = (dataclasses.replace(ROWS[1], name="<i>"), dataclasses.replace(ROWS[3], name="<u>" + "n" * 40))
    figure = plot_cost_report(report(rows=rows, model="<b>m", left_out={"<s>": ""}, device="<em>"))
    ticks = figure.layout.yaxis.ticktext
    texts = [figure.layout.title.text, *(note.text for note in figure.layout.annotations), *ticks]
    texts += [cell[0] for bars in figure.data for cell in bars.customdata]
    assert not any(tag in text for text in texts for tag in ("<i>", "<u>", "<b>m", "<s>", "<em>"))
    assert ticks[1].endswith("n…") and len(ticks[1]) < 40
    assert [figure.layout[f"yaxis{n}"].showticklabels for n in (2, 3, 4)] == [False, False, True]


def test_a_report_of_nothing_and_an_unknown_name_are_refused():
    with pytest.raises(ValueError, match=r"`report` \(=CostReport\) must have at least one method"):
        plot_cost_report(report(rows=()))
    with pytest.raises(ValueError, match=r"`to` \(='DoRA'\) must be one of: frozen base, LoRA"):
        describe_cost_report(report(), to="DoRA")


@pytest.mark.parametrize("size, words", [(1023, "1,023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3 GiB")])
def test_bytes_in_words(size, words):
    rows = (dataclasses.replace(ROWS[1], saved_bytes=size),)
    assert f"{words} kept for backward" in describe_cost_report(report(rows=rows))


def test_seconds_from_a_thousand_milliseconds_on():
    rows = (dataclasses.replace(ROWS[1], milliseconds=1234.5),)
    assert "1.23 s of time" in describe_cost_report(report(rows=rows))
