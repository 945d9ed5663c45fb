"""Operations of the matrix: what becomes of the base's weights, and how adapters are scaled and added up."""

from __future__ import annotations

import copy

import peft
import torch
from peft.helpers import rescale_adapter_scale
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.hotswap import hotswap_adapter
from torch import Tensor, nn

from glora_lab.adapters.tuner.layer import LabLayer

from .case import Case, NotHere, known_warnings, near, same, same_tensors
from .living import parts

TIED = ("Model has `tie_word_embeddings=True`", "Model with `tie_word_embeddings=True`", "Input and output embeddings")


def merging_and_unmerging(case: Case) -> None:
    """Merged computes the same; unmerged is the same, to the bit, for any order of two adapters."""
    model = case.adapted()
    model.add_adapter("second", case.config())
    model.base_model.set_adapter(["default", "second"])
    expected, before = case.out(model), case.tensors(model)
    model.merge_adapter()
    assert near(case.out(model), expected)
    model.unmerge_adapter()
    assert same_tensors(model, before) and same(case.out(model), expected)
    model.merge_adapter(["second"])
    model.merge_adapter(["default"])
    assert near(case.out(model), expected)
    model.unmerge_adapter()
    assert same_tensors(model, before)


def safe_merging_of_a_broken_adapter(case: Case) -> None:
    """Refused, with every layer as it was."""
    model = case.adapted()
    next(p for name, p in model.named_parameters() if case.prefix in name).data.fill_(float("nan"))
    before = {name: tensor for name, tensor in case.tensors(model).items() if case.prefix not in name}
    try:
        model.merge_adapter(safe_merge=True)
    finally:
        assert all(same(model.state_dict()[name], tensor) for name, tensor in before.items())
        assert model.get_model_status().merged_adapters == []


def merge_and_unload(case: Case) -> None:
    """The model's own class with plain layers, saved and loaded by transformers as any other."""
    model = case.adapted()
    expected = case.out(model)
    plain = model.merge_and_unload(safe_merge=True)
    assert type(plain) is type(case.family.model()) and near(case.out(plain), expected)
    assert not any(isinstance(module, BaseTunerLayer) for module in plain.modules())
    assert plain.state_dict().keys() == case.family.model().state_dict().keys()
    expected = case.out(plain)
    plain.save_pretrained(case.folder)
    assert same(case.out(type(plain).from_pretrained(case.folder)), expected)


def unload(case: Case) -> None:
    """The base as it was, merged before or not."""
    before = case.tensors(case.family.model())
    for merged in (False, True):
        model = case.adapted()
        if merged:
            model.merge_adapter()
        plain = model.unload()
        assert same_tensors(plain, before) and same(case.out(plain), case.base_out())


def the_delta_weight(case: Case) -> None:
    """`get_delta_weight` is what merging adds, in the layout of the weight."""
    model = case.adapted()
    layer = parts(model)[0]
    name = getattr(layer, "parameter_name", "weight")  # of experts' wrappers, one parameter of many
    base, delta = getattr(layer.get_base_layer(), name).clone(), layer.get_delta_weight("default")
    assert delta.shape == base.shape and delta.dtype == base.dtype
    model.merge_adapter()
    assert near(getattr(layer.get_base_layer(), name), base + delta)
    assert same(layer.get_delta_weight("default"), delta)


def a_weighted_sum(case: Case) -> None:
    """Ranks side by side and the SVD at full rank are exact; the sum is a new adapter, frozen and not active."""
    model = case.adapted()
    model.add_adapter("second", case.config(r=4))
    first = case.out(model)
    for how, rank in (("cat", None), ("svd", 16)):
        model.add_weighted_adapter(["default", "second"], [0.5, -2.0], how, combination_type=how, svd_rank=rank)
        for layer in parts(model):
            found = [_added(layer, name) for name in ("default", "second", how)]
            for one, other, total in zip(*found, strict=True):
                assert one is None or torch.allclose(0.5 * one - 2 * other, total, atol=1e-6)
    assert same(case.out(model), first)
    assert not any(p.requires_grad for name, p in model.named_parameters() if ".cat" in name or ".svd" in name)


def _added(layer: nn.Module, name: str) -> tuple[Tensor | None, ...]:
    return layer.added([name], torch.float64) if isinstance(layer, LabLayer) else (layer.get_delta_weight(name),)


