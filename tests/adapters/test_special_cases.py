"""The methods that GLoRA contains: each equal to its own definition, at rest and in training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters import GloraLinear

from .small_models import Net, glora_layer, largest_difference

NONE = dict.fromkeys("ABCDE", "none")
X = torch.randn(16, 6, dtype=torch.double, generator=torch.Generator().manual_seed(3))
TARGET = torch.randn(16, 8, dtype=torch.double, generator=torch.Generator().manual_seed(4))


def train(forward: Callable[[Tensor], Tensor], parameters: Iterable[nn.Parameter], steps: int = 10) -> Tensor:
    """Some steps of Adam on a regression; the outputs after them."""
    optimizer = torch.optim.Adam(list(parameters), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(forward(X), TARGET).backward()
        optimizer.step()
    return forward(X)


def adapter_parameters(layer: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in layer.named_parameters() if not name.startswith("base_layer")]


def lora_pair(**lora_settings) -> tuple[nn.Module, GloraLinear]:
    """A stock LoRA layer and ours with B alone, over the same base and with the same weights."""
    net = Net().double()
    scale = {"alpha": lora_settings["lora_alpha"], "use_rslora": lora_settings.get("use_rslora", False)}
    ours = glora_layer(
        copy.deepcopy(net.encoder),
        {**NONE, "B": "lora"},
        r=4,
        glora_dropout=lora_settings.get("lora_dropout", 0.0),
        **scale,
    )
    config = peft.LoraConfig(r=4, target_modules=["encoder"], init_lora_weights=False, **lora_settings)
    stock = peft.get_peft_model(net, config).base_model.model.encoder
    with torch.no_grad():
        ours.glora_B["default"].Xu.copy_(stock.lora_A["default"].weight)
        ours.glora_B["default"].Xd.copy_(stock.lora_B["default"].weight)
    ours.base_layer.requires_grad_(False)
    return stock, ours


LORA = [{"lora_alpha": 4}, {"lora_alpha": 16}, {"lora_alpha": 16, "use_rslora": True}]


@pytest.mark.parametrize("settings", LORA, ids=str)
def test_b_alone_is_lora(settings):
    stock, ours = lora_pair(**settings)
    assert torch.equal(stock(X), ours(X))
    assert largest_difference(stock.get_delta_weight("default"), ours.get_delta_weight("default")) < 1e-12
    assert torch.equal(train(stock, adapter_parameters(stock)), train(ours, adapter_parameters(ours)))


def test_b_alone_without_alpha_is_lora_with_alpha_equal_to_r():
    stock, ours = lora_pair(lora_alpha=4)
    unscaled = glora_layer(ours.base_layer, {**NONE, "B": "lora"}, r=4, alpha=None)
    unscaled.load_state_dict(ours.state_dict())
    assert torch.equal(unscaled(X), stock(X))


def test_dropout_is_that_of_lora_for_the_same_seed():
    stock, ours = lora_pair(lora_alpha=8, lora_dropout=0.5)
    torch.manual_seed(7)
    expected = stock.train()(X)
    torch.manual_seed(7)
    assert torch.equal(ours.train()(X), expected)
    assert not torch.equal(ours(X), expected)
    assert torch.equal(ours.eval()(X), stock.eval()(X))


def test_e_vector_is_bitfit():
    """Training E is training the layer's own bias."""
    plain = nn.Linear(6, 8).double()
    ours = glora_layer(copy.deepcopy(plain), {**NONE, "E": "vector"}, init_weights=True)
    expected = train(plain, [plain.bias])
    assert largest_difference(train(ours, adapter_parameters(ours)), expected) < 1e-12
    ours.merge()
    assert largest_difference(ours.base_layer.bias, plain.bias) < 1e-12


@pytest.mark.parametrize("bias", [True, False])
def test_a_and_d_tied_are_ia3(bias):
    """(IA)³ scales a layer's output by l: a = d = l − 1, and A alone where there is no bias."""
    net = Net(bias).double()
    ours = glora_layer(copy.deepcopy(net.encoder), {**NONE, "A": "vector", "D": "vector" if bias else "none"})
    config = peft.IA3Config(target_modules=["encoder"], feedforward_modules=[])
    stock = peft.get_peft_model(net, config).base_model.model.encoder
    scale = stock.ia3_l["default"]
    with torch.no_grad():
        scale.normal_()
        tied = [module["default"].X for module in (ours.glora_A, ours.glora_D) if "default" in module]
        for parameter in tied:
            parameter.copy_(scale.flatten().reshape(parameter.shape) - 1)
    assert largest_difference(ours(X), stock(X)) < 1e-12

    # tied parameters add their gradients: one step of training agrees as well
    F.mse_loss(ours(X), TARGET).backward()
    F.mse_loss(stock(X), TARGET).backward()
    assert largest_difference(sum(p.grad.flatten() for p in tied), scale.grad.flatten()) < 1e-12


def ssf_layer(base: nn.Linear, scale: Tensor, shift: Tensor) -> GloraLinear:
    layer = glora_layer(base, {**NONE, "A": "vector", "D": "vector", "E": "vector"})
    with torch.no_grad():
        layer.glora_A["default"].X.copy_(scale[:, None] - 1)
        layer.glora_D["default"].X.copy_(scale - 1)
        layer.glora_E["default"].X.copy_(shift)
    return layer


def test_a_d_and_e_are_ssf():
    """SSF scales and shifts a layer's output: y·γ + β."""
    base, scale, shift = nn.Linear(6, 8).double(), torch.randn(8).double(), torch.randn(8).double()
    scale.requires_grad_()
    shift.requires_grad_()
    ours, own = ssf_layer(base, scale, shift), base(X) * scale + shift
    assert largest_difference(ours(X), own) < 1e-12

    F.mse_loss(ours(X), TARGET).backward()
    F.mse_loss(own, TARGET).backward()
    a, d, e = (getattr(ours, f"glora_{path}")["default"].X.grad.flatten() for path in "ADE")
    assert largest_difference(a + d, scale.grad) < 1e-12
    assert largest_difference(e, shift.grad) < 1e-12


def test_c_adds_one_vector_to_every_token():
    """The relative of visual prompts: W0·(x + c) + b0."""
    ours = glora_layer(nn.Linear(6, 8).double(), {**NONE, "C": "vector"})
    c = ours.glora_C["default"].X.flatten()
    assert largest_difference(ours(X), ours.base_layer(X + c)) < 1e-12


def test_a_constant_scales_the_weight():
    ours = glora_layer(nn.Linear(6, 8).double(), {**NONE, "A": "constant"})
    base, a = ours.base_layer, ours.glora_A["default"].X
    assert largest_difference(ours(X), F.linear(X, base.weight * (1 + a), base.bias)) < 1e-12
