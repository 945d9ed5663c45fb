"""Other tuners' layers around ours: a LoRA put over it, and DoRA, which looks at the weight's norm."""

from __future__ import annotations

import copy
import itertools
import pickle

import peft
import pytest
import torch
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import GAINED_BIAS, INERT, SECOND_TUNER, Net, expecting, largest_difference

X = torch.randn(4, 6, dtype=torch.double, generator=torch.Generator().manual_seed(2))
TWICE = "You are trying to modify a model with PEFT for a second time"
TARGETS = ["encoder", "decoder"]
OURS = {
    "GLoRA": GloraConfig(r=3, target_modules=TARGETS, init_weights=False),
    "GLoRA, product": GloraConfig(
        r=3, A_form="product", config_D_E="vector", target_modules=TARGETS, init_weights=False
    ),
    "GLoRA, vector": GloraConfig(config_A_B="vector", config_C="vector", target_modules=TARGETS, init_weights=False),
    "GraLoRA": GraloraConfig(r=2, gralora_k=1, target_modules=TARGETS, init_weights=False),
}
READS_W0 = [name for name in OURS if name != "GraLoRA"]


def under_lora(ours: str, how: str = "on the model", bias: bool = True, **lora) -> nn.Module:
    """A net with ours and a stock LoRA over it, both random."""
    config = peft.LoraConfig(r=2, target_modules=TARGETS, init_lora_weights=False, **lora)
    with expecting(SECOND_TUNER, TWICE, INERT):
        inner = peft.get_peft_model(Net(bias).double(), OURS[ours])
        model = peft.get_peft_model(inner if how == "on the model" else inner.base_model.model, config)
    return model.eval()


def stack(model: nn.Module) -> dict[str, nn.Module]:
    layers = {}
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.Linear):
            layers["outer"], layers["ours"] = module, module.base_layer
    return layers  # of the decoder, which comes last


def weights(model: nn.Module) -> list[Tensor]:
    return [t.clone() for n, t in model.state_dict().items() if n.endswith(("base_layer.weight", "base_layer.bias"))]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) > 0 and all(largest_difference(x, y) < 1e-14 for x, y in zip(a, b, strict=True))


