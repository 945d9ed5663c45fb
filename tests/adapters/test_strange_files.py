"""A stranger's adapter: one set of rules at every door, refusals of bounded length, and a model left alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel
from peft.utils import hotswap
from safetensors.torch import load_file, save_file
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig, load_adapter
from glora_lab.adapters.files import not_finite
from glora_lab.measure import xray

from .block_models import BlockNet, gralora_model
from .small_models import bits, glora_model, same_bits
from .test_injection import fingerprint

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAKE = {"GLoRA": glora_model, "GraLoRA": gralora_model}
CLASSES = {"GLoRA": GloraConfig, "GraLoRA": GraloraConfig}
each_kind = pytest.mark.parametrize("kind", MAKE)
FIRST = {"GLoRA": "encoder.glora_B.Xd", "GraLoRA": "encoder.gralora_A"}
DOORS = {
    "load_adapter": lambda kind, model, folder: load_adapter(model, folder),
    "PeftModel.from_pretrained": lambda kind, model, folder: PeftModel.from_pretrained(model, folder),
    "from_pretrained": lambda kind, model, folder: CLASSES[kind].from_pretrained(folder),
    "xray": lambda kind, model, folder: xray(folder),
    "a second adapter": lambda kind, model, folder: model.load_adapter(folder, "second"),
    "hotswap_adapter": lambda kind, model, folder: hotswap.hotswap_adapter(model, str(folder), "default"),
}
WITH_TENSORS = [name for name in DOORS if name != "from_pretrained"]


def carried(door: str, kind: str) -> nn.Module:
    """A model as this door wants it."""
    return MAKE[kind](BlockNet(), r=4) if door in ("a second adapter", "hotswap_adapter") else BlockNet()


def refused(door: str, kind: str, folder: Path) -> str:
    model = carried(door, kind)
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError) as caught:
        DOORS[door](kind, model, folder)
    assert fingerprint(model) == before and same_bits(model, tensors)
    assert len(str(caught.value)) <= 1_000
    return str(caught.value)


def written(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)


def changed(folder: Path, **values) -> None:
    written(folder, json.dumps({**json.loads((folder / CONFIG).read_text()), **values}))


def put(folder: Path, name: str, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["base_model.model." + name] = change(tensors["base_model.model." + name])
    save_file(tensors, folder / WEIGHTS)


DEEP = '{"peft_type": "GLORA_LAB", "target_modules": ' + "[" * 100_000 + "]" * 100_000 + "}"
ODD = {
    "nested too deeply": lambda folder: written(folder, DEEP),
    "a list at the top": lambda folder: written(folder, "[]"),
    "a number at the top": lambda folder: written(folder, "3"),
    "a list for a type": lambda folder: changed(folder, peft_type=["GLORA_LAB"]),
    "a dict for a type": lambda folder: changed(folder, peft_type={"GLORA_LAB": 1}),
    "no type known": lambda folder: changed(folder, peft_type="x" * 100_000),
    "a setting called cls": lambda folder: changed(folder, cls=1),
    "a setting called self": lambda folder: changed(folder, self=None),
    "an integer that nobody writes": lambda folder: written(folder, '{"peft_type": ' + "9" * 5_000 + "}"),
    "a rank of 100 kB": lambda folder: changed(folder, r="y" * 100_000),
    "1,000 settings": lambda folder: changed(folder, **{f"odd_{n}": "z" * 1_000 for n in range(1_000)}),
    "names without end": lambda folder: changed(folder, target_modules=[["x"] * 100_000]),
}


@each_kind
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("odd", ODD)
def test_odd_json_is_one_clear_refusal(tmp_path, odd, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    ODD[odd](tmp_path)
    assert re.search(r"adapter_config\.json|`\w+` \(=", refused(door, kind, tmp_path))


@each_kind
@pytest.mark.parametrize("door", [door for door in DOORS if door != "xray"])  # which does not ask for a task
@pytest.mark.parametrize("name", ["base_model_name_or_path", "revision", "peft_version", "auto_mapping"])
def test_names_are_names(tmp_path, name, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    deep = []
    for _ in range(300):
        deep = [deep]
    changed(tmp_path, **{name: deep})
    assert refused(door, kind, tmp_path).startswith(f"`{name}` (=[[")


@each_kind
@pytest.mark.parametrize("door", [door for door in DOORS if door != "xray"])
def test_a_task_that_is_none_is_not_repeated_at_length(tmp_path, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    changed(tmp_path, task_type="y" * 100_000)
    assert refused(door, kind, tmp_path).startswith("Invalid task type: ")


@each_kind
def test_a_derived_adapter_is_swapped_for_one_of_its_kind(tmp_path, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    derived = {"GLoRA": NotedGlora, "GraLoRA": NotedGralora}[kind]
    model = peft.get_peft_model(BlockNet(), derived(r=2, target_modules=["encoder", "decoder"])).eval()
    hotswap.hotswap_adapter(model, str(tmp_path), "default")
    x = torch.randn(2, 24)
    assert torch.equal(model(x), load_adapter(model.unload(), tmp_path)(x))


@each_kind
@pytest.mark.parametrize("door", WITH_TENSORS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.bool, torch.complex64], ids=str)
def test_numbers_that_are_not_real_are_refused(tmp_path, dtype, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    put(tmp_path, FIRST[kind], lambda tensor: tensor.to(dtype))
    said = refused(door, kind, tmp_path)
    assert "real numbers" in said and FIRST[kind].partition(".")[0] in said


def test_whole_modules_keep_counts_that_are_integers(tmp_path):
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    config = GloraConfig(target_modules=["0"], modules_to_save=["1"])
    peft.get_peft_model(net, config).save_pretrained(tmp_path)
    fresh = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    load_adapter(fresh, tmp_path)
    name = "1.running_mean"
    put(tmp_path, name, lambda tensor: tensor.int())
    with pytest.raises(ValueError, match=rf"no real numbers, as weights are: {name} is in I32"):
        load_adapter(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), tmp_path)


@each_kind
@pytest.mark.parametrize("door", [door for door in WITH_TENSORS if door != "xray"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_named(tmp_path, value, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    put(tmp_path, FIRST[kind], lambda tensor: torch.full_like(tensor, value))
    with pytest.warns(UserWarning, match=rf"NaN or infinity in .*encoder\.{FIRST[kind].split('.')[1]}") as caught:
        DOORS[door](kind, carried(door, kind), tmp_path)
    assert len(caught) == 1
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        xray(tmp_path)


def test_a_sum_that_overflows_is_no_infinity():
    large = torch.full((4, 4), 3e38)
    assert not_finite({"large": large, "double": torch.full((2,), 1e300, dtype=torch.float64)}) == []
    odd = {"a": torch.tensor([torch.inf, -torch.inf]), "b": torch.tensor(torch.nan), "c": large, "d": torch.zeros(0)}
    assert not_finite(odd) == ["a", "b"]


@each_kind
@pytest.mark.parametrize("door", ["load_adapter", "PeftModel.from_pretrained", "from_pretrained", "a second adapter"])
def test_a_setting_that_is_new_and_idle_changes_nothing(tmp_path, door, kind):
    MAKE[kind](BlockNet(), r=4).save_pretrained(tmp_path)
    changed(tmp_path, new_one=None, new_two=False, new_three=[], new_four={}, new_five="")
    with pytest.warns(UserWarning, match="not in use, are ignored: new_five, new_four, new_one, new_three, new_two"):
        DOORS[door](kind, carried(door, kind), tmp_path)
    assert "not in use" in xray(tmp_path).notes[0]
    changed(tmp_path, new_two=True)
    assert "does not know: new_two=True; update glora_lab" in refused(door, kind, tmp_path)
    assert "does not know: new_two=True; update glora_lab" in refused("xray", kind, tmp_path)


@dataclass
class NotedGlora(GloraConfig):
    note: str = "run 7"


@dataclass
class NotedGralora(GraloraConfig):
    note: str = "run 7"


@each_kind
@pytest.mark.parametrize("door", [*WITH_TENSORS, "from_pretrained"])
def test_a_class_derived_from_ours_is_read_by_anyone(tmp_path, door, kind):
    derived = {"GLoRA": NotedGlora, "GraLoRA": NotedGralora}[kind]
    config = derived(r=4, target_modules=["encoder", "decoder"], note="run 8")
    config.gralora_k = 4
    peft.get_peft_model(BlockNet(), config).save_pretrained(tmp_path)
    assert derived.from_pretrained(tmp_path).note == "run 8"
    if door == "xray":
        assert "note='run 8'" in xray(tmp_path).notes[0]
    else:
        left = rf"which {CLASSES[kind].__name__} does not have, are ignored: note='run 8'"
        with pytest.warns(UserWarning, match=left):
            DOORS[door](kind, carried(door, kind), tmp_path)
    changed(tmp_path, other="run 9")  # nobody says of this one that it is idle
    assert "other='run 9'" in refused(door, kind, tmp_path)
    changed(tmp_path, other=None, glora_lab_derived=3)
    assert "`glora_lab_derived` (=3)" in refused(door, kind, tmp_path)
