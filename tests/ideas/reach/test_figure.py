"""The reach drawn: one panel a change, LoRA's level, labels on the free side, the finding on top."""

from __future__ import annotations

import pytest

from glora_lab.drawing.theme import METHOD_COLORS
from glora_lab.figures import describe_rank_reach, plot_rank_reach
from glora_lab.records import RankReach, Reach

ERRORS = {"flat": (0.5, 0.51, 0.5), "long": (0.1, 0.3, 0.6), "blocky": (0.8, 0.2, 0.4)}


def reach(changes: dict[str, tuple[float, ...]] = ERRORS, trained: float | None = None) -> RankReach:
    """k = 1, 2 and 4 at rank 4: a tie, a win for LoRA, one for k = 2. `trained` is added to the least error."""
    return RankReach(
        tuple(
            Reach(name, 0, k, 4, 64, 4 * k, error, None if trained is None else error + trained)
            for name, errors in changes.items()
            for k, error in zip((1, 2, 4), errors, strict=True)
        )
    )


def axis(letter, panel):
    return letter if panel == 1 else f"{letter}{panel}"


def of(figure, name, panel):
    (trace,) = [t for t in figure.data if t.name == name and t.xaxis == axis("x", panel)]
    return trace


def test_each_change_has_a_panel_with_lora_and_the_blocks_in_their_colours():
    figure = plot_rank_reach(reach())
    for panel, errors in enumerate(ERRORS.values(), start=1):
        lora, blocks = of(figure, "LoRA, least error", panel), of(figure, "GraLoRA, least error", panel)
        assert (lora.x, lora.y) == ((1,), errors[:1]) and (blocks.x, blocks.y) == ((2, 4), errors[1:])
        assert lora.marker.color == METHOD_COLORS["LoRA"] and blocks.marker.color == METHOD_COLORS["GraLoRA"]
        assert blocks.customdata == (8, 16) and blocks.text == tuple(f"{error:.2f}" for error in errors[1:])
        (dashed,) = [t for t in figure.data if t.line.dash == "dash" and t.yaxis == axis("y", panel)]
        assert set(dashed.y) == {errors[0]}
    assert not [t for t in figure.data if t.name == "reached by training"]


def test_all_panels_share_their_scales_and_k_is_logarithmic():
    layout = plot_rank_reach(reach()).layout
    assert {layout[f"yaxis{n}"].range for n in (2, 3)} == {layout.yaxis1.range}
    assert layout.xaxis1.type == "log" and layout.xaxis1.tickvals == (1, 2, 4)
    assert layout.yaxis1.title.text == "relative error" and layout.yaxis2.showticklabels is False
    domains = [layout[f"xaxis{n}"].domain for n in (1, 2, 3)]
    assert domains[0][0] == 0 and domains[2][1] == 1
    assert domains[0][1] < domains[1][0] and domains[1][1] < domains[2][0]


def test_the_title_counts_wins_losses_and_ties_and_each_panel_says_its_own():
    figure = plot_rank_reach(reach())
    assert figure.layout.title.text == (
        "More rank wins only where the change has that shape: LoRA wins 1, the blocks win 1, tied 1"
    )
    headings = [note.text for note in figure.layout.annotations]
    for heading, name, verdict in zip(
        headings, ERRORS, ("a tie", "LoRA comes closest", "k = 2 comes closest"), strict=True
    ):
        assert f"<b>{name}</b>" in heading and verdict in heading


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"long": ERRORS["long"]}, "<b>long</b>: LoRA comes closest"),
        ({"<b>": ERRORS["blocky"]}, "<b>&lt;b&gt;</b>: k = 2 comes closest"),
        ({"a": ERRORS["long"], "b": ERRORS["long"]}, "LoRA (k = 1) still comes closest to all 2 changes"),
        ({}, "No change was asked for"),
    ],
)
def test_the_title_fits_what_there_is(changes, title):
    assert title in plot_rank_reach(reach(changes)).layout.title.text


def test_numbers_stand_where_the_line_is_not():
    figure = plot_rank_reach(reach())
    assert of(figure, "GraLoRA, least error", 2).textposition == ("top center", "top center")
    assert of(figure, "GraLoRA, least error", 3).textposition == ("bottom center", "bottom center")
    assert of(figure, "LoRA, least error", 3).textposition == ("top center",)


def test_rings_are_what_training_reached():
    figure = plot_rank_reach(reach(trained=0.05))
    assert of(figure, "reached by training", 2).y == pytest.approx((0.15, 0.35, 0.65))
    shown = [t.name for t in figure.data if t.showlegend]
    assert shown == ["LoRA, least error", "GraLoRA, least error", "reached by training"]  # each once


def test_many_changes_stand_in_rows_and_a_long_name_shows_its_end():
    figure = plot_rank_reach(reach({f"a.very.long.name.of.layer.{n:02}": ERRORS["long"] for n in range(8)}))
    layout = figure.layout
    assert "…me.of.layer.07" in layout.annotations[7].text and "very" not in layout.annotations[7].text
    assert layout.yaxis7.domain[1] < layout.yaxis1.domain[0]  # the second row is below the first
    assert layout.xaxis7.domain == layout.xaxis1.domain and layout.yaxis7.showticklabels
    assert layout.height > plot_rank_reach(reach()).layout.height
    assert layout.xaxis1.title.text is None and layout.xaxis3.title.text == "k, blocks per side"


def test_in_words():
    words = describe_rank_reach(reach(trained=0.004))
    assert "for k = 1, 2 and 4: flat 0.50 / 0.51 / 0.50 (a tie); long 0.10 / 0.30 / 0.60 (LoRA comes closest)" in words
    assert "blocky 0.80 / 0.20 / 0.40 (k = 2 comes closest)." in words
    assert words.endswith("Training came within 0.004 of all of them.")
    assert (
        "Training" not in describe_rank_reach(reach()) and describe_rank_reach(reach({})) == "No change was asked for."
    )
