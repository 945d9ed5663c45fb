"""Whatever `save_pretrained` writes loads again with equal outputs, or it refuses before it writes."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER

from .block_models import BlockNet
from .small_models import INERT, SECOND_TUNER, bits, expecting, same_bits
from .test_injection import fingerprint

X = torch.randn(3, 24, generator=torch.Generator().manual_seed(1))
CLASSES = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
each_kind = pytest.mark.parametrize("kind", CLASSES)
TAKEN = ["encoder", "decoder", "head", "model", "base_model", "base_layer", "original_module", "modules_to_save"]
TAKEN += ["glora_A", "gralora_A", "gralora_B_general", "Xd", "Xu", "X", "weight", "bias", "a/b", "Default", "0", "é"]
CONTAINED = "should not be contained in the prefix"  # PEFT's warning, which ours does not need
AGAIN = "You are trying to modify a model with PEFT for a second time"


def config(kind: str, **settings) -> peft.PeftConfig:
    settings = {"r": 4, "init_weights": False, "target_modules": ["encoder", "decoder"], **settings}
    return CLASSES[kind](**settings)


def check_all_load_again(model: PeftModel, base: nn.Module, folder: Path, names: list[str] | None = None) -> None:
    """Save, and hold what is loaded to what the model says with each adapter."""
    model.save_pretrained(folder, selected_adapters=names)
    for name in names or list(model.peft_config):
        model.set_adapter(name)
        with expecting(f".*{CONTAINED}"):
            for called in ("default", name):
                loaded = load_adapter(
                    copy.deepcopy(base), folder if name == "default" else folder / name, adapter_name=called
                )
                with torch.no_grad():
                    assert torch.allclose(loaded(X), model(X), atol=1e-6), (name, called)


@each_kind
@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("beside", ["none", "bias", "modules_to_save"])
def test_a_name_that_others_have_is_saved_right(tmp_path, name, beside, kind):
    only = {"GLoRA": "glora_only", "GraLoRA": "gralora_only"}[kind]
    settings = {"none": {}, "bias": {"bias": only}, "modules_to_save": {"modules_to_save": ["head"]}}[beside]
    if beside == "bias" and not PEFT_ASKS_THE_TUNER:
        pytest.skip("this PEFT saves no biases")
    base = BlockNet()
    model = get_peft_model(copy.deepcopy(base), config(kind, **settings)).eval()
    if beside == "bias":
        for parameter in (p for p in model.parameters() if p.requires_grad):
            nn.init.normal_(parameter, std=0.3)
    second = {} if beside == "bias" else settings  # PEFT trains the biases of one adapter
    if (name, beside, kind) == ("head", "modules_to_save", "GLoRA"):  # its paths are modules, called like the adapter
        with pytest.raises(ValueError, match="You are trying to target a module with"):
            model.add_adapter(name, config(kind, **second))
        return
    if model.base_model.prefix in name and not PEFT_ASKS_THE_TUNER:
        with pytest.raises(ValueError, match=r"^`adapter_name` .* must be a name without 'g\w+_'"):
            model.add_adapter(name, config(kind, **second))
        return
    with expecting(f".*{CONTAINED}"):
        model.add_adapter(name, config(kind, **second))
    if beside == "modules_to_save":
        for number, whole in enumerate(model.base_model.model.head.modules_to_save.values()):
            nn.init.constant_(whole.bias, number + 1.0)
    old = beside == "modules_to_save" and name in ("weight", "bias") and not PEFT_ASKS_THE_TUNER
    if old:
        with pytest.raises((ValueError, KeyError)):
            check_all_load_again(model, base, tmp_path)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    else:  # trained biases are the base's, and change what the other says as well
        check_all_load_again(model, base, tmp_path, ["default"] if beside == "bias" else None)


REFUSED = ["a.b", "", ".", "..", "../up", "train", "keys", "forward", "type", "parameters", "/tmp/x", "n" * 201, "a\0b"]


@each_kind
@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_cannot_be_kept_is_refused_in_words(tmp_path, name, kind):
    model = get_peft_model(BlockNet(), config(kind))
    model.save_pretrained(tmp_path)
    calls = [
        lambda: model.add_adapter(name, config(kind)),
        lambda: model.load_adapter(tmp_path, name),
        lambda: get_peft_model(net, config(kind), adapter_name=name),
        lambda: load_adapter(net, tmp_path, adapter_name=name),
    ]
    net = BlockNet()
    before = [(one, fingerprint(one), bits(one)) for one in (model, net)]
    for call in calls:
        with expecting(f".*{CONTAINED}"), pytest.raises(ValueError, match=r"^`adapter_name` \(='.* must be a name"):
            call()
        assert all(fingerprint(one) == print and same_bits(one, tensors) for one, print, tensors in before)


TARGETS = [["encoder"], ["decoder"], ["encoder", "decoder"]]


@each_kind
@pytest.mark.parametrize("first, then", list(itertools.product(TARGETS, TARGETS)), ids=str)
def test_twice_on_one_base_is_saved_right_or_not_at_all(tmp_path, first, then, kind):
    base = BlockNet()
    twice = copy.deepcopy(base)
    get_peft_model(twice, config(kind, target_modules=first))
    with expecting(AGAIN, SECOND_TUNER):
        model = get_peft_model(twice, config(kind, target_modules=then)).eval()
    if set(first) <= set(then):
        return check_all_load_again(model, base, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"does not name all its layers \(not (en|de)coder\)\. Nothing is written"):
        model.save_pretrained(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("adapter_config.json", "{}")]


@each_kind
def test_several_adapters_and_some_of_them(tmp_path, kind):
    base = BlockNet()
    model = get_peft_model(copy.deepcopy(base), config(kind, modules_to_save=["head"])).eval()
    model.add_adapter("encoder", config(kind, target_modules=["decoder"], r=8))
    model.add_adapter("decoder", config(kind, target_modules=["encoder"], exclude_modules=["decoder"]))
    for number, chosen in enumerate([None, ["encoder"], ["default", "decoder"], ["decoder", "encoder"]]):
        check_all_load_again(model, base, tmp_path / str(number), chosen)


@each_kind
def test_a_merged_model_is_saved_as_well(tmp_path, kind):
    base = BlockNet(bias=False)
    settings = {"bias_free": "add", "config_E": "vector"} if kind == "GLoRA" else {}
    with expecting(INERT):
        model = get_peft_model(copy.deepcopy(base), config(kind, **settings)).eval()
    expected = model(X)
    with expecting("Merging gives layer"):
        model.merge_adapter()
    model.save_pretrained(tmp_path)
    with expecting(INERT):
        assert torch.allclose(load_adapter(copy.deepcopy(base), tmp_path)(X), expected, atol=1e-6)


def test_stock_adapters_are_saved_as_peft_saves_them(tmp_path):
    model = get_peft_model(BlockNet(), peft.LoraConfig(target_modules=["encoder", "decoder"]))
    model.add_adapter("encoder", peft.LoraConfig(target_modules=["encoder", "decoder"]))
    assert len(peft.get_peft_model_state_dict(model, adapter_name="default")) == 2  # two are lost, as ever
