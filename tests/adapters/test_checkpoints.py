"""Saving and loading: our checkpoints bit for bit, and those of stock PEFT read as ours."""

from __future__ import annotations

import copy
from collections import OrderedDict

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GloraLinear, GloraModel, load_adapter

from .small_models import INERT, Net, add, expecting, glora_model, gpt2, largest_difference, llama, saveable

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
WEIGHTS = "adapter_model.safetensors"
NONE = {"config_A_B": "none", "config_C": "none", "config_D_E": "none"}

SETTINGS = {
    "the defaults": {},
    "vectors": {"config_A_B": "vector", "config_C": "vector", "config_D_E": "vector"},
    "constants": {"config_A_B": "constant", "config_C": "none", "config_D_E": "constant"},
    "LoRA": {**NONE, "config_B": "lora", "alpha": 8, "use_rslora": True},
    "BitFit": {**NONE, "config_E": "vector"},
    "product form": {"A_form": "product"},
    "patterns": {
        "rank_pattern": {"encoder": 2},
        "alpha_pattern": {"decoder": 4},
        "path_pattern": {"decoder": {"A": "vector", "C": "none"}},
    },
    "patterns of which the first that matches counts": {
        "alpha": 2,
        "rank_pattern": {"encoder": 2, ".*coder": 4},
        "alpha_pattern": {"encoder": 3, ".*coder": 5},
        "path_pattern": {"encoder": {"B": "vector"}, ".*coder": {"B": "lora"}},
    },
    "a layer switched off": {"path_pattern": {"decoder": dict.fromkeys("ABCDE", "none")}},
    "a saved head": {"modules_to_save": ["head"]},
    "all biases": {"bias": "all"},
    "all biases and a saved head": {"bias": "all", "modules_to_save": ["head"]},
    "their biases": {"bias": "glora_only"},
    "bias-free layers": {"bias_free": "add"},
}


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "glora_" in name}


