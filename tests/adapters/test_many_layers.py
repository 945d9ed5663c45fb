"""An adapter on hundreds of layers: the work grows with their number and not with its square, and is about LoRA's.

Work is counted in calls, Python's own and those of what it is built on: a busy machine makes no more of them.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

CONFIGS: dict[str, Callable[..., peft.PeftConfig]] = {
    "LoRA": lambda **where: peft.LoraConfig(r=2, **where),
    "GLoRA": lambda **where: GloraConfig(r=2, **where),
    "GraLoRA": lambda **where: GraloraConfig(r=2, **where),
}
FEW, MANY = 30, 90
PHASES = ("inject", "save", "load", "load a second", "add a third")


def model_of(count: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(4, 4) for _ in range(count)))


def calls(phase: Callable[[], object]) -> int:
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        phase()
    finally:
        sys.setprofile(None)
    return count


def work(method: str, count: int, folder: str) -> dict[str, int]:
    targets = [str(index) for index in range(count)]
    model, fresh, held = model_of(count), model_of(count), {}
    phases: dict[str, Callable[[], object]] = {
        "inject": lambda: held.update(model=peft.get_peft_model(model, CONFIGS[method](target_modules=targets))),
        "save": lambda: held["model"].save_pretrained(folder),
        "load": lambda: held.update(loaded=peft.PeftModel.from_pretrained(fresh, folder)),
        "load a second": lambda: held["loaded"].load_adapter(folder, "second"),
        "add a third": lambda: held["loaded"].add_adapter("third", CONFIGS[method](target_modules=targets)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: calls(phases[name]) for name in PHASES}


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, int]]:
    for method in CONFIGS:
        work(method, 2, str(tmp_path_factory.mktemp("warm")))
    return {
        (method, count): work(method, count, str(tmp_path_factory.mktemp("many")))
        for method in CONFIGS
        for count in (FEW, MANY)
    }


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("method", ["GLoRA", "GraLoRA"])
def test_the_work_grows_with_the_number_of_layers(counts, method, phase):
    few, many = (counts[method, count][phase] for count in (FEW, MANY))
    assert few and many / few < MANY / FEW * 1.15  # PEFT still holds each adapted layer's name against every other's


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("method", ["GLoRA", "GraLoRA"])
def test_the_work_is_about_lora_s(counts, method, phase):
    here, lora = counts[method, MANY][phase], counts["LoRA", MANY][phase]
    print(f"{method}, {phase}: {here:,} calls for {MANY} layers, {lora:,} for LoRA")
    tensors = 4 if (method, phase) == ("GLoRA", "save") else 1  # eight a layer, and LoRA two
    assert here <= 1.2 * tensors * lora


def test_what_is_inside_an_adapted_layer_is_left_to_peft_s_other_looks():
    model = peft.get_peft_model(model_of(3), GraloraConfig(r=2, target_modules=["0", "1"]))
    before = {name: tensor.requires_grad for name, tensor in model.named_parameters()}
    model.add_adapter("second", GraloraConfig(r=2, target_modules=["1", "2"]))
    assert "named_modules" not in vars(model.get_base_model())
    after = {name: tensor.requires_grad for name, tensor in model.named_parameters()}
    assert {name: after[name.replace("2.weight", "2.base_layer.weight")] for name in before if "2." not in name} == {
        name: flag for name, flag in before.items() if "2." not in name
    }
    assert not any(flag for name, flag in after.items() if name not in before)


@pytest.mark.parametrize("method", ["GLoRA", "GraLoRA"])
def test_loading_says_what_torch_would(tmp_path, method):
    model = peft.get_peft_model(model_of(2), CONFIGS[method](target_modules=["0", "1"], init_weights=False))
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(model_of(2), tmp_path)
    result = loaded.load_adapter(tmp_path, "second")
    assert not result.missing_keys and not result.unexpected_keys
    first, second = (
        {name.replace(adapter, "·"): tensor for name, tensor in loaded.named_parameters() if f".{adapter}" in name}
        for adapter in ("default", "second")
    )
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert not loaded._load_state_dict_pre_hooks and not loaded._load_state_dict_post_hooks
