"""What is made, loaded or merged under `torch.inference_mode()` or `no_grad()` trains afterwards like anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter

from .small_models import SECOND_TUNER, expecting, gpt2

CONFIGS = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
MODES = {"inference_mode": torch.inference_mode, "no_grad": torch.no_grad}
WARNINGS = (SECOND_TUNER, "You are trying to modify a model with PEFT for a second time", "Already following adapters")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Setting:
    """The pieces that each door is tried with, made in the ordinary mode."""

    def __init__(self, adapter: str, folder: Path) -> None:
        self.cls, self.folder, self.base = CONFIGS[adapter], str(folder), Net()
        self.model = peft.get_peft_model(Net(), self.config())
        self.model.save_pretrained(self.folder)
        torch.manual_seed(1)
        self.low, self.transformer = Net().bfloat16(), gpt2()

    def config(self, **settings: Any) -> Any:
        usual = {"r": 4, "target_modules": ["first", "second"], "init_weights": False}
        return self.cls(**{**usual, **settings})

    def load(self, **settings: Any) -> nn.Module:
        self.model.load_adapter(self.folder, "second", is_trainable=True, **settings)
        self.model.set_adapter("second")
        return self.model

    def add(self, name: str = "second", **settings: Any) -> nn.Module:
        self.model.add_adapter(name, self.config(**settings))
        self.model.set_adapter(name)
        return self.model

    def swap(self, **settings: Any) -> nn.Module:
        other = peft.get_peft_model(self.base, self.config(**settings))
        hotswap_adapter(other, self.folder, "default")
        return other

    def weigh(self) -> nn.Module:
        self.model.add_adapter("second", self.config())
        self.model.add_weighted_adapter(["default", "second"], [1.0, 0.5], "sum", combination_type="cat")
        self.model.set_adapter("sum")
        return self.model

    def in_and_out(self) -> nn.Module:
        self.model.merge_adapter()
        self.model.unmerge_adapter()
        return self.model

    def in_and_disabled(self) -> nn.Module:
        self.model.merge_adapter()
        with self.model.disable_adapter():
            self.model(torch.randn(2, 8))
        return self.model

    def into_transformers(self) -> nn.Module:
        self.transformer.add_adapter(self.config(target_modules=["c_attn"]))
        return self.transformer

    def inject(self) -> nn.Module:
        peft.inject_adapter_in_model(self.config(), self.base)
        return self.base


DOORS: dict[str, Callable[[Setting], nn.Module]] = {
    "get_peft_model": lambda it: peft.get_peft_model(it.base, it.config()),
    "get_peft_model in bfloat16": lambda it: peft.get_peft_model(it.low, it.config()),
    "modules_to_save": lambda it: peft.get_peft_model(it.base, it.config(modules_to_save=["head"])),
    "inject_adapter_in_model": lambda it: it.inject(),
    "from_pretrained": lambda it: peft.PeftModel.from_pretrained(it.base, it.folder, is_trainable=True),
    "from_pretrained without data first": lambda it: peft.PeftModel.from_pretrained(
        it.base, it.folder, is_trainable=True, low_cpu_mem_usage=True
    ),
    "load_adapter": lambda it: it.load(),
    "load_adapter without data first": lambda it: it.load(low_cpu_mem_usage=True),
    "load_adapter of this library": lambda it: load_adapter(it.base, it.folder),
    "add_adapter": lambda it: it.add(),
    "add_adapter with modules_to_save": lambda it: it.add(modules_to_save=["head"]),
    "add_adapter of transformers": lambda it: it.into_transformers(),
    "hotswap_adapter": lambda it: it.swap(),
    "hotswap_adapter of another rank": lambda it: it.swap(r=2),
    "add_weighted_adapter": lambda it: it.weigh(),
    "merged and unmerged": lambda it: it.in_and_out(),
    "merged and disabled": lambda it: it.in_and_disabled(),
}


def trains(model: nn.Module, inputs: Tensor) -> None:
    """One step, in which all that should gets a gradient."""
    assert not [n for n, t in [*model.named_parameters(), *model.named_buffers()] if t.is_inference()]
    trained = [p for name, p in model.named_parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    out = model.train()(inputs)
    getattr(out, "logits", out).float().square().mean().backward()
    torch.optim.SGD(trained, lr=1e3).step()
    assert trained and all(p.grad is not None for p in trained)
    assert any(not torch.equal(p, old) for p, old in zip(trained, before, strict=True))


def inputs_for(model: nn.Module) -> Tensor:
    first = next(model.parameters())
    return torch.tensor([[3, 4, 5]]) if hasattr(model, "transformer") else torch.randn(2, 8).to(first.dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("adapter", CONFIGS)
def test_training_after(adapter, door, mode, tmp_path):
    setting = Setting(adapter, tmp_path)
    with MODES[mode]():
        model = DOORS[door](setting)
    for name, parameter in model.named_parameters():  # a weighted sum, and what is loaded to be used, start frozen
        if "sum" in name or (door == "load_adapter of this library" and "lora_" in name):
            parameter.requires_grad_()
    trains(model, inputs_for(model))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adapter", CONFIGS)
def test_training_before_a_layer_that_was_merged(adapter, mode, tmp_path):
    """Merged into the base for good, and merged for now with an adapter of another tuner before it."""
    model = Setting(adapter, tmp_path).model
    with MODES[mode]():
        base = model.merge_and_unload()
    trains(
        peft.get_peft_model(base, peft.LoraConfig(target_modules=["first"], init_lora_weights=False)), torch.ones(2, 8)
    )
    setting = Setting(adapter, tmp_path)
    lora = peft.get_peft_model(Net(), peft.LoraConfig(target_modules=["first"], init_lora_weights=False))
    with expecting(*WARNINGS):
        over = peft.get_peft_model(lora.base_model.model, setting.config())
        with MODES[mode]():
            over.merge_adapter()
        assert not any(tensor.is_inference() for tensor in over.state_dict().values())
        over.unmerge_adapter()
    trains(over, torch.ones(2, 8))


def test_the_mode_is_left_for_the_call_alone(tmp_path):
    setting = Setting("GLoRA", tmp_path)
    with torch.inference_mode():
        setting.model.merge_adapter()
        assert torch.is_inference_mode_enabled() and setting.model(torch.randn(2, 8)).is_inference()
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_nothing_that_is_merged_has_a_history(tmp_path):
    setting = Setting("GLoRA", tmp_path)
    with torch.inference_mode():
        base = setting.model.merge_and_unload()
    assert all(p.is_leaf and p.grad_fn is None for p in base.parameters())