def a_scale(case: Case) -> None:
    """`scale_layer`, `unscale_layer`, `set_scale` and `rescale_adapter_scale` scale all that the adapter adds."""
    model = case.adapted()
    layer, full = parts(model)[0], case.out(model)
    delta = layer.get_delta_weight("default")
    with rescale_adapter_scale(model, 0.5):
        assert near(layer.get_delta_weight("default"), 0.5 * delta)
        half = case.out(model)
    assert same(case.out(model), full) and not same(half, full)
    for one in parts(model):
        one.scale_layer(0.5)
    assert same(case.out(model), half)
    for one in parts(model):
        one.unscale_layer()
    assert same(case.out(model), full)
    for one in parts(model):
        one.set_scale("default", 0)
    assert near(case.out(model), case.base_out())


def a_hot_swap(case: Case) -> None:
    """Another checkpoint under the same name, in the same parameters."""
    model, other = case.adapted(), case.adapted()
    other.save_pretrained(case.folder)
    parameters = {id(p) for p in model.parameters()}
    assert not same(case.out(model), case.out(other))
    hotswap_adapter(model, str(case.folder), "default")
    assert same(case.out(model), case.out(other))
    assert {id(p) for p in model.parameters()} == parameters


def tied_embeddings(case: Case) -> None:
    """An adapter on a head that shares the embedding's weight: merging unties, unmerging ties again."""
    if not case.family.ties:
        raise NotHere("has no head that is tied to an embedding")
    with known_warnings(*TIED):
        model = case.adapted(target_modules=["lm_head"], **({"config_C": "none"} if case.adapter == "GLoRA" else {}))
        expected, inner = case.out(model), model.get_base_model()
        embedding = inner.get_input_embeddings().weight
        before = embedding.clone()
        model.merge_adapter()
        assert near(case.out(model), expected) and same(embedding, before)
        model.unmerge_adapter()
        assert inner.lm_head.get_base_layer().weight is embedding and same(case.out(model), expected)
        plain = model.merge_and_unload()
    assert near(case.out(plain), expected) and same(plain.get_input_embeddings().weight, before)
    expected = case.out(plain)
    plain.save_pretrained(case.folder)
    assert same(case.out(type(plain).from_pretrained(case.folder)), expected)


def over_a_lora(case: Case) -> None:
    """Both count and merge together; unmerging leaves what PEFT's own LoRA leaves, to rounding."""
    lora = peft.get_peft_model(case.family.model(), _lora(case)).eval()
    over = case.out(lora)
    model = peft.get_peft_model(lora, case.config()).eval()
    expected, before = case.out(model), case.tensors(model)
    assert not same(expected, over)
    model.merge_adapter()
    assert near(case.out(model), expected)
    model.unmerge_adapter()
    assert near(case.out(model), expected)
    assert all(near(tensor, before[name]) for name, tensor in model.state_dict().items())
    with model.disable_adapter():  # PEFT disables every tuner's
        assert near(case.out(model), case.base_out())


def beneath_a_lora(case: Case) -> None:
    model = case.adapted()
    under = case.out(model)
    both = peft.get_peft_model(model, _lora(case)).eval()
    expected = case.out(both)
    assert not same(expected, under)
    merged = copy.deepcopy(both)
    merged.merge_adapter()
    assert near(case.out(merged), expected)
    for layer in parts(both):
        if isinstance(layer, LabLayer):
            layer.set_scale("default", 0)
    assert not same(case.out(both), expected) and not same(case.out(both), case.base_out())
    with both.disable_adapter():
        assert near(case.out(both), case.base_out())


def merging_over_the_other_of_ours(case: Case) -> None:
    """GLoRA over GraLoRA, or the reverse: they run together, and merging is refused."""
    other = Case({"GLoRA": "GraLoRA", "GraLoRA": "GLoRA"}[case.adapter], case.family, case.folder)
    model = peft.get_peft_model(other.adapted(), case.config()).eval()
    expected, before = case.out(model), case.tensors(model)
    try:
        model.merge_adapter()
    finally:
        assert same_tensors(model, before) and same(case.out(model), expected)


def _lora(case: Case) -> peft.LoraConfig:
    return peft.LoraConfig(r=2, target_modules=[case.family.target], init_lora_weights=False)
