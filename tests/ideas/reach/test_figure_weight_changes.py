"""Changes of W drawn: the matrices on one signed scale, the singular values on one pair of logarithmic axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glora_lab.drawing.theme import DIVERGING, FROZEN, METHOD_COLORS
from glora_lab.figures import describe_weight_changes, plot_weight_changes
from glora_lab.records import WeightChange

WANTED = WeightChange("wanted", np.array([[[3.0, 0.0, 0.0], [0.0, -1.0, 0.0]]]), np.array([[3.0, 1.0]]))
ONE = WeightChange("k = 1", np.array([[[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]), np.array([[3.0, 0.0]]), 0.316, "LoRA")
TWO = WeightChange("k = 2", WANTED.matrices, WANTED.singular_values, 0.0, "GraLoRA")


def test_matrix_above_and_singular_values_below_those_of_zero_left_out():
    figure = plot_weight_changes([WANTED, ONE])
    wanted, values, best, cut_off = figure.data
    assert wanted.type == best.type == "heatmap" and wanted.z.tolist() == [[3, 0, 0], [0, -1, 0]]
    assert (list(values.x), list(values.y)) == ([1, 2], [3, 1]) and list(cut_off.y) == [3]
    assert values.line.color == FROZEN and cut_off.line.color == METHOD_COLORS["LoRA"]
    assert figure.layout.yaxis1.domain[0] > figure.layout.yaxis3.domain[1]


def test_one_signed_scale_that_ends_at_four_typical_sizes():
    layout = plot_weight_changes([ONE, WANTED]).layout
    limit = 4 * np.sqrt((9 + 1) / 6)
    assert (layout.coloraxis.cmin, layout.coloraxis.cmax, layout.coloraxis.cmid) == pytest.approx((-limit, limit, 0))
    assert layout.coloraxis.colorscale == DIVERGING and layout.coloraxis.colorbar.ticktext[0].startswith("≤ −")


def test_axes_are_shared_and_o_counts_downwards():
    layout = plot_weight_changes([WANTED, ONE]).layout
    assert layout.yaxis1.range == layout.yaxis2.range == (1.5, -0.5) and layout.xaxis1.range == (-0.5, 2.5)
    assert layout.xaxis3.range == layout.xaxis4.range and layout.yaxis3.range == layout.yaxis4.range
    assert layout.xaxis3.type == layout.yaxis3.type == "log"
    assert layout.xaxis3.range[0] < 0 and layout.xaxis3.range[1] > np.log10(2)
    assert (layout.xaxis1.title.text, layout.yaxis1.title.text) == ("i, input channel", "o, output channel")


def test_tiny_singular_values_do_not_stretch_the_axis():
    values = np.array([[1.0, 1e-12]])
    layout = plot_weight_changes(WeightChange("w", np.ones((1, 2, 2)), values)).layout
    assert layout.yaxis2.range[0] == pytest.approx(-4.15)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ([WANTED, ONE, TWO], "<b>wanted</b>: k = 2 comes closest, error 0.00"),
        ([WANTED, TWO, replace(TWO, name="k = 4")], "<b>wanted</b>: k = 2 and k = 4 tie, error 0.00"),
        ([WANTED, ONE, replace(ONE, name="other")], "<b>wanted</b>: k = 1 and other tie, error 0.32"),
        ([WANTED, ONE, replace(ONE, name="near", error=0.33)], "k = 1 and near tie, error 0.32"),
        ([WANTED, ONE], "<b>wanted</b>: k = 1 comes closest, error 0.32"),
        (WANTED, "<b>wanted</b>: rank 2"),
        ([WANTED, WeightChange("<i>", ONE.matrices, ONE.singular_values)], "<b>&lt;i&gt;</b> has the lowest rank, 1"),
        ([WANTED, WANTED], "2 changes of W, all of rank 2"),
    ],
)
def test_the_title_is_the_finding(changes, title):
    assert title in plot_weight_changes(changes).layout.title.text


def test_headings_and_words_say_rank_and_error():
    headings = [note.text for note in plot_weight_changes([WANTED, ONE]).layout.annotations]
    assert "<b>wanted</b>" in headings[0] and "rank 2" in headings[0] and "error" not in headings[0]
    assert "rank 1<br>error 0.32" in headings[1]
    assert describe_weight_changes([WANTED, ONE]) == (
        "Changes of W of 2 output and 3 input channels: wanted, rank 2; k = 1, rank 1, error 0.32."
    )


def test_a_change_that_is_zero_can_be_drawn():
    figure = plot_weight_changes(WeightChange("none", np.zeros((1, 2, 2)), np.zeros((1, 2))))
    assert "rank 0" in figure.layout.title.text and figure.layout.coloraxis.cmax == 1 and len(figure.data[1].y) == 0


def test_a_large_matrix_is_thinned_out_and_says_so():
    large = WeightChange("large", np.arange(300.0 * 200).reshape(1, 300, 200), np.ones((1, 200)))
    figure = plot_weight_changes(large)
    assert figure.data[0].z.shape == (100, 67) and figure.data[0].dx == 3 and figure.data[0].z[1, 1] == 603
    assert figure.layout.yaxis1.title.text.endswith("<br>(1 in 3 drawn)")


def test_six_at_most():
    assert len(plot_weight_changes([WANTED] * 6).data) == 12
    for bad in ([], [WANTED] * 7):
        with pytest.raises(ValueError, match=r"`changes` \(=.*\) must be one to 6 changes"):
            plot_weight_changes(bad)
