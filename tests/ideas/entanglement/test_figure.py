"""The gradient report drawn: one scale for all, outliers marked, blocks that deviate framed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import describe_gradient_report, plot_gradient_report
from glora_lab.ideas.entanglement.figure_heatmaps import MOST_CELLS
from glora_lab.records import GradientReport

FULL = np.array([[0.01, 0.01, 10.0, 0.01], [0.01, 0.01, 10.0, 0.01]])


def report(**changes: object) -> GradientReport:
    """Channel 2 of four is an outlier, in the second of two input blocks; J Jᵀ G is drawn five times itself."""
    fields = {
        "layer": "encoder.0.query",
        "method": "GraLoRA",
        "full": FULL,
        "effective": np.array([[0.002, 0.002, 2.0, 0.2], [0.002, 0.002, 2.0, 0.2]]),
        "deviation": np.array([0.5, 0.5, 0.1, 99.0]),
        "block_deviation": np.array([[0.5, 50.0], [0.5, 50.0]]),
        "scaling": "equal decrease",
        "factor": 5.0,
        "outliers": (2,),
    }
    return GradientReport(**{**fields, **changes})  # type: ignore[arg-type]


def lora(**changes: object) -> GradientReport:
    many = {"method": "LoRA", "deviation": np.array([9.0, 9.0, 0.1, 9.0]), "block_deviation": np.array([[9.0]])}
    return report(**{**many, **changes})


BOTH = {"LoRA": lora(), "GraLoRA k=2": report()}


def heatmaps(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def test_full_fine_tuning_and_each_adapter_stand_side_by_side_on_one_scale():
    figure = plot_gradient_report(BOTH)
    full, *others = heatmaps(figure)
    assert [full.name, *(o.name for o in others)] == ["full fine-tuning", "LoRA", "GraLoRA k=2"]
    np.testing.assert_allclose(full.z[0], [-2, -2, 1, -2], atol=1e-6)
    np.testing.assert_allclose(others[1].z[0], [-2, -2, 1, 0], atol=1e-6)  # times the factor
    assert {m.coloraxis for m in heatmaps(figure)} == {"coloraxis"}
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-3, 1)
    lefts = [figure.layout[f"xaxis{n}"].domain for n in (2, 3, 4)]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(lefts))


def test_what_lies_below_the_scale_is_drawn_as_its_end():
    tiny = np.where(FULL > 1, FULL, 0.0)
    figure = plot_gradient_report(report(full=tiny, effective=tiny / 5))
    bar = figure.layout.coloraxis.colorbar
    assert heatmaps(figure)[0].z.min() == pytest.approx(-3) and bar.title.text == "size of an entry"
    assert bar.tickvals == (-3, -2, -1, 0, 1)
    assert bar.ticktext == ("≤ 10<sup>−3</sup>", "10<sup>−2</sup>", "10<sup>−1</sup>", "1", "10<sup>1</sup>")
    between = plot_gradient_report(report(full=0.3 * FULL, effective=0.3 * FULL)).layout.coloraxis  # up to 15
    assert (between.cmin, between.cmax) == (-2, pytest.approx(np.log10(15))) and between.colorbar.tickvals[-1] == 1
    nothing = report(full=0 * FULL, effective=0 * FULL, outliers=())
    assert np.isfinite(heatmaps(plot_gradient_report(nothing))[0].z).all()


def test_the_blocks_that_deviate_are_framed_in_the_methods_colour():
    frames = [s for s in plot_gradient_report(BOTH).layout.shapes if s.type == "rect"]
    assert [(s.xref, s.x0, s.x1, s.y0, s.y1) for s in frames] == [
        ("x3", -0.5, 3.5, -0.5, 1.5),  # LoRA is one block
        ("x4", 1.5, 3.5, -0.5, 0.5),
        ("x4", 1.5, 3.5, 0.5, 1.5),
    ]
    assert [s.line.color for s in frames] == [METHOD_COLORS["LoRA"], *[METHOD_COLORS["GraLoRA"]] * 2]
    calm = report(block_deviation=np.full((2, 2), 2.9))
    assert not [s for s in plot_gradient_report(calm).layout.shapes if s.type == "rect"]


def marks(figure):
    return [(note.text, note.xref, note.x) for note in figure.layout.annotations if note.text in ("▼", "▽")]


def test_the_outlier_is_marked_above_every_heatmap():
    assert marks(plot_gradient_report(BOTH)) == [("▼", "x2", 2), ("▼", "x3", 2), ("▼", "x4", 2)]


def test_without_an_outlier_the_strongest_channel_is_marked_as_such():
    assert marks(plot_gradient_report(report(outliers=()))) == [("▽", "x2", 2), ("▽", "x3", 2)]
    assert marks(plot_gradient_report(report(full=0 * FULL, outliers=()))) == []


def test_the_deviation_of_every_channel_stands_below_with_its_limit():
    figure = plot_gradient_report(BOTH)
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    assert [line.name for line in lines] == ["LoRA", "GraLoRA k=2"]
    np.testing.assert_allclose(lines[1].y, [0.5, 0.5, 0.1, 99.0], rtol=1e-6)
    (limit,) = (shape for shape in figure.layout.shapes if shape.type == "line")
    assert limit.y0 == limit.y1 == 3 and figure.layout.yaxis.type == "log"
    (said,) = (note for note in figure.layout.annotations if note.yref == "y")
    assert (said.text, said.y) == ("off: > 3×", pytest.approx(np.log10(3)))  # a note on a log axis lies at its exponent


def test_two_of_one_method_share_its_colour_and_differ_in_their_dashes():
    figure = plot_gradient_report({"k=2": report(), "k=4": report(), "LoRA": lora()})
    two, four, other = (trace.line for trace in figure.data if trace.type == "scatter")
    assert two.color == four.color == METHOD_COLORS["GraLoRA"] and other.color == METHOD_COLORS["LoRA"]
    assert (two.dash, four.dash, other.dash) == ("solid", "dot", "solid")


def test_a_large_matrix_keeps_its_outlier():
    side = MOST_CELLS * 2 + 3
    full = np.full((side, side), 0.01)
    full[:, 301] = 10.0
    large = report(full=full, effective=full / 5, deviation=np.ones(side), outliers=(301,))
    figure = plot_gradient_report(large)
    drawn = heatmaps(figure)[0]
    assert drawn.z.shape == (172, 172) and drawn.dx == 3
    assert figure.layout.yaxis2.title.text == "o, output channel<br>(largest of 3×3)"
    assert {figure.layout[f"xaxis{n}"].title.text for n in (2, 3)} == {"i, input channel"}
    assert np.flatnonzero(drawn.z[0] > 0).tolist() == [100]  # cell 100 holds the channels 300 to 302
    assert drawn.x0 + 100 * drawn.dx == 301


def test_the_title_and_the_words_say_the_finding():
    assert plot_gradient_report(BOTH).layout.title.text == (
        "The gradient is off for 75% of the input channels with LoRA and 25% with GraLoRA k=2"
        "<br><span style='font-size:13px'><b>encoder.0.query</b>: outlier 2, 1,000 times the "
        "median gradient. Off: by more than 3 times</span>"
    )
    assert describe_gradient_report(BOTH) == (
        "Layer encoder.0.query, each adapter's gradient multiplied so that a step lowers the loss as much as full "
        "fine-tuning's. Input channels by the size of their gradient in full "
        "fine-tuning: outlier 2, 1,000 times the median gradient. Off by more than 3 times: "
        "75% of the input channels with LoRA; 25% of the input channels with GraLoRA k=2, in 2 of 4 blocks."
    )


@pytest.mark.parametrize("say", [lambda r: plot_gradient_report(r).layout.title.text, describe_gradient_report])
def test_outliers_the_strongest_channel_or_none_are_named(say):
    assert "no outlier, strongest channel 2, 2.0 times the median" in say(report(outliers=(), full=FULL + 10))
    assert "outliers 0, 1, 2 and 1 more, the strongest 1,000 times" in say(report(outliers=(0, 1, 2, 3)))
    assert "no channel has a gradient" in say(report(outliers=(), full=0 * FULL))


def test_the_limit_is_the_readers():
    figure = plot_gradient_report(BOTH, limit=60)
    assert "0% of the input channels with LoRA and 25% with GraLoRA" in figure.layout.title.text
    assert [shape.y0 for shape in figure.layout.shapes] == [60]  # no block is framed any more
    words = describe_gradient_report(BOTH, limit=60)
    assert "more than 60 times: 0%" in words and "in 0 of 4 blocks" in words


def test_one_report_goes_by_its_method():
    assert [m.name for m in heatmaps(plot_gradient_report(lora()))] == ["full fine-tuning", "LoRA"]


def test_names_are_no_markup():
    figure = plot_gradient_report({"<i>": report(layer="<u>")})
    texts = [figure.layout.title.text, *(note.text for note in figure.layout.annotations)]
    assert not any("<i>" in text or "<u>" in text for text in texts) and "&lt;u&gt;" in texts[0]


@pytest.mark.parametrize("reports", [{}, {"a": report(), "b": report(full=np.ones((3, 4)), effective=np.ones((3, 4)))}])
def test_reports_that_cannot_stand_side_by_side_are_refused(reports):
    with pytest.raises(ValueError, match=r"`reports` \(=\["):
        plot_gradient_report(reports)
