"""One layer: the record's own numbers, scales that are shared, titles that say the finding."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.drawing.theme import DIVERGING, FROZEN, PATH_COLORS
from glora_lab.figures import describe_path_picture, plot_path_picture
from tests.ideas.literal import NO_BIAS, fresh_picture, picture


def texts(figure: object) -> str:
    return " | ".join(annotation.text for annotation in figure.layout.annotations)  # type: ignore[attr-defined]


def test_four_heatmaps_hold_the_terms() -> None:
    record = picture()
    maps = [trace for trace in plot_path_picture(record).data if trace.type == "heatmap"]
    assert [m.name for m in maps] == ["W<sub>0</sub>", "W<sub>0</sub>⊙A", "B", "W<sub>eff</sub>"]
    for trace, values in zip(maps, (record.w0, record.w0a, record.b, record.w_eff), strict=True):
        np.testing.assert_allclose(trace.z, values, rtol=1e-6)


def test_what_is_compared_shares_a_scale_centred_at_zero() -> None:
    figure = plot_path_picture(picture())
    assert [t.coloraxis for t in figure.data[:4]] == ["coloraxis", "coloraxis2", "coloraxis2", "coloraxis"]
    for axis, limit in ((figure.layout.coloraxis, 4.4), (figure.layout.coloraxis2, 0.4)):
        assert (axis.cmin, axis.cmid, axis.cmax) == pytest.approx((-limit, 0, limit))
        assert axis.colorscale == DIVERGING
    assert figure.layout.coloraxis2.colorbar.title.text == "both terms, 11 times finer"


def test_a_small_w_eff_does_not_shrink_the_scale() -> None:
    record = picture()
    gone = picture(w0a=-record.w0, b=0 * record.b, w_eff=0 * record.w0)
    assert plot_path_picture(gone).layout.coloraxis.cmax == 4


def test_bars_stack_up_to_b_eff() -> None:
    record = picture()
    figure = plot_path_picture(record)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert figure.layout.barmode == "relative"
    np.testing.assert_allclose(sum(np.asarray(bar.y) for bar in bars), record.b_eff, rtol=1e-6)
    assert [bar.marker.color for bar in bars] == [
        FROZEN,
        PATH_COLORS["D"],
        PATH_COLORS["E"],
        PATH_COLORS["C"],
    ]
    (dots,) = [trace for trace in figure.data if trace.type == "scatter"]
    np.testing.assert_allclose(dots.y, record.b_eff)


def test_axes_carry_letter_and_word_and_o_counts_downwards() -> None:
    layout = plot_path_picture(picture()).layout
    assert layout.xaxis.title.text == "i, input channel" and layout.yaxis.title.text == "o, output channel"
    assert layout.xaxis5.title.text == "o, output channel"
    assert layout.yaxis.range == (1.5, -0.5) and layout.xaxis.range == (-0.5, 2.5)


def test_titles_say_the_finding() -> None:
    assert (
        plot_path_picture(picture()).layout.title.text == "<b>encoder.0.query</b>: the weight moves by 9.9% of its size"
    )
    assert "nothing has changed yet" in plot_path_picture(fresh_picture()).layout.title.text
    record = picture()
    bias = picture(w0a=0 * record.w0, b=0 * record.b, w_eff=record.w0)
    assert "only the bias moves" in plot_path_picture(bias).layout.title.text


def test_each_term_says_its_mode_and_rank_or_why_there_is_nothing() -> None:
    said = texts(plot_path_picture(picture()))
    assert "constant, rank 2" in said and "vector, rank 1" in said
    assert "vector, still zero" in texts(plot_path_picture(fresh_picture()))
    off = picture(modes={**picture().modes, "A": "none"}, w0a=np.zeros((2, 3)), rank_w0a=0)
    assert "off" in texts(plot_path_picture(off))
    assert "W<sub>0</sub>·A" in texts(plot_path_picture(picture(form="product")))


def test_a_zero_term_is_drawn_empty_and_zero_bars_dimmed() -> None:
    figure = plot_path_picture(fresh_picture())
    assert np.isnan(figure.data[1].z).all() and np.isnan(figure.data[2].z).all()
    assert [trace.visible for trace in figure.data if trace.type == "bar"] == [True] + ["legendonly"] * 3


def test_an_inert_path_says_so() -> None:
    inert = picture(inert={"D": NO_BIAS}, b0d=np.zeros(2))
    names = [trace.name for trace in plot_path_picture(inert).data]
    assert "b<sub>0</sub>⊙D inert" in names
    assert "D vector" not in describe_path_picture(inert) and "E vector" in describe_path_picture(inert)


def test_a_large_matrix_is_thinned_out_and_says_so() -> None:
    big = np.arange(600 * 300, dtype=float).reshape(600, 300)
    few = np.zeros(600)
    biases = dict.fromkeys(("b0", "b0d", "e", "w0c", "b_eff"), few)
    figure = plot_path_picture(picture(w0=big, w0a=0 * big, b=0 * big, w_eff=big, **biases))
    cells = figure.data[0]
    assert np.asarray(cells.z).shape == (200, 100)
    assert cells.meta == {"x": "i", "y": "o"}  # each cell where its channels are
    assert (cells.x0, cells.dx, cells.y0, cells.dy) == (1, 3, 1, 3) and cells.z[2][1] == big[7, 4]
    assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((-0.5, 299.5), (599.5, -0.5))
    assert figure.layout.xaxis.title.text == "i, input channel"  # beside its neighbours' there is no room for more
    assert figure.layout.yaxis.title.text == "o, output channel<br>(1 in 3 drawn)"


def test_names_are_shown_as_they_are() -> None:
    assert "&lt;i&gt;x" in plot_path_picture(picture(layer="<i>x")).layout.title.text


def test_in_words() -> None:
    assert describe_path_picture(picture()) == (
        "Layer encoder.0.query: A constant, B vector, C lora, D vector and E vector, 23 parameters. "
        "W_eff differs from W0 by 9.9% of its size; the A term has rank 2, B has rank 1. "
        "b_eff differs from b0 by 53.0% of its size."
    )
    large = picture(b0=np.array([1.0, 1.0]), b_eff=np.array([5.636, 5.636]))
    assert describe_path_picture(large).endswith("b_eff differs from b0 by 4.6 times its size.")
    assert "W_eff equals W0. b_eff equals b0." in describe_path_picture(fresh_picture())
    assert "not zero where b0 was" in describe_path_picture(picture(b0=np.zeros(2)))


def test_a_rank_that_was_not_asked_is_not_told() -> None:
    unasked = picture(rank_w0a=None, rank_b=None)
    assert "rank" not in describe_path_picture(unasked)
    notes = [note.text for note in plot_path_picture(unasked).layout.annotations]
    assert not any("rank" in text for text in notes) and any("constant" in text for text in notes)