HOW = ["on the model", "injected"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("ours", OURS)
def test_merging_a_model_with_a_lora_over_ours(ours, how):
    model = under_lora(ours, how)
    expected, before = model(X), weights(model)
    for _ in range(2):
        model.merge_adapter()
        assert largest_difference(model(X), expected) < 1e-12
        assert stack(model)["outer"].merged and stack(model)["ours"].merged
        model.unmerge_adapter()
        assert same(weights(model), before) and largest_difference(model(X), expected) < 1e-12


@pytest.mark.parametrize("lora", [{}, {"lora_bias": True}], ids=str)
@pytest.mark.parametrize("merges", list(itertools.permutations(["outer", "ours"])))
@pytest.mark.parametrize("unmerges", list(itertools.permutations(["outer", "ours"])))
@pytest.mark.parametrize("ours", OURS)
def test_every_order(ours, merges, unmerges, lora):
    model = under_lora(ours, **lora)
    layers, expected, before = stack(model), model(X), weights(model)
    for name in merges:
        layers[name].merge()
    assert largest_difference(model(X), expected) < 1e-12
    for name in unmerges:
        layers[name].unmerge()
    assert largest_difference(model(X), expected) < 1e-12 and same(weights(model), before)


@pytest.mark.parametrize("ours", OURS)
def test_ours_alone_gives_exact_bits_back_beneath_a_lora(ours):
    model = under_lora(ours)
    layer, before = stack(model)["ours"], weights(model)
    layer.merge()
    layer.unmerge()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


@pytest.mark.parametrize("ours", OURS)
def test_a_lora_merged_alone_is_right_or_refused(ours):
    model = under_lora(ours)
    layers, expected = stack(model), model(X)
    layers["outer"].merge()
    if ours == "GraLoRA":
        assert largest_difference(model(X), expected) < 1e-12
        return
    for act in (lambda: model(X), lambda: layers["ours"].weight_terms("default")):
        with pytest.raises(ValueError, match=r"'decoder' carries GloraLinear beneath lora\.Linear.*merge both"):
            act()
    layers["ours"].merge()
    assert largest_difference(model(X), expected) < 1e-12


@pytest.mark.parametrize("outer_merged", [False, True])
@pytest.mark.parametrize("ours", ["GLoRA, vector", "GraLoRA"])
def test_a_refused_safe_merge_leaves_every_bit(ours, outer_merged):
    model = under_lora(ours)
    layers = stack(model)
    if outer_merged:
        layers["outer"].merge()
    broken = layers["ours"].glora_B["default"].X if "GLoRA" in ours else layers["ours"].gralora_B["default"]
    broken.data[0] = float("nan")
    before = weights(model)
    for act in (lambda: layers["ours"].merge(safe_merge=True), layers["ours"].check_mergeable):
        with pytest.raises(ValueError, match=r"NaNs.*decoder"):
            act()
        assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert layers["outer"].merged == outer_merged and not layers["ours"].merged


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_knows_its_own_outer_layers(how):
    model = under_lora("GLoRA")
    twin = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    expected, before = model(X), weights(model)
    twin.merge_adapter()
    assert largest_difference(twin(X), expected) < 1e-12 and same(weights(model), before)
    twin.unmerge_adapter()
    assert same(weights(twin), before)
    alone = copy.deepcopy(stack(model)["ours"])
    assert alone.outer == [] and stack(model)["ours"].outer == [stack(model)["outer"]]


def test_a_gained_bias_beneath_a_lora():
    config = GloraConfig(r=3, bias_free="add", target_modules=TARGETS, init_weights=False)
    with expecting(SECOND_TUNER, TWICE, INERT, GAINED_BIAS):
        inner = peft.get_peft_model(Net(bias=False).double(), config)
        lora = peft.LoraConfig(r=2, target_modules=TARGETS, init_lora_weights=False)
        model = peft.get_peft_model(inner, lora).eval()
        expected, before = model(X), weights(model)
        model.merge_adapter()
    assert largest_difference(model(X), expected) < 1e-12
    model.unmerge_adapter()
    assert same(weights(model), before)


@pytest.mark.parametrize("ours", OURS)
def test_merging_beneath_a_dora_is_refused(ours):
    model = under_lora(ours, use_dora=True)
    layers, expected, before = stack(model), model(X), weights(model)
    with pytest.raises(ValueError, match=r"'decoder' carries .* beneath a DoRA"):
        layers["ours"].merge()
    assert same(weights(model), before) and torch.equal(model(X), expected)
    layers["outer"].merge()
    with pytest.raises(ValueError, match=r"'decoder' carries .* beneath a DoRA"):
        model(X)
    layers["outer"].unmerge()
    assert largest_difference(model(X), expected) < 1e-12


def over_dora(ours: str) -> nn.Module:
    config = peft.LoraConfig(r=2, target_modules=TARGETS, init_lora_weights=False, use_dora=True)
    inner = peft.get_peft_model(Net().double(), config).base_model.model
    for module in inner.modules():
        for magnitude in getattr(module, "lora_magnitude_vector", {}).values():
            magnitude.weight.data *= 1.5
    with expecting(SECOND_TUNER, TWICE):
        return peft.get_peft_model(inner, OURS[ours]).eval()


@pytest.mark.parametrize("ours", OURS)
def test_merging_over_a_dora(ours):
    """Refused while the DoRA is not merged; right after it is, and unmerged in either order."""
    model = over_dora(ours)
    expected, before = model(X), weights(model)
    with pytest.raises(ValueError, match=r"over a DoRA.*merge the inner DoRA first"):
        model.merge_adapter()
    assert same(weights(model), before) and torch.equal(model(X), expected)
    layer = model.base_model.model.decoder
    for first, last in itertools.permutations([layer, layer.base_layer]):
        layer.base_layer.merge()
        layer.merge()
        assert largest_difference(model(X), expected) < 1e-12
        first.unmerge()
        if first is layer:
            assert largest_difference(model(X), expected) < 1e-12
        else:
            with pytest.raises(ValueError, match="unmerge it last"):
                model(X)
        last.unmerge()
        assert largest_difference(model(X), expected) < 1e-12 and same(weights(model), before)


@pytest.mark.parametrize("how", ["merge_adapter", "merge_and_unload"])
def test_one_dora_among_the_layers_leaves_all_unmerged(how):
    config = peft.LoraConfig(r=2, target_modules=["decoder"], init_lora_weights=False, use_dora=True)
    inner = peft.get_peft_model(Net().double(), config).base_model.model
    with expecting(SECOND_TUNER, TWICE):
        model = peft.get_peft_model(inner, OURS["GLoRA"]).eval()
    expected, before = model(X), weights(model)
    with pytest.raises(ValueError, match="'decoder' carries"):
        getattr(model, how)()
    assert same(weights(model), before) and torch.equal(model(X), expected)
    assert not model.base_model.model.encoder.merged


@pytest.mark.parametrize("ours", READS_W0)
def test_w0_over_a_dora_is_the_matrix_that_it_computes(ours):
    layer = over_dora(ours).base_model.model.encoder
    base, inner = layer.frozen_base(), layer.base_layer
    bias = inner(torch.zeros(1, 6, dtype=torch.double))[0]
    weight = (inner(torch.eye(6, dtype=torch.double)) - bias).T
    assert base.bias.shape == bias.shape and largest_difference(base.bias, bias) < 1e-12
    assert largest_difference(base.product(X[0]), weight @ X[0]) < 1e-12 and base.product(X[0]).ndim == 1
