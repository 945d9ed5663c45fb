"""`add_weighted_adapter`: what the new adapter adds is the weighted sum of what the others add."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import peft
import pytest
import torch
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter

from .block_models import BlockNet
from .small_models import CHOICES, INERT, bits, conv1d, expecting, named, same_bits

NAMES = ("one", "two", "three")
W = (0.7, -1.3, 0.4)
TARGETS = {"target_modules": ["encoder", "decoder"], "init_weights": False}
X = torch.randn(5, 24, dtype=torch.double, generator=torch.Generator().manual_seed(3))


def model_with(*configs: peft.PeftConfig, net: nn.Module | None = None) -> peft.PeftModel:
    """A net in float64 with these adapters, called one, two, three."""
    net = (BlockNet() if net is None else net).double()
    model = peft.get_peft_model(net, configs[0], adapter_name="one").eval()
    for name, config in zip(NAMES[1:], configs[1:], strict=False):
        model.add_adapter(name, config)
    return model


def glora(choice: dict[str, str] | None = None, **settings) -> GloraConfig:
    modes = {f"config_{path}": mode for path, mode in (choice or {}).items()}
    return GloraConfig(**{"r": 3, **TARGETS, **modes, **settings})


def gralora(**settings) -> GraloraConfig:
    return GraloraConfig(**{"r": 8, "gralora_k": 2, "alpha": 16, **TARGETS, **settings})


def layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, "added")]


def added(layer: nn.Module, adapter: str) -> tuple[Tensor, Tensor]:
    """What the adapter adds to weight and bias, zeros where that is nothing."""
    weight, bias = layer.added([adapter] if layer.carries(adapter) else [], torch.float64)
    zeros = torch.zeros_like(layer.innermost.weight), torch.zeros(layer.out_features, dtype=torch.double)
    return tuple(zero if t is None else t for t, zero in zip((weight, bias), zeros, strict=True))


def is_the_sum(model: nn.Module, adapters: Sequence[str] = NAMES, new: str = "sum", atol: float = 1e-6) -> bool:
    """The new adapter, in float32 where PEFT made it so, against the sum in float64."""
    for layer in layers(model):
        for index, now in enumerate(added(layer, new)):
            expected = sum(w * added(layer, name)[index] for name, w in zip(adapters, W, strict=False))
            if not torch.allclose(now, expected, atol=atol):
                return False
    return True


def untouched(model: nn.Module, before: dict[str, Tensor]) -> bool:
    now = model.state_dict()
    return all(torch.equal(now[name], tensor) for name, tensor in before.items())


PAIRS = [(CHOICES[i], CHOICES[(5 * i + 17) % len(CHOICES)]) for i in range(0, len(CHOICES), 19)]
PAIRS = [pair for pair in PAIRS if all(set(choice.values()) != {"none"} for choice in pair)]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda choice: named(choice))
@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_any_two_choices_of_modes(one, other, form):
    """`cat` is exact, and so is `svd` at full rank; a diagonal beside a lora needs the latter."""
    a, b = glora(one, A_form=form, alpha=5), glora(other, A_form=form, r=2)
    if "lora" not in one.values() and "lora" not in other.values():
        a.alpha = None
    model = model_with(a, b, net=BlockNet())
    before = bits(model)
    hows = ["svd"] if form == "product" and {one["A"], other["A"]} >= {"lora", "vector"} else ["cat", "svd"]
    if form == "product" and {one["A"], other["A"]} == {"lora", "constant"}:
        hows = ["svd"]
    for how in hows:
        model.add_weighted_adapter(["one", "two"], W[:2], how, how, svd_rank=48 if how == "svd" else None)
        assert is_the_sum(model, NAMES[:2], how), how
    assert untouched(model, before)
    if hows == ["svd"]:
        with pytest.raises(
            ValueError, match=r"`config_A` \(='(vector|constant)'\) of adapter '...' in layer 'encoder' is a d"
        ):
            model.add_weighted_adapter(["one", "two"], W[:2], "sum", "cat")
        assert "sum" not in model.peft_config


GRALORA = {
    "blocks": [gralora(), gralora(r=4, alpha=3), gralora(use_rslora=True)],
    "hybrids": [gralora(hybrid_r=2), gralora(), gralora(hybrid_r=3, r=4)],
    "patterns": [gralora(rank_pattern={"encoder": 4}, k_pattern={"decoder": 4}), gralora(k_pattern={"decoder": 4})],
    "LoRA": [gralora(gralora_k=1), gralora(gralora_k=1, r=3)],
    "other layers": [gralora(target_modules=["encoder"], hybrid_r=1), gralora(target_modules=["decoder"], hybrid_r=2)],
}


@pytest.mark.parametrize("name", GRALORA)
def test_gralora_side_by_side(name):
    configs = copy.deepcopy(GRALORA[name])
    model = model_with(*configs)
    before, names = bits(model), NAMES[: len(configs)]
    model.add_weighted_adapter(list(names), W[: len(names)], "sum", "cat")
    assert is_the_sum(model, names) and untouched(model, before)
    config = model.peft_config["sum"]
    assert all(layer.scaling["sum"] == 1 for layer in layers(model)) and type(config) is GraloraConfig


@pytest.mark.parametrize("settings", [{}, {"gralora_k": 4}, {"hybrid_r": 2, "r": 4}, {"gralora_k": 1}])
def test_gralora_by_svd(settings):
    """At full rank exact, whatever the grids; below it, every block is as near as its rank allows."""
    model = model_with(gralora(), gralora(**settings))
    model.add_weighted_adapter(["one", "two"], W[:2], "full", svd_rank=48)
    assert is_the_sum(model, NAMES[:2], "full")
    model.add_weighted_adapter(["one", "two"], W[:2], "best", svd_rank=4)
    for layer in layers(model):
        whole, best = (_blocks(added(layer, name)[0], k=2) for name in ("full", "best"))
        lost = torch.linalg.svdvals(whole)[..., 2:].pow(2).sum(-1).sqrt()
        assert torch.allclose((whole - best).flatten(-2).norm(dim=-1), lost, atol=1e-5)


def _blocks(weight: Tensor, k: int) -> Tensor:
    return weight.unflatten(1, (k, -1)).unflatten(0, (k, -1)).transpose(1, 2)


def test_glora_by_svd_is_as_near_as_the_rank_allows():
    model = model_with(glora(), glora(r=4))
    model.add_weighted_adapter(["one", "two"], W[:2], "full", svd_rank=24)
    model.add_weighted_adapter(["one", "two"], W[:2], "best")
    assert model.peft_config["best"].r == 4  # the largest
    for layer in layers(model):
        whole, best = (layer.glora_B[name].matrix().double() for name in ("full", "best"))
        lost = torch.linalg.svdvals(whole)[4:].norm()
        assert torch.allclose((whole - best).norm(), lost, atol=1e-5)


ALIKE = {
    "GLoRA": lambda **s: GloraConfig.only(B="lora", **s),
    "GraLoRA": lambda **s: GraloraConfig(gralora_k=1, **s),
}


@pytest.mark.parametrize("how", ["cat", "svd", "linear"])
@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("weights", [W[:2], (0.5, 0.5)])
def test_what_is_a_lora_adds_up_as_pefts_loras_do(how, kind, weights):
    net = BlockNet()
    targets = {"target_modules": ["encoder", "decoder"]}
    lora = model_with(*(peft.LoraConfig(r=4, lora_alpha=8, **targets) for _ in range(2)), net=copy.deepcopy(net))
    ours = model_with(*(ALIKE[kind](r=4, alpha=8, **targets) for _ in range(2)), net=net)
    for name in ("encoder", "decoder"):
        theirs, mine = (getattr(model.base_model.model, name) for model in (lora, ours))
        for adapter in ("one", "two"):
            down, up = torch.randn_like(theirs.lora_A[adapter].weight), torch.randn_like(theirs.lora_B[adapter].weight)
            theirs.lora_A[adapter].weight.data, theirs.lora_B[adapter].weight.data = down, up
            a, b = mine.tensors(adapter).values()
            (b if kind == "GLoRA" else a).data.copy_(down if kind == "GLoRA" else down.T[None])
            (a if kind == "GLoRA" else b).data.copy_(up if kind == "GLoRA" else up.T[None])
    for model in (lora, ours):
        model.add_weighted_adapter(["one", "two"], list(weights), "sum", how)
        model.set_adapter("sum")
    assert torch.allclose(ours(X), lora(X), atol=1e-5)


@pytest.mark.parametrize("config", [glora(alpha=5), gralora(hybrid_r=2)], ids=["GLoRA", "GraLoRA"])
def test_one_adapter_is_scaled_exactly_and_keeps_its_rank(config):
    model = model_with(copy.deepcopy(config))
    for how in ("svd", "cat", "linear"):
        model.add_weighted_adapter(["one"], [-0.7], how, how)
        assert model.peft_config[how].r == config.r
        for layer in layers(model):
            for now, then in zip(added(layer, how), added(layer, "one"), strict=True):
                assert torch.allclose(now, -0.7 * then, atol=1e-6)


@pytest.mark.parametrize("kind", ["GLoRA", "GraLoRA"])
def test_a_sum_can_be_saved_scaled_merged_and_trained(kind, tmp_path):
    make = glora if kind == "GLoRA" else gralora
    net = BlockNet().double()
    model = model_with(make(r=4), make(r=8, target_modules=["encoder"]), net=copy.deepcopy(net))
    model.add_weighted_adapter(["one", "two"], W[:2], "sum", "cat")
    model.set_adapter("sum")
    expected = model(X)
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    assert torch.allclose(load_adapter(net, tmp_path / "sum")(X), expected, atol=1e-12)
    model.merge_adapter()
    assert torch.allclose(model(X), expected)
    model.unmerge_adapter()
    model.train()(X).sum().backward()
    assert any(p.grad is not None for name, p in model.named_parameters() if ".sum" in name)
    with expecting("Adapter sum was active which is now deleted"):
        model.delete_adapter("sum")
    assert list(model.peft_config) == ["one", "two"]


def test_the_new_adapter_is_frozen_and_the_active_one_stays():
    model = model_with(glora(), glora())
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    expected = model(X)
    model.add_weighted_adapter(["one", "two"], W[:2], "sum", "cat")
    now = {name: p.requires_grad for name, p in model.named_parameters()}
    assert {name: now[name] for name in before} == before
    assert not any(now[name] for name in now if name not in before) and now.keys() > before.keys()
    assert model.active_adapter == "one" and model.base_model.active_adapters == ["one"]
    assert torch.equal(model(X), expected)


def test_scales_and_merged_adapters_count_as_they_are():
    model = model_with(glora(alpha=4), glora())
    for layer in layers(model):
        layer.set_scale("two", 0.5)
    model.merge_adapter()
    with expecting("Adapter cannot be set when the model is merged. Unmerging the model first"):  # PEFT does, for any
        model.add_weighted_adapter(["one", "two"], W[:2], "sum", "cat")
    for layer in layers(model):
        for now, one, two in zip(*(added(layer, name) for name in ("sum", "one", "two")), strict=True):
            assert torch.allclose(now, W[0] * one + W[1] * two, atol=1e-6)  # "two" at half its size


def test_layers_of_every_kind():
    """Conv1D, layers without a bias, a mode that only one of them has, and one adapter that skips a layer."""
    net = BlockNet(bias=False)
    net.encoder = conv1d(24, 48)
    with expecting(INERT):
        model = model_with(
            glora(bias_free="add", path_pattern={"decoder": {"A": "none", "C": "vector"}}),
            glora(r=2, target_modules=["encoder"], rank_pattern={"encoder": 5}),
            glora(config_A_B="vector", target_modules="decoder|encoder"),
            net=net,
        )
        model.add_weighted_adapter(["one", "two"], W[:2], "sum", "cat")
    assert is_the_sum(model, NAMES[:2])
    assert not any(p.numel() for n, p in model.named_parameters() if "decoder.glora_A.sum" in n)


REFUSED = {
    "Adapter z does not exist": {"adapters": ["one", "z"]},
    r"`adapters` \(=\[\]\) must name at least one": {"adapters": [], "weights": []},
    r"`weights` \(=\[1.0\]\) must be one number for each of 2": {"weights": [1.0]},
    r"`weights` \(=nan\) must be a finite number": {"weights": [1.0, float("nan")]},
    "Invalid combination_type: ties. It must be one of 'svd', 'linear', 'cat'": {"combination_type": "ties"},
    "Invalid combination_type: foo": {"combination_type": "foo"},
    r"`svd_rank` \(=0\) must be an integer above 0": {"svd_rank": 0},
    r"`svd_rank` \(=3\) needs combination_type='svd'": {"svd_rank": 3, "combination_type": "cat"},
    r"`svd_clamp` \(=0.9\) must be None": {"svd_clamp": 0.9},
    r"`adapter_name` \(='one'\) is the name of an adapter that exists": {"adapter_name": "one"},
}


@pytest.mark.parametrize("make", [glora, gralora], ids=["GLoRA", "GraLoRA"])
@pytest.mark.parametrize("words", REFUSED)
def test_bad_arguments_are_named_and_nothing_changes(make, words):
    model = model_with(make(), make())
    before, known = bits(model), dict(model.peft_config)
    asked = {"adapters": ["one", "two"], "weights": [1.0, 0.5], "adapter_name": "sum", **REFUSED[words]}
    with pytest.raises(ValueError, match=words):
        model.add_weighted_adapter(**asked)
    assert same_bits(model, before) and model.peft_config == known


UNFIT = {
    "r value when using combination_type linear, and have 3, 4 in layer 'encoder'": (glora(), glora(r=4), "linear"),
    "r value when using .* have 4, 8 in layer 'encoder'": (gralora(), gralora(r=4), "linear"),
    r"have 8 \(hybrid_r 0\), 8 \(hybrid_r 1\) in layer": (gralora(), gralora(hybrid_r=1), "linear"),
    r"`gralora_k` \(=\[2, 4\]\) must be the same in layer 'encoder' for combination_type='cat'": (
        gralora(), gralora(gralora_k=4), "cat"
    ),
    r"`config_B` \(='vector'\) of adapter 'two' in layer 'encoder' has no factors": (
        glora(), glora(config_B="vector"), "linear"
    ),
    r"`A_form` \(='product'\) of adapter 'two' is not that of 'one' in layer 'encoder'": (
        glora(), glora(A_form="product"), "cat"
    ),
    r"`A_form` \(=\['elementwise', 'product'\]\) of the adapters differs from layer to layer": (
        glora(target_modules=["encoder"]), glora(A_form="product", target_modules=["decoder"]), "cat"
    ),
    r"`modules_to_save` \(=\['head'\]\) of adapter 'two': Cannot add weighted adapters": (
        glora(), glora(modules_to_save=["head"]), "cat"
    ),
    r"`bias` \(='all'\) of adapter 'two'": (glora(), glora(bias="all"), "cat"),
}  # fmt: skip


@pytest.mark.parametrize("words", UNFIT)
def test_adapters_that_cannot_be_added_up_are_refused_and_nothing_changes(words):
    one, other, how = copy.deepcopy(UNFIT[words])
    model = model_with(one, other)
    before, known = bits(model), dict(model.peft_config)
    with pytest.raises(ValueError, match=words):
        model.add_weighted_adapter(["one", "two"], [1.0, 0.5], "sum", how)
    assert same_bits(model, before) and model.peft_config == known


def test_svd_rank_is_divided_among_the_blocks():
    with pytest.raises(ValueError, match=r"`svd_rank` \(=5\) must be divisible by `gralora_k` \(=2\)"):
        model_with(gralora(), gralora()).add_weighted_adapter(["one", "two"], [1, 1], "sum", svd_rank=5)


def test_beneath_another_tuner_it_is_refused():
    model = model_with(glora(), glora())
    with expecting("You are trying to modify", "Already found a `peft_config`"):
        outer = peft.get_peft_model(model, peft.LoraConfig(target_modules=["encoder"]), adapter_name="over")
    before = bits(outer)
    with pytest.raises(ValueError, match=r"`adapters` \(=\['one', 'two'\]\) lie beneath another adapter in layer"):
        model.add_weighted_adapter(["one", "two"], [1, 1], "sum")
    assert same_bits(outer, before) and "sum" not in model.peft_config
