"""A block drawn as B at the left, Aᵀ above and the product where they meet; its spectrum; its channels in words."""

from __future__ import annotations

import numpy as np
import pytest

from glora_lab.figures import describe_block_detail, plot_block_detail
from glora_lab.records import BlockDetail

WORDS = (
    "Layer encoder.0.query, block m 1, n 2: reads input channels 6 to 8, writes output channels 2 to 3; rank 1, norm "
    "10, 25% of ΔW's energy. Singular values: 10; the other one is zero."
)


def detail(**changes: object) -> BlockDetail:
    """One column each: B is (3, 4), A is (0, 0, 1), the scaling 2; so ΔW here is (6, 8) in its last column."""
    fields = {
        "layer": "encoder.0.query",
        "m": 1,
        "n": 2,
        "k": 3,
        "B": np.array([[3.0], [4.0]]),
        "A": np.array([[0.0], [0.0], [1.0]]),
        "scaling": 2.0,
        "block": np.array([[0.0, 0.0, 6.0], [0.0, 0.0, 8.0]]),
        "singular_values": np.array([10.0]),
        "rank": 1,
        "norm": 10.0,
        "energy": 0.25,
    }
    return BlockDetail(**{**fields, **changes})  # type: ignore[arg-type]


def fresh(**changes: object) -> BlockDetail:
    zero = {"B": np.zeros((2, 1)), "block": np.zeros((2, 3)), "singular_values": np.zeros(1)}
    return detail(**{**zero, "rank": 0, "norm": 0.0, "energy": 0.0, **changes})


def test_the_factors_meet_in_their_product():
    figure = plot_block_detail(detail())
    b, a, block, spectrum = figure.data
    assert b.z.tolist() == [[3], [4]] and a.z.tolist() == [[0, 0, 1]] and block.z.tolist() == [[0, 0, 6], [0, 0, 8]]
    layout = figure.layout
    assert layout.yaxis.domain == layout.yaxis3.domain and layout.xaxis2.domain == layout.xaxis3.domain
    assert layout.yaxis2.domain[0] > layout.yaxis3.domain[1] and layout.xaxis.domain[1] < layout.xaxis3.domain[0]
    assert spectrum.type == "bar" and (list(spectrum.x), list(spectrum.y)) == ([1], [10])


def test_channels_keep_their_numbers_in_the_whole_layer():
    figure = plot_block_detail(detail())
    b, a, block, _ = figure.data
    assert list(block.x) == list(a.x) == [6, 7, 8] and list(block.y) == list(b.y) == [2, 3]
    assert figure.layout.xaxis3.range == (5.5, 8.5) and figure.layout.yaxis3.range == (3.5, 1.5)  # o as in a matrix
    assert figure.layout.xaxis3.title.text == "i, input channel"
    assert figure.layout.yaxis.title.text == "o, output channel"


def test_each_matrix_has_a_scale_of_its_own_and_says_it():
    figure = plot_block_detail(detail())
    assert [(trace.zmin, trace.zmid, trace.zmax) for trace in figure.data[:3]] == [(-4, 0, 4), (-1, 0, 1), (-8, 0, 8)]
    texts = [note.text for note in figure.layout.annotations]
    assert "±4" in texts[0] and "±1" in texts[1] and "±8" in texts[2] and "= 2 · B Aᵀ" in texts[2]
    assert figure.layout.xaxis4.title.text == "singular values, in order<br>(the other one is zero)"
    assert "·" not in plot_block_detail(detail(scaling=1.0)).layout.annotations[2].text


def test_title_and_words_say_size_and_channels():
    title = plot_block_detail(detail()).layout.title.text
    assert title.startswith("Block m 1, n 2: rank 1, norm 10, 25% of ΔW's energy<br>")
    assert "encoder.0.query: reads inputs 6 to 8, writes outputs 2 to 3" in title
    assert describe_block_detail(detail()) == WORDS


def test_a_long_spectrum_is_cut_short_in_words():
    wide = {"B": np.ones((12, 9)), "A": np.ones((12, 9)), "block": np.ones((12, 12))}
    many = detail(**wide, singular_values=np.arange(9.0, 0, -1))
    assert "Singular values: 9, 8, 7, 6, 5, 4, 3, 2, …; the other 3 are zero." in describe_block_detail(many)


def test_a_block_that_its_factors_fill_has_no_others():
    full = detail(B=np.ones((2, 2)), A=np.ones((3, 2)), singular_values=np.array([2.0, 1.0]))
    assert describe_block_detail(full).endswith("Singular values: 2, 1.")
    assert plot_block_detail(full).layout.xaxis4.title.text == "singular values, in order"


def test_a_fresh_block_has_changed_nothing():
    figure = plot_block_detail(fresh())
    assert (
        np.isnan(figure.data[0].z).all() and np.isnan(figure.data[2].z).all() and not np.isnan(figure.data[1].z).any()
    )
    assert "zero, nothing has changed yet" in figure.layout.title.text
    assert describe_block_detail(fresh()).endswith("it is zero, nothing has changed yet.")
    assert sum(note.text == "zero" for note in figure.layout.annotations) == 2


def test_a_hybrids_columns_are_told_apart():
    both = detail(B=np.ones((2, 3)), A=np.ones((3, 3)), hybrid_r=2)
    figure, says = plot_block_detail(both), "the last 2 columns of B and A are the plain LoRA's"
    in_b, in_a = figure.layout.shapes
    assert (in_b.x0, in_b.x1, in_b.xref) == (0.5, 0.5, "x") and (in_a.y0, in_a.y1, in_a.yref) == (0.5, 0.5, "y2")
    assert says in describe_block_detail(both)
    (beyond,) = [note for note in figure.layout.annotations if "plain LoRA of rank 2" in note.text]
    assert beyond.y < 0  # below, where the line has the whole width
    assert max(map(len, figure.layout.title.text.split("<br>"))) < 110  # with its markup
    assert not plot_block_detail(detail()).layout.shapes


def test_a_large_block_is_thinned_and_says_so():
    large = detail(m=0, n=0, B=np.ones((600, 1)), A=np.ones((300, 1)), block=np.ones((600, 300)))
    figure = plot_block_detail(large)
    assert figure.data[2].z.shape == (200, 150) and list(figure.data[2].y[:3]) == [0, 3, 6]
    assert "1 in 3 drawn" in figure.layout.annotations[2].text


def test_what_lies_along_an_axis_is_known_to_the_page():
    assert [trace.meta for trace in plot_block_detail(detail()).data] == [
        {"y": "o"},
        {"x": "i"},
        {"x": "i", "y": "o"},
        None,
    ]


@pytest.mark.parametrize("k, color", [(1, "#489CCC"), (3, "#FC600C")])
def test_one_block_has_the_colour_of_lora(k, color):
    assert plot_block_detail(detail(k=k)).data[3].marker.color == color


def test_a_layers_name_is_no_markup():
    assert "&lt;i&gt;" in plot_block_detail(detail(layer="<i>")).layout.title.text
