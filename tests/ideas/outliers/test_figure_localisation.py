"""The record of contamination, by hand: means, falls and prices; as text and back; drawn."""

from __future__ import annotations

import pytest

from glora_lab.figures import describe_localisation, plot_localisation
from glora_lab.records import ContaminatedShare, ControlledLayer, Localisation

LAYERS = tuple(
    ControlledLayer(layer, control, 16, *numbers)
    for layer in ("layer.0.a", "layer.1.a")
    for control, numbers in (("as it is", (3, 1.5)), ("calmed", (0, 4.25)))
)
SHARES = {  # (control, k) → off, low, high, expected, inside, outside of the first layer; of the second twice as much
    ("as it is", 1): (0.4, 0.3, 0.5, 0.38, 6.0, None),
    ("as it is", 2): (0.3, 0.3, 0.3, 0.32, 9.0, 2.0),
    ("calmed", 1): (0.1, 0.1, 0.1, 0.1, 2.0, None),
    ("calmed", 2): (0.1, 0.1, 0.1, 0.11, 2.5, 2.0),
}
ROWS = tuple(
    ContaminatedShare(f"layer.{n}.a", control, 8, k, *(None if v is None else v * (1 + n) for v in values))
    for n in (0, 1)
    for (control, k), values in SHARES.items()
)
FOUND = Localisation(ROWS, LAYERS, {"model": "a model", "draws": 3})


def test_means_falls_prices_and_misses() -> None:
    assert (FOUND.controls, FOUND.ranks, FOUND.ks) == (("as it is", "calmed"), (8,), (1, 2))
    assert FOUND.share("as it is", 8, 1) == pytest.approx(0.6)
    assert FOUND.share("as it is", 8, 2, expected=True) == pytest.approx(0.48)
    assert FOUND.fall("as it is", 8) == pytest.approx(0.75) and FOUND.fall("calmed", 8) == pytest.approx(1.0)
    assert FOUND.price("as it is", 8, 2) == pytest.approx(1.5)
    assert FOUND.miss("as it is", 8) == pytest.approx((0.02 + 0.02 + 0.04 + 0.04) / 4)
    alone = FOUND.only(lambda name: name.startswith("layer.1."))
    assert alone.share("as it is", 8, 1) == pytest.approx(0.8) and len(alone.layers) == 2
    assert FOUND.cell("layer.1.a", "calmed", 8, 2).outside == 4.0
    assert len(FOUND.to_dicts()) == 8 and FOUND.to_dicts()[0]["off"] == 0.4


def test_it_is_the_same_as_text_and_back() -> None:
    text = FOUND.to_json()
    assert Localisation.from_json(text) == FOUND and Localisation.from_json(text).to_json() == text
    assert text.count("\n") == 7 and "layer.0.a" in text


def test_a_line_with_crosses_a_control_and_a_point_for_every_layer() -> None:
    figure = plot_localisation(FOUND)
    found, crosses, ideal = figure.data[:3]
    assert found.y == pytest.approx((0.6, 0.45)) and crosses.y == pytest.approx((0.57, 0.48))
    assert crosses.mode == "markers" and ideal.y == pytest.approx((0.6, 0.3)) and ideal.line.dash == "dot"
    points = figure.data[6]
    assert points.x == pytest.approx((0.38, 0.32, 0.76, 0.64)) and points.y == pytest.approx((0.4, 0.3, 0.8, 0.6))
    assert [trace.name for trace in figure.data if trace.showlegend is None] == ["as it is", "calmed"]
    title = figure.layout.title.text
    assert title.startswith("Layers as it is: 60% of the channels are off with LoRA, 45% with k = 2<br>")
    assert "right within 3.0 points on average" in title


def test_in_words() -> None:
    assert describe_localisation(FOUND) == (
        "Share of channels that are off at rank 8 for k = 1 and 2, means over the layers: as it is 0.60 / 0.45 "
        "(expected 0.57 / 0.48); calmed 0.15 / 0.15 (expected 0.15 / 0.17). In the strongest channel's block the "
        "error is 1.50 times LoRA's for k = 2."
    )
    with pytest.raises(ValueError, match=r"`r` \(=4\) must be one of: 8"):
        plot_localisation(FOUND, r=4)
