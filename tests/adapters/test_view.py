"""view.py: ΔW of any layer in float64 from the original weights, and GraLoRA's blocks."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.view import adapter_parameters, delta_matrix, factor_pairs

from .block_models import BlockNet as Net
from .block_models import R, config, encoder, gralora_layer, stock_and_ours
from .small_models import conv1d, largest_difference

CONFIGS = {
    "LoRA": peft.LoraConfig(r=4, lora_alpha=6, init_lora_weights=False),
    "rsLoRA": peft.LoraConfig(r=4, use_rslora=True, init_lora_weights=False),
    "DoRA": peft.LoraConfig(r=4, use_dora=True, init_lora_weights=False),
    "GLoRA": GloraConfig.only(A="lora", B="lora", init_weights=False),
    "GLoRA vectors": GloraConfig.only(A="vector", B="vector", init_weights=False),
    "GLoRA constants": GloraConfig.only(A="constant", B="constant", init_weights=False),
    "GLoRA product": GloraConfig.only(A="lora", B="none", A_form="product", alpha=4, init_weights=False),
    "stock GLoRA": peft.GloraConfig(r=4, config_C="none", config_D_E="none", init_weights=False),
    "stock GLoRA vectors": peft.GloraConfig(
        config_A_B="vector", config_C="none", config_D_E="none", init_weights=False
    ),
    "GraLoRA": config(GraloraConfig),
    "hybrid GraLoRA": config(GraloraConfig, hybrid_r=3),
    "stock GraLoRA": config(peft.GraloraConfig),
    "stock hybrid GraLoRA": config(peft.GraloraConfig, hybrid_r=3),
}
NEEDS_THE_WEIGHT = {"DoRA", "stock GLoRA", "stock GLoRA vectors"}


class Net1D(Net):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = conv1d(24, 48), conv1d(48, 24)


NOT_IN_STOCK = {("stock GLoRA", Net1D), ("stock GLoRA vectors", Net1D)}  # it takes no Conv1D


def adapted(name: str, net: nn.Module) -> nn.Module:
    made = CONFIGS[name]
    made.target_modules = ["encoder", "decoder"]
    if hasattr(made, "fan_in_fan_out"):
        made.fan_in_fan_out = isinstance(net, Net1D)
    return peft.get_peft_model(net, made).eval()


def asked(layer: nn.Module) -> Tensor:
    """ΔW found by asking the layer for its output on every unit vector."""
    units = torch.eye(layer.in_features, dtype=torch.double)
    return (layer(units) - layer(0 * units)).T - (layer.base_layer(units) - layer.base_layer(0 * units)).T


@pytest.mark.parametrize("name, kind", [(n, k) for n in CONFIGS for k in (Net, Net1D) if (n, k) not in NOT_IN_STOCK])
def test_delta_is_what_the_layer_adds(name, kind):
    layer = encoder(adapted(name, kind().double()))
    delta = delta_matrix(layer)
    assert delta.shape == (48, 24) and delta.dtype == torch.double
    assert largest_difference(delta, asked(layer)) < 1e-12 and delta.abs().max() > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_a_merged_layer_has_the_same_delta_or_says_that_it_cannot_tell(name):
    layer = encoder(adapted(name, Net()))
    delta = delta_matrix(layer)
    layer.merge()
    if name in NEEDS_THE_WEIGHT:
        with pytest.raises(ValueError, match="unmerge it first"):
            delta_matrix(layer)
    else:
        assert torch.equal(delta_matrix(layer), delta)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_reach_the_parameters(name):
    layer, g = encoder(adapted(name, Net().double())), torch.randn(48, 24, dtype=torch.double)
    parameters = [p for _, p in adapter_parameters(layer, "default") if p.requires_grad]
    through_delta = torch.autograd.grad((delta_matrix(layer) * g).sum(), parameters, allow_unused=True)
    units = torch.eye(24, dtype=torch.double)
    through_layer = torch.autograd.grad((layer(units) * g.T).sum(), parameters, allow_unused=True)
    for one, other in zip(through_delta, through_layer, strict=True):
        assert one is not None and largest_difference(one, other) < 1e-10


def test_delta_is_computed_in_float64():
    layer = gralora_layer(nn.Linear(24, 48).bfloat16())
    a, b = (p.detach().double() for p in layer.blocks("default"))
    wanted = gralora_layer(nn.Linear(24, 48).double())
    wanted.load_state_dict({"gralora_A.default": a, "gralora_B.default": b}, strict=False)
    assert largest_difference(delta_matrix(layer), wanted.get_delta_weight("default")) < 1e-14


@pytest.mark.parametrize("k", [1, 2, 4])
def test_blocks_of_ours_and_of_stock(k):
    for model in stock_and_ours(Net().double(), gralora_k=k, alpha=12):
        layer = encoder(model)
        found = factor_pairs(layer)
        assert found.B.shape == (k, k, 48 // k, R // k) and found.A.shape == (k, k, 24 // k, R // k)
        assert found.scaling == 12 / R
        grid = torch.cat([torch.cat([found.B[m, n] @ found.A[m, n].T for n in range(k)], 1) for m in range(k)])
        assert largest_difference(found.scaling * grid, delta_matrix(layer)) < 1e-12


def test_a_block_reads_its_inputs_and_writes_its_outputs():
    """n is the input block and m the output block: not the other way round."""
    layer = gralora_layer(nn.Linear(24, 48).double())
    found = factor_pairs(layer)
    x = torch.zeros(24, dtype=torch.double)
    x[6:12] = torch.randn(6)  # input block 1
    added = layer(x) - layer.base_layer(x)
    for m in range(4):
        wanted = found.scaling * found.B[m, 1] @ (found.A[m, 1].T @ x[6:12])
        assert largest_difference(added[m * 12 : (m + 1) * 12], wanted) < 1e-12


def test_refusals():
    model = adapted("LoRA", Net())
    with pytest.raises(ValueError, match=r"`adapter` \(='other'\).*default"):
        delta_matrix(encoder(model), "other")
    with pytest.raises(ValueError, match="carries GLoRA whose ΔW is no product of factors: it has no blocks"):
        factor_pairs(encoder(adapted("GLoRA", Net())))
    with pytest.raises(ValueError, match=r"`adapter` \(='other'\).*default"):
        factor_pairs(encoder(adapted("GraLoRA", Net())), "other")
    ia3 = peft.get_peft_model(Net(), peft.IA3Config(target_modules=["encoder"], feedforward_modules=[]))
    with pytest.raises(ValueError, match="none of LoRA, GLoRA and GraLoRA"):
        delta_matrix(encoder(ia3))
    conv = peft.LoraConfig(target_modules=["0"])
    conv_layer = peft.get_peft_model(nn.Sequential(nn.Conv2d(2, 2, 3)), conv).base_model.model[0]
    with pytest.raises(ValueError, match="no plain product"):
        delta_matrix(conv_layer)
