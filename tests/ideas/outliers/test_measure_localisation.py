"""What the columns of G let one expect: closed forms, and what adapters do to a layer that was made for it."""

from __future__ import annotations

import math

import pytest
import torch

from glora_lab.ideas.entanglement.measure import sensible_limit, usual_deviation
from glora_lab.ideas.outliers.measure_localisation import contaminated_share, expected_deviation
from glora_lab.ideas.outliers.measure_tokens import LayerTokens
from glora_lab.measure import controlled, expected_share, localisation
from glora_lab.records import Localisation

SIZE = 64


def tokens(*, outliers: int, seed: int = 0) -> LayerTokens:
    """A layer of even channels of which some, at the start of each of eight blocks in turn, are large."""
    draws = torch.Generator().manual_seed(seed)
    x, g = torch.randn(200, SIZE, generator=draws), torch.randn(200, SIZE, generator=draws)
    x[:, torch.arange(outliers) * (SIZE // 8)] *= 60
    return LayerTokens(x, g)


@pytest.fixture(scope="module")
def found() -> Localisation:
    layers = {"one": tokens(outliers=1), "everywhere": tokens(outliers=8)}
    return localisation(layers, ranks=(32,), made={"a": 1})


def test_even_columns_are_off_as_rank_alone_has_it_whatever_k() -> None:
    even = torch.nn.functional.normalize(torch.randn(16, 64, generator=torch.Generator().manual_seed(0)), dim=0)
    for k in (1, 2, 4):
        off = expected_deviation(even.double(), k=k, r=4)
        assert off.tolist() == pytest.approx([usual_deviation(64, 4)] * 64)


def test_an_outlier_costs_its_own_block_and_more_of_it_the_more_blocks_there_are() -> None:
    gradient = torch.ones(4, 8).double()
    gradient[:, 5] = 100.0
    for k in (1, 2, 4):
        off, block = expected_deviation(gradient, k=k, r=4), 8 // k
        inside = math.sqrt(k / 4 * (4 * 100**2 + 4 * (block - 1))) / 2
        n = 5 // block
        others = [i for i in range(8) if i // block != n]
        assert off[n * block : (n + 1) * block].tolist().count(pytest.approx(inside)) == block - 1
        assert off[others].tolist() == pytest.approx([math.sqrt(8 / 4)] * len(others))


def test_off_at_the_sensible_limit_is_less_than_half_of_what_the_block_has() -> None:
    gradient = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)).double()
    sizes = torch.linspace(-2, 2, 64).exp()[torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    gradient *= sizes / gradient.norm(dim=0)
    for k in (1, 2, 4):
        for r in (4, 16):
            limit = sensible_limit(64, r)
            assert limit == 2 * usual_deviation(64, r)
            typical = sizes.square().reshape(k, -1).mean(1).sqrt().repeat_interleave(64 // k)
            off = expected_deviation(gradient, k=k, r=r) > limit
            assert torch.equal(off, sizes < typical / 2) and off.any()


def test_a_column_of_nothing_beside_others_is_infinitely_off_and_nothing_at_all_is_not() -> None:
    gradient = torch.ones(4, 8).double()
    gradient[:, 2] = 0
    assert expected_deviation(gradient, k=1, r=4)[2] == math.inf
    assert expected_share(gradient, k=1, r=4, limit=30.0) == pytest.approx(1 / 8)
    nothing = torch.zeros(4, 8)
    assert not expected_deviation(nothing, k=2, r=4).any() and expected_share(nothing, k=2, r=4, limit=3.0) == 0


def test_with_one_direction_the_share_is_that_of_a_normal_number() -> None:
    """G = u vᵀ, all of v alike: the error of a channel is one Gaussian number times √(in/r)."""
    gradient = torch.ones(16, 64).double()
    limit = sensible_limit(64, 4)
    assert limit == 2 * usual_deviation(64, 4)
    assert expected_share(gradient, k=1, r=4, limit=limit) == pytest.approx(math.erfc(2 / math.sqrt(2)))


def test_what_is_expected_is_what_is_found(found: Localisation) -> None:
    assert [row.layer for row in found.layers[::5]] == ["one", "everywhere"] and found.made == {"a": 1}
    assert found.ks == (1, 2, 4, 8) and found.ranks == (32,) and len(found.rows) == 2 * 5 * 4
    for control in found.controls:
        assert found.miss(control, 32) < 0.06
    assert all(row.low <= row.off <= row.high for row in found.rows)


def test_one_outlier_is_kept_in_its_block_and_one_in_every_block_is_not(found: Localisation) -> None:
    shares = {layer: [found.cell(layer, "as it is", 32, k).off for k in (2, 4, 8)] for layer in ("one", "everywhere")}
    assert shares["one"] == pytest.approx([1 / 2, 1 / 4, 1 / 8], abs=0.05)
    assert min(shares["everywhere"]) > 0.8
    calmed = found.only(lambda name: name == "everywhere")
    assert calmed.share("calmed", 32, 1) < 0.02 and calmed.fall("one ×100", 32) < 0.2
    outliers = [row.outliers for row in found.layers if row.control in ("as it is", "calmed", "one ×100")]
    assert outliers == [1, 0, 1, 8, 0, 1]


def test_inside_its_block_an_outlier_costs_more_and_outside_nothing() -> None:
    gradient = controlled(tokens(outliers=1), "even, one ×100")
    rows = [contaminated_share("one", "even, one ×100", gradient, r=32, k=k, draws=20) for k in (1, 2, 4, 8)]
    prices = [row.inside / rows[0].inside for row in rows]
    assert prices == pytest.approx([1, 2**0.5, 2, 8**0.5], rel=0.15)
    assert [row.outside for row in rows[1:]] == pytest.approx([usual_deviation(SIZE, 32)] * 3, rel=0.15)
    assert rows[0].outside is None


def test_what_cannot_be_is_refused() -> None:
    gradient = controlled(tokens(outliers=0), "as it is")
    with pytest.raises(ValueError, match=r"`k` \(=3\) must divide the 64 inputs and 64 outputs"):
        expected_share(gradient, k=3, r=4, limit=3.0)
    for wrong in ({"r": 0}, {"limit": 0.0}, {"k": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            expected_share(gradient, **({"k": 1, "r": 4, "limit": 3.0} | wrong))
    with pytest.raises(ValueError, match="`draws`"):
        localisation({"one": tokens(outliers=1)}, draws=0)
