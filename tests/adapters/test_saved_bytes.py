"""What a step keeps, computes and stores, counted exactly: bytes for the backward pass, FLOPs, a checkpoint's bytes."""

from __future__ import annotations

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from glora_lab.adapters import GloraConfig, GraloraConfig

IN, OUT, TOKENS, R = 320, 320, 96, 8
NONE = dict.fromkeys("ABCDE", "none")
LORA = {
    "A lora": {**NONE, "A": "lora"},
    "B lora": {**NONE, "B": "lora"},
    "C lora": {**NONE, "C": "lora"},
    "lora without A": {"A": "none", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
    "all lora": {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
}
LIGHT = {
    mode: dict.fromkeys("ABCDE", mode) if mode == "vector" else {**dict.fromkeys("ABDE", mode), "C": "none"}
    for mode in ("vector", "constant")
}
KS, RANKS = (2, 4, 8), (8, 32)


def adapted(config: peft.PeftConfig | None, dtype: torch.dtype = torch.float32, out: int = OUT) -> nn.Module:
    """The layer as `get_peft_model` makes it, with nothing at zero; without a configuration, one that trains itself."""
    torch.manual_seed(0)
    layer = nn.Linear(IN, out).to(dtype)
    if config is None:
        return layer
    config.target_modules = ["layer"]
    model = peft.get_peft_model(nn.ModuleDict({"layer": layer}), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.02)
    return model.base_model.model["layer"]


def saved(layer: nn.Module, tokens: int = TOKENS) -> int:
    """Bytes of the distinct storages that autograd keeps, without what the layer holds anyway."""
    held = {t.untyped_storage().data_ptr() for t in layer.state_dict().values()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(2, tokens // 2, IN, dtype=next(layer.parameters()).dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    assert out.requires_grad
    return sum(size for address, size in kept.items() if address not in held)


def flops(layer: nn.Module, tokens: int = TOKENS) -> int:
    x = torch.randn(2, tokens // 2, IN, dtype=next(layer.parameters()).dtype, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    return counter.get_total_flops()


def glora(choice: dict[str, str], dtype: torch.dtype = torch.float32, out: int = OUT, **settings) -> nn.Module:
    return adapted(GloraConfig.only(**choice, r=R, **settings), dtype, out)


def lora(r: int = R, dtype: torch.dtype = torch.float32, out: int = OUT) -> nn.Module:
    return adapted(peft.LoraConfig(r=r, lora_alpha=r), dtype, out)


def gralora(k: int, r: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    return adapted(GraloraConfig(r=r, alpha=r, gralora_k=k, hybrid_r=0), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LORA)
def test_lora_modes_keep_at_most_what_lora_keeps(name, dtype):
    assert saved(lora(dtype=dtype), TOKENS) > 0
    assert saved(glora(LORA[name], dtype)) <= saved(lora(dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LIGHT)
def test_vector_and_constant_modes_keep_hardly_more(name, dtype):
    assert saved(glora(LIGHT[name], dtype)) <= 1.3 * saved(lora(dtype=dtype))


def test_stock_glora_keeps_a_matrix_of_the_size_of_the_weight():
    """What the figures above are measured against: it keeps W_eff, whatever the mode."""
    for mode in ("lora", "vector"):
        assert saved(adapted(peft.GloraConfig(r=R, config_A_B=mode))) >= IN * OUT * 4
    assert saved(glora(LORA["all lora"])) < IN * OUT * 4


@pytest.mark.parametrize("r", RANKS)
@pytest.mark.parametrize("k", KS)
def test_gralora_keeps_its_wider_latent_and_no_more(k, r):
    assert saved(gralora(k, r)) <= saved(lora(r)) + k * r * TOKENS * 4


# In units of 2·in·out FLOPs per token: the layer's own product, its transpose, and the dense gradient of a weight
FLOORS = {
    "D and E alone": ({**NONE, "D": "vector", "E": "vector"}, 2),
    "vectors": (LIGHT["vector"], 2),
    "constants": (LIGHT["constant"], 2),
    "A lora": (LORA["A lora"], 3),
}


@pytest.mark.parametrize("name", FLOORS)
def test_w0_is_multiplied_no_more_than_it_has_to_be(name):
    """Beside these there are only thin products: r·(in + out) per token, and r·in·out each time A is formed."""
    choice, products = FLOORS[name]
    unit = 2 * IN * OUT * TOKENS
    formed = 4 * 2 * R * IN * OUT if "lora" in choice.values() else 0
    assert products * unit <= flops(glora(choice)) <= products * unit + formed + 8 * TOKENS * (IN + OUT)


def test_lora_a_computes_what_full_fine_tuning_does_and_stock_glora_much_more():
    full = flops(adapted(None))
    assert full == 3 * 2 * IN * OUT * TOKENS
    ours, stock = flops(glora(LORA["A lora"])), flops(adapted(peft.GloraConfig(r=R)))
    assert ours == full + 4 * 2 * R * IN * OUT  # A twice, and its two factors' gradients
    assert stock > 1.6 * full


@pytest.mark.parametrize("tokens", [2, TOKENS])
def test_the_product_form_costs_what_a_lora_does(tokens):
    product = glora(LORA["A lora"], A_form="product")
    assert flops(product, tokens) == flops(lora(), tokens)


@pytest.mark.parametrize("name", ["B lora", "lora without A"])
def test_b_costs_what_lora_does(name):
    c = (
        2 * 2 * IN * OUT + 6 * 2 * R * IN if LORA[name]["C"] == "lora" else 0
    )  # C is one more token, once in each direction
    assert flops(glora(LORA[name])) <= flops(lora()) + c


@pytest.mark.parametrize("r", RANKS)
@pytest.mark.parametrize("k", KS)
def test_gralora_costs_less_than_lora(k, r):
    """LoRA − (k−1)·r·T multiplications a direction, in the paper's count; here the thin products are counted whole."""
    assert flops(gralora(k, r)) <= flops(lora(r))


SETTINGS = {
    **{name: GloraConfig.only(**choice, r=R) for name, choice in {**LORA, **LIGHT}.items()},
    "GraLoRA": GraloraConfig(r=32, gralora_k=4, hybrid_r=8),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoint_is_the_trained_values_and_little_else(name, tmp_path):
    config = SETTINGS[name]
    config.target_modules = ["layer"]
    model = peft.get_peft_model(nn.ModuleDict({"layer": nn.Linear(IN, OUT)}), config)
    model.save_pretrained(tmp_path)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    stored = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert trained <= stored <= trained + 16 * 1024