def trained(model: nn.Module) -> PeftModel:
    """The model with random values in everything that trains."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("name", saveable(SETTINGS))
@pytest.mark.parametrize("load", [PeftModel.from_pretrained, load_adapter])
def test_a_checkpoint_gives_the_same_bits(tmp_path, name, load):
    net = Net(bias=name != "bias-free layers")
    with expecting(INERT):
        model = trained(glora_model(copy.deepcopy(net), **SETTINGS[name]))
        model.save_pretrained(tmp_path)
        loaded = load(copy.deepcopy(net), tmp_path)
    assert type(loaded.base_model) is GloraModel and not loaded.training
    tensors, before = adapter_tensors(loaded), adapter_tensors(model)
    assert tensors.keys() == before.keys() and all(torch.equal(tensors[n], before[n]) for n in before)
    assert torch.equal(loaded(X), model(X))
    assert not any(p.requires_grad for n, p in loaded.named_parameters() if "glora_" in n)


@pytest.mark.parametrize("whole", ["down", "block"])
def test_all_biases_beside_modules_that_are_saved_whole(tmp_path, whole):
    """PEFT writes their biases twice, a deeper one's with the adapter's name in it."""
    net = nn.ModuleDict({"up": nn.Linear(6, 6), "block": nn.Sequential(OrderedDict(down=nn.Linear(6, 6)))})
    settings = {"target_modules": ["up"], "bias": "all", "modules_to_save": [whole]}
    model = trained(glora_model(copy.deepcopy(net), **settings))
    model.save_pretrained(tmp_path)
    loaded = load_adapter(net, tmp_path)
    down, expected = ([*m.base_model.model.block.modules()] for m in (loaded, model))
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(down), tensors_of(expected), strict=True))
    assert torch.equal(loaded.base_model.model.up(X), model.base_model.model.up(X))


def tensors_of(modules: list[nn.Module]) -> list[Tensor]:
    return [tensor for module in modules for tensor in module.parameters(recurse=False)]


def test_a_checkpoint_can_be_trained_further(tmp_path):
    model = trained(glora_model(Net()))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(Net(), tmp_path, is_trainable=True)
    assert all(p.requires_grad == ("glora_" in n) for n, p in loaded.named_parameters())


def test_a_second_adapter_from_disk(tmp_path):
    net = Net()
    first, second = glora_model(copy.deepcopy(net)), glora_model(copy.deepcopy(net), r=2, config_A_B="vector")
    trained(second).save_pretrained(tmp_path)
    first.load_adapter(tmp_path, "second")
    first.set_adapter("second")
    assert torch.equal(first(X), second(X))


def test_several_adapters_are_saved_side_by_side(tmp_path):
    net = Net()
    model = glora_model(copy.deepcopy(net))
    add(model, "second", config_A_B="vector")
    model.save_pretrained(tmp_path)
    for name, folder in (("default", tmp_path), ("second", tmp_path / "second")):
        model.set_adapter(name)
        assert torch.equal(load_adapter(copy.deepcopy(net), folder, adapter_name=name)(X), model(X))


def test_saving_a_merged_model_saves_the_adapter(tmp_path):
    net = Net()
    model = glora_model(copy.deepcopy(net))
    expected = model(X)
    model.merge_adapter()
    model.save_pretrained(tmp_path)
    assert torch.equal(load_adapter(copy.deepcopy(net), tmp_path)(X), expected)


def test_none_leaves_nothing_in_the_checkpoint(tmp_path):
    trained(glora_model(Net(), **{**NONE, "config_E": "vector"})).save_pretrained(tmp_path)
    names = [f"base_model.model.{layer}.glora_E.X" for layer in ("decoder", "encoder")]
    assert sorted(load_file(tmp_path / WEIGHTS)) == names


def test_loading_on_the_meta_device(tmp_path):
    net = Net()
    model = trained(glora_model(copy.deepcopy(net)))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(copy.deepcopy(net), tmp_path, low_cpu_mem_usage=True)
    assert torch.equal(loaded(X), model(X))


STOCK = [
    {"config_A_B": a_b, "config_C": c, "config_D_E": d_e}
    for a_b in ("lora", "vector", "constant", "none")
    for c in ("lora", "vector", "none")
    for d_e in ("vector", "constant", "none")
    if (a_b, c, d_e) != ("none", "none", "none")
]


def stock_model(net: nn.Module, **settings) -> PeftModel:
    return trained(peft.get_peft_model(net, peft.GloraConfig(r=3, **settings)).eval())


@pytest.mark.parametrize("settings", STOCK, ids=lambda s: "-".join(s.values()))
def test_a_stock_checkpoint_becomes_ours(tmp_path, settings):
    net = Net()
    stock = stock_model(copy.deepcopy(net), target_modules=["encoder", "decoder"], **settings)
    stock.save_pretrained(tmp_path)
    ours = load_adapter(copy.deepcopy(net), tmp_path)  # any warning, of unexpected keys too, fails the test
    assert type(ours.base_model) is GloraModel and type(ours.peft_config["default"]) is GloraConfig
    theirs = {n: t for n, t in adapter_tensors(stock).items() if not n.endswith("zeros")}
    tensors = adapter_tensors(ours)
    assert tensors.keys() == theirs.keys() and all(torch.equal(tensors[n], theirs[n]) for n in theirs)
    assert largest_difference(ours(X), stock(X)) < 1e-5


def test_a_stock_checkpoint_as_a_second_adapter(tmp_path):
    """`PeftModel.load_adapter` takes the class from the checkpoint's type; ours is added, then filled."""
    net = Net()
    stock = stock_model(copy.deepcopy(net), target_modules=["encoder"])
    stock.save_pretrained(tmp_path)
    model = glora_model(copy.deepcopy(net))
    model.add_adapter("second", GloraConfig.from_pretrained(tmp_path))
    model.load_adapter(tmp_path, "second")
    model.set_adapter("second")
    assert largest_difference(model(X), stock(X)) < 1e-5


def test_a_stock_checkpoint_of_a_bias_free_transformer(tmp_path):
    base, ids = llama(), torch.arange(6)[None]
    stock = stock_model(copy.deepcopy(base))
    stock.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=INERT):
        ours = load_adapter(copy.deepcopy(base), tmp_path)
    assert largest_difference(ours(ids).logits, stock(ids).logits) < 1e-5


def test_our_checkpoint_in_a_conv1d_transformer(tmp_path):
    base, ids = gpt2(), torch.arange(6)[None]
    model = trained(peft.get_peft_model(copy.deepcopy(base), GloraConfig()).eval())
    model.save_pretrained(tmp_path)
    loaded = load_adapter(copy.deepcopy(base), tmp_path)
    assert isinstance(loaded.base_model.model.transformer.h[0].attn.c_attn, GloraLinear)
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_other_types_load_as_peft_loads_them(tmp_path):
    net = Net()
    lora = trained(peft.get_peft_model(copy.deepcopy(net), peft.LoraConfig(target_modules=["encoder"])).eval())
    lora.save_pretrained(tmp_path)
    loaded = load_adapter(copy.deepcopy(net), tmp_path)
    assert type(loaded.base_model) is peft.LoraModel and torch.equal(loaded(X), lora(X))


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        load_adapter(Net(), tmp_path)


def test_a_checkpoint_of_another_model_leaves_the_model_as_it_was(tmp_path):
    trained(glora_model(Net())).save_pretrained(tmp_path)
    other = nn.Sequential(nn.Linear(6, 6))
    with pytest.raises(ValueError, match="matches no layer"):
        load_adapter(other, tmp_path)
    assert type(other[0]) is nn.Linear and not hasattr(other, "peft_config")
