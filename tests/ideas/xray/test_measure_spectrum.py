"""delta_spectrum: the singular values of the whole ΔW, found without it."""

from __future__ import annotations

import numpy as np
import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.gralora.formula import block_factors
from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.adapters.view import adapted_layers, delta_matrix
from glora_lab.anatomy.core import as_matrix, block_core
from glora_lab.ideas.xray.measure_spectrum import effective_rank
from glora_lab.measure import delta_spectrum


def adapted(config, shape=(24, 48), dtype=torch.double, **settings):
    settings = {"init_lora_weights" if config is peft.LoraConfig else "init_weights": False, **settings}
    model = nn.Sequential(nn.Linear(*shape), nn.Tanh(), nn.Linear(*shape[::-1])).to(dtype)
    return peft.get_peft_model(model, config(target_modules=["0"], **settings))


def dense(model, name="0", adapter="default"):
    return np.linalg.svd(delta_matrix(adapted_layers(model)[name], adapter).detach().numpy(), compute_uv=False)


CASES = [
    (peft.LoraConfig, {"r": 5, "lora_alpha": 7}, 5),
    (peft.LoraConfig, {"r": 4, "lora_alpha": 7, "use_rslora": True}, 4),
    (GraloraConfig, {"r": 8, "gralora_k": 4, "alpha": 12}, 24),  # k·r is above the inputs
    (GraloraConfig, {"r": 4, "gralora_k": 2, "use_rslora": True}, 8),
    (GraloraConfig, {"r": 4, "gralora_k": 2, "hybrid_r": 1}, 10),
    (peft.GraloraConfig, {"r": 4, "gralora_k": 2}, 8),
    (peft.GraloraConfig, {"r": 8, "gralora_k": 4, "hybrid_r": 2}, 24),
    (GloraConfig, {"r": 3, "config_A": "none", "alpha": 5}, 3),
    (GloraConfig, {"r": 3, "config_A": "none", "config_B": "vector"}, 1),
    (GloraConfig, {"r": 3, "config_A": "none", "config_B": "constant"}, 1),
    (GloraConfig, {"r": 3, "A_form": "product", "alpha": 5}, 6),
    (GloraConfig, {"r": 3, "A_form": "product", "config_A": "vector"}, 24),
    (GloraConfig, {"r": 3, "alpha": 5}, 24),
    (GloraConfig, {"r": 3, "config_A": "vector", "config_B": "vector"}, 24),
    (peft.GloraConfig, {"r": 3}, 24),
    (peft.GloraConfig, {"r": 3, "config_A_B": "constant"}, 24),
]


@pytest.mark.parametrize("config, settings, count", CASES, ids=lambda v: getattr(v, "__name__", None) or str(v))
def test_the_values_are_those_of_the_dense_matrix(config, settings, count):
    model = adapted(config, **settings)
    spectrum, expected = delta_spectrum(model, "0"), dense(model)
    assert spectrum.layer == "0" and spectrum.singular_values.shape == (count,)
    np.testing.assert_allclose(spectrum.singular_values, expected[:count], atol=1e-12 * expected[0])
    assert (np.abs(expected[count:]) < 1e-12 * expected[0]).all()
    assert spectrum.norm == pytest.approx(np.linalg.norm(expected), rel=1e-12)
    assert spectrum.effective_rank == pytest.approx(effective_rank(expected[:count]), rel=1e-9)


def test_dora_is_the_change_of_the_whole_weight():
    model = adapted(peft.LoraConfig, r=2, use_dora=True, init_lora_weights=True)
    adapted_layers(model)["0"].lora_magnitude_vector["default"].weight.data.mul_(torch.linspace(1, 2, 48))
    np.testing.assert_allclose(delta_spectrum(model, "0").singular_values, dense(model), atol=1e-12)


