"""The stored record of how far contamination reaches on minilm: what it says, a cell of it anew, and how it is made."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean

import pytest
import torch

from glora_lab.ideas.outliers.measure_tokens import LayerTokens
from glora_lab.real import localised_anew, make_localisation, stored_localisation
from glora_lab.real.localisation import FILE, layer_names
from glora_lab.records import Localisation

R = 64
EVEN, ODD = re.compile(r"\.layer\.[024]\."), re.compile(r"\.layer\.[135]\.")  # looked at first, and predicted


@pytest.fixture(scope="module")
def stored() -> Localisation:
    return stored_localisation()


def test_it_has_every_layer_control_rank_and_k_and_says_where_from(stored: Localisation) -> None:
    assert len({row.layer for row in stored.rows}) == 36 and len(stored.controls) == 5
    assert (stored.ranks, stored.ks) == ((16, 64), (1, 2, 4, 8)) and len(stored.rows) == 36 * 5 * 2 * 4
    assert stored.made["model"] == "minilm" and {"torch", "peft", "device"} <= stored.made["machine"].keys()
    assert len(Path(make_localisation.__file__).with_name(FILE).read_bytes()) <= 60_000


def test_as_they_are_the_layers_hardly_localise(stored: Localisation) -> None:
    shares = [stored.share("as it is", R, k) for k in stored.ks]
    assert 0.15 < shares[0] < 0.3 and 0.5 < stored.fall("as it is", R) < 0.9
    assert stored.fall("calmed", R) > 0.8  # what is left without outliers does not at all


def test_with_one_outlier_among_even_channels_every_layer_localises(stored: Localisation) -> None:
    for k in (4, 8):
        assert all(row.off == pytest.approx(1 / k, abs=0.03) for row in stored.of("even, one ×100", R, k))
    assert all(
        0.35 < row.off < 0.5 for row in stored.of("even, one ×100", R, 2)
    )  # 1,536 inputs: not all reach the limit


def test_the_sizes_of_the_columns_predict_layers_that_were_not_looked_at(stored: Localisation) -> None:
    for wanted in (EVEN, ODD):
        some = stored.only(lambda name, wanted=wanted: bool(wanted.search(name)))
        assert len(some.rows) == 18 * 5 * 2 * 4
        assert all(some.miss(control, R) < 0.03 for control in some.controls)
        assert all(some.miss(control, 16) < 0.06 for control in some.controls)
        assert max(abs(row.expected - row.off) for row in some.of("as it is", R)) < 0.08


def test_in_the_outliers_block_the_price_is_the_root_of_k(stored: Localisation) -> None:
    assert [stored.price("one ×100", R, k) for k in (2, 4, 8)] == pytest.approx([2**0.5, 2, 8**0.5], rel=0.1)


def test_a_stable_rank_of_one_is_a_mark_of_the_outlier_and_no_hindrance(stored: Localisation) -> None:
    planted = [row.stable_rank for row in stored.layers if row.control == "even, one ×100"]
    calmed = [row.stable_rank for row in stored.layers if row.control == "calmed"]
    assert max(planted) < 1.3 and fmean(calmed) > 3
    assert stored.fall("even, one ×100", R) < 0.25 < 0.8 < stored.fall("calmed", R)


def test_a_cell_made_anew_lies_within_the_stored_draws(stored: Localisation) -> None:
    layer = "bert.encoder.layer.3.attention.self.value"
    for control in ("as it is", "even, one ×100"):
        cell, anew = stored.cell(layer, control, R, 4), localised_anew(layer, control, r=R, k=4)
        assert cell.low - 0.01 <= anew.off <= cell.high + 0.01
        assert anew.expected == pytest.approx(cell.expected, abs=0.01)
        assert anew.inside == pytest.approx(cell.inside, rel=0.05)
    assert layer in layer_names() and len(layer_names()) == 36


def test_the_maker_keeps_each_layer_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stand-in of two small layers, of which the second is not to be had at first."""
    draws, asked = torch.Generator().manual_seed(0), []

    def tokens_of(layers: list[str]) -> dict[str, LayerTokens]:
        asked.extend(layers)
        if asked == ["a", "b"]:
            raise KeyboardInterrupt
        return {name: LayerTokens(*(torch.randn(20, 16, generator=draws) for _ in "xg")) for name in layers}

    monkeypatch.setattr(make_localisation, "layer_names", lambda: ["a", "b"])
    monkeypatch.setattr(make_localisation, "tokens_of", tokens_of)
    where = ["--kept", str(tmp_path / "kept"), "--into", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        make_localisation.main(where)
    assert not (tmp_path / FILE).exists()
    make_localisation.main(where)
    assert asked == ["a", "b", "b"] and "80 shares of 2 layers" in capsys.readouterr().out
    found = Localisation.from_json((tmp_path / FILE).read_text(encoding="utf-8"))
    assert [row.layer for row in found.layers] == ["a"] * 5 + ["b"] * 5 and len(found.rows) == 2 * 5 * 2 * 4
    assert found.made["texts"] == 64 and "python" in found.made["machine"]
