"""Scales: all of what an adapter adds follows them, in every mode, as LoRA's does."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from peft.helpers import rescale_adapter_scale
from torch import nn

from glora_lab.adapters import GraloraConfig, export_peft
from glora_lab.measure import xray

from .block_models import BlockNet
from .small_models import CHOICES, Net, add, bits, expecting, glora_model, largest_difference, named, same_bits

X = torch.randn(4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(2))
ON = [choice for choice in CHOICES if set(choice.values()) != {"none"}]
SOME = [choice for index, choice in enumerate(ON) if index % 23 == 0 or set(choice.values()) == {"lora", "none"}]


def gralora(model: nn.Module, **settings) -> peft.PeftModel:
    config = GraloraConfig(r=8, init_weights=False, target_modules=["encoder", "decoder"], **settings)
    return peft.get_peft_model(model, config).eval()


def deltas(model: nn.Module) -> list[torch.Tensor]:
    """What is added to weight and bias of each layer."""
    return [t for layer in tuners(model) for t in layer.added(layer.active_adapters, torch.float64) if t is not None]


def tuners(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, "scale_layer")]


@pytest.mark.parametrize("choice", SOME, ids=named)
@pytest.mark.parametrize("training", [True, False])
def test_every_path_follows_the_scale(choice, training):
    modes = {f"config_{path}": mode for path, mode in choice.items() if mode != "none"}
    off = {f"config_{path}": "none" for path in "ABDE" if choice[path] == "none"}
    model = glora_model(Net().double(), **{"config_C": choice["C"], **modes, **off}, alpha=5).train(training)
    layer = model.base_model.model.encoder
    before, base = deltas(model), layer.base_layer(X)
    whole = layer(X) - base
    with rescale_adapter_scale(model, 0.25):
        assert all(torch.allclose(now, 0.25 * then) for now, then in zip(deltas(model), before, strict=True))
        assert torch.allclose(layer(X) - base, 0.25 * whole)
    assert all(torch.equal(now, then) for now, then in zip(deltas(model), before, strict=True))


@pytest.mark.parametrize("settings", [{}, {"hybrid_r": 2, "use_rslora": True}], ids=["blocks", "hybrid"])
def test_gralora_follows_the_scale(settings):
    model, x = gralora(BlockNet().double(), **settings), torch.randn(3, 24, dtype=torch.double)
    layer = model.base_model.model.encoder
    whole = layer(x) - layer.base_layer(x)
    with rescale_adapter_scale(model, -2):
        assert torch.allclose(layer(x) - layer.base_layer(x), -2 * whole)
    assert torch.equal(layer(x) - layer.base_layer(x), whole)


def test_the_words_of_lora():
    """The same calls on a LoRA and on a GLoRA with B alone give the same scalings."""
    net = Net()
    lora = peft.get_peft_model(copy.deepcopy(net), peft.LoraConfig(r=4, lora_alpha=6, target_modules=["encoder"]))
    ours = glora_model(net, r=4, alpha=6, config_A="none", config_B="lora", config_C="none", config_D_E="none")
    theirs, ours = lora.base_model.model.encoder, ours.base_model.model.encoder
    calls = [("scale_layer", 3), ("scale_layer", 0.5), ("unscale_layer", 3), ("set_scale", "default", 2)]
    calls += [("scale_layer", 7), ("unscale_layer",), ("set_scale", "unknown", 3), ("scale_layer", 1)]
    for name, *values in calls:
        getattr(theirs, name)(*values)
        getattr(ours, name)(*values)
        assert ours.scaling == theirs.scaling, (name, values)
    assert ours.factor("default") == 1


def test_only_active_adapters_are_scaled():
    model = glora_model(Net())
    add(model, "second")
    layer = model.base_model.model.encoder
    layer.scale_layer(0.5)
    assert layer.scaling == {"default": 0.5, "second": 1.0}
    model.set_adapter("second")
    layer.unscale_layer(4)
    assert layer.scaling == {"default": 0.5, "second": 0.25}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", None])
def test_bad_scales_are_named(value):
    layer = glora_model(Net()).base_model.model.encoder
    with pytest.raises(ValueError, match=r"`scale` \(=.*\) must be a finite number"):
        layer.scale_layer(value)
    with pytest.raises(ValueError, match=r"`scale` \(=.*\) must be a finite number"):
        layer.set_scale("default", value)
    with pytest.raises(ValueError, match=r"`scale` \(=0\) must not be 0"):
        layer.unscale_layer(0)
    assert layer.scaling == {"default": 1.0}


def test_a_scale_is_merged_and_a_change_of_it_is_refused_until_unmerged():
    model = glora_model(Net().double())
    before = bits(model)
    for layer in tuners(model):
        layer.set_scale("default", 0.5)
    expected = model(X)
    model.merge_adapter()
    assert largest_difference(model(X), expected) < 1e-12
    with (
        rescale_adapter_scale(model, 2),
        pytest.raises(ValueError, match=r"`scaling` of adapter 'default' \(=1.0\) was 0.5 when .* 'encoder'"),
    ):
        model(X)
    assert largest_difference(model(X), expected) < 1e-12
    for layer in tuners(model):
        layer.scale_layer(2)
    for refused in (model.merge_adapter, model.merge_and_unload, lambda: model.merge_adapter(safe_merge=True)):
        with pytest.raises(ValueError, match="call `unmerge_adapter` first"):
            refused()
    model.unmerge_adapter()
    assert same_bits(model, before)
    assert torch.equal(model(X), glora_again(model, before))


def glora_again(model: nn.Module, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The output of a model made anew with these tensors, which no one has scaled."""
    fresh = glora_model(Net().double())
    fresh.load_state_dict(state)
    return fresh(X)


def test_an_export_has_no_word_for_a_scale(tmp_path):
    model = glora_model(Net())
    model.base_model.model.decoder.set_scale("default", 0.5)
    with pytest.raises(ValueError, match=r"`scale` \(=0.5\) in layer 'decoder' is not saved"):
        export_peft(model, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("mode", ["lora", "vector"])
def test_the_xray_of_a_scaled_model(mode):
    model = glora_model(Net(), config_A_B=mode)
    full = xray(model).rows[0].norm
    with rescale_adapter_scale(model, 0.25):
        assert xray(model).rows[0].norm == pytest.approx(full / 4)


def test_a_model_without_adapters_is_told_so_in_pefts_words():
    with pytest.raises(ValueError, match="scaling is only supported for models with `LoraLayer`s"):
        rescale_adapter_scale(Net(), 0.5).__enter__()


def test_lora_is_rescaled_as_ever_also_beneath_ours():
    net, x = Net(), torch.randn(4, 6)
    base = net(x)
    config = peft.LoraConfig(target_modules=["encoder"], init_lora_weights=False)
    model = peft.get_peft_model(net, config).eval()
    for _ in range(2):
        full = model(x)
        with rescale_adapter_scale(model, 0):
            assert torch.equal(model(x), base) and not torch.equal(full, base)
        assert torch.equal(model(x), full)
        with expecting("You are trying to modify", "Already found a `peft_config`"):
            model = glora_model(model)