@given(k=st.sampled_from([1, 2, 3]), s=st.integers(1, 3), o=st.integers(1, 5), i=st.integers(1, 5), h=st.integers(0, 3))
def test_the_core_has_the_values_and_the_block_norms_of_any_grid(k, s, o, i, h):
    a, b = torch.randn(k, i, k * s).double(), torch.randn(k, k * s, o).double()
    general = (torch.randn(k * o, h).double(), torch.randn(h, k * i).double()) if h else None
    delta = torch.zeros(k, k, o, i, dtype=torch.double)
    for m in range(k):
        for n in range(k):  # PEFT's layout, spelled out
            delta[m, n] = (a[n][:, m * s : (m + 1) * s] @ b[m][n * s : (n + 1) * s]).T
    if general:
        delta = delta + (general[0] @ general[1]).view(k, o, k, i).transpose(1, 2)
    grid = Blocks(*block_factors(a, b))
    core = block_core(grid.with_lora(general[1], general[0]) if general else grid)
    torch.testing.assert_close(core.norm(dim=(2, 3)), delta.norm(dim=(2, 3)))
    whole, small = torch.linalg.svdvals(as_matrix(delta)), torch.linalg.svdvals(as_matrix(core))
    size = min(len(whole), len(small))
    torch.testing.assert_close(small[:size], whole[:size])
    assert whole[size:].abs().sum() < 1e-9 and small[size:].abs().sum() < 1e-9


def test_a_merged_layer_is_seen_from_its_original_weight():
    model = adapted(GloraConfig, r=2)
    before = delta_spectrum(model, "0")
    model.merge_adapter()
    assert delta_spectrum(model, "0") == before
    stock = adapted(peft.GloraConfig, r=2)
    stock.merge_adapter()
    with pytest.raises(ValueError, match=r"`layer` \(='0'\) has an adapter merged .* unmerge it first"):
        delta_spectrum(stock, "0")


def test_a_large_layer_is_seen_through_its_factors_or_refused():
    model = adapted(peft.LoraConfig, (1100, 1200), torch.float32, r=4)
    assert delta_spectrum(model, "0").singular_values.shape == (4,)
    model = adapted(GloraConfig, (1100, 1200), torch.float32, r=1)
    with pytest.raises(ValueError, match=r"`layer` \(='0'\) must be smaller .* 1200 × 1100 .* up to 1,024"):
        delta_spectrum(model, "0")


def test_a_fresh_adapter_has_no_direction():
    spectrum = delta_spectrum(adapted(peft.LoraConfig, r=4, init_lora_weights=True), "0")
    assert not spectrum.singular_values.any() and spectrum.effective_rank == 0
    assert spectrum.norm == spectrum.directions_for() == 0


def test_layers_and_adapters_that_are_not_there():
    model = adapted(GraloraConfig, r=4)
    model.add_adapter("other", GraloraConfig(r=2, gralora_k=1, target_modules=["0"], init_weights=False))
    assert len(delta_spectrum(model, "0", "other").singular_values) == 2
    with pytest.raises(ValueError, match=r"`adapter_name` \(='third'\).*default, other"):
        delta_spectrum(model, "0", "third")
    with pytest.raises(ValueError, match=r"`layer` \(='2'\) is no adapted layer"):
        delta_spectrum(model, "2")


def test_values_that_are_not_finite_are_refused():
    model = adapted(peft.LoraConfig, r=2)
    adapted_layers(model)["0"].lora_A["default"].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"`lora_A.weight` of layer '0' must hold finite numbers"):
        delta_spectrum(model, "0")


def test_effective_rank_counts_directions_by_their_size():
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0.0])) == pytest.approx(1)
    half = effective_rank(np.array([2.0, 1.0, 1.0]))  # entropy of ½, ¼, ¼ is 1.5 bit
    assert half == pytest.approx(2**1.5) and effective_rank(10 * np.array([2.0, 1.0, 1.0])) == pytest.approx(half)
    assert effective_rank(np.zeros(3)) == 0
