"""Operations of the matrix: adapters to and from disk, and the ways by which PEFT and transformers load them."""

from __future__ import annotations

import os
from typing import Any

import peft
import torch
import transformers
from peft import PeftModel

from glora_lab.adapters import export_peft, load_adapter

from .case import Case, known_warnings, near, same, same_tensors, shaken

BIASED = ("Careful, disabling adapter layers with bias",)
TIED_HEAD = ("Model has `tie_word_embeddings=True`", "Input and output embeddings are no longer tied")


def saving_and_loading(case: Case) -> None:
    """By `PeftModel.from_pretrained` and `load_adapter`, and again under the name of an adapter that is there."""
    model = case.adapted()
    expected = case.out(model)
    model.save_pretrained(case.folder)
    loaded = PeftModel.from_pretrained(case.family.model(), case.folder)
    assert same(case.out(loaded), expected)
    assert same(case.out(load_adapter(case.family.model(), case.folder)), expected)
    loaded.load_adapter(case.folder, "second")
    loaded.set_adapter("second")
    assert same(case.out(loaded), expected)
    shaken(model)
    assert not same(case.out(model), expected)
    model.load_adapter(case.folder, "default")
    assert same(case.out(model), expected) and list(model.peft_config) == ["default"]


def a_damaged_file(case: Case) -> None:
    """Refused, with the model as it was."""
    case.adapted().save_pretrained(case.folder)
    file = case.folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    model = case.family.model()
    before = case.tensors(model)
    try:
        PeftModel.from_pretrained(model, case.folder)
    finally:
        assert same_tensors(model, before)


def modules_to_save(case: Case) -> None:
    """A head that is trained whole: it trains, is saved, and comes back; disabled, the base's own is used."""
    with known_warnings(*TIED_HEAD):
        model = shaken(case.adapted(modules_to_save=[case.family.head]))
        expected = case.out(model)
        model.save_pretrained(case.folder)
        loaded = PeftModel.from_pretrained(case.family.model(), case.folder)
    assert same(case.out(loaded), expected)
    with model.disable_adapter():
        assert same(case.out(model), case.base_out())
    with known_warnings(*TIED_HEAD):
        assert near(case.out(model.merge_and_unload()), expected)


def all_biases(case: Case) -> None:
    _biases(case, "all", lambda name: name.endswith("bias"))


def biases_of_adapted_layers(case: Case) -> None:
    _biases(case, f"{case.prefix}only", lambda name: name.endswith("base_layer.bias"))


def _biases(case: Case, bias: str, trains: Any) -> None:
    with known_warnings(*BIASED):
        model = case.adapted(bias=bias)
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad == (case.prefix in name or trains(name)), name
        expected = case.out(shaken(model))
        model.save_pretrained(case.folder)
        assert same(case.out(PeftModel.from_pretrained(case.family.model(), case.folder)), expected)


def low_cpu_memory(case: Case) -> None:
    """Adapters that are made without data until the checkpoint brings it."""
    model = case.adapted()
    expected = case.out(model)
    model.save_pretrained(case.folder)
    loaded = PeftModel.from_pretrained(case.family.model(), case.folder, low_cpu_mem_usage=True)
    assert same(case.out(loaded), expected)
    loaded.load_adapter(case.folder, "second", low_cpu_mem_usage=True)
    loaded.set_adapter("second")
    assert same(case.out(loaded), expected)
    empty = peft.get_peft_model(case.family.model(), case.config(), low_cpu_mem_usage=True)
    assert {p.device.type for name, p in empty.named_parameters() if case.prefix in name} == {"meta"}


def the_meta_device(case: Case) -> None:
    """A model without data takes an adapter, counts it, and is filled later."""
    full = case.adapted()
    with torch.device("meta"):
        base = type(case.family.model())(case.family.model().config)
    empty = peft.get_peft_model(base, case.config()).eval()
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    assert empty.get_nb_trainable_parameters() == full.get_nb_trainable_parameters()
    empty.load_state_dict(full.state_dict(), assign=True)
    for name, buffer in full.named_buffers():  # a rotary embedding's frequencies are in no state dict
        owner, _, last = name.rpartition(".")
        empty.get_submodule(owner).register_buffer(last, buffer.clone(), persistent=False)
    assert same(case.out(empty), case.out(full))


def exported_as_lora(case: Case) -> None:
    """`export_peft`: a LoRA of PEFT's own with equal outputs."""
    model = case.adapted(**({"config_A": "none"} if case.adapter == "GLoRA" else {}))  # A has the rank of W0
    report = export_peft(model, case.folder / "lora", format="lora")
    assert max(row.error for row in report.rows) < 1e-6
    with known_warnings("`lora_bias=True` was passed"):
        plain = PeftModel.from_pretrained(case.family.model(), case.folder / "lora")
    assert type(plain.base_model).__name__ == "LoraModel" and near(case.out(plain), case.out(model))


def transformers_own_adapters(case: Case) -> None:
    """`add_adapter`, `set_adapter`, `disable_adapters`, `enable_adapters` and `delete_adapter` of the model itself."""
    model = case.family.model()
    model.add_adapter(case.config())
    first = case.out(model)
    assert not same(first, case.base_out()) and model.active_adapters() == ["default"]
    model.disable_adapters()
    assert same(case.out(model), case.base_out())
    model.enable_adapters()
    assert same(case.out(model), first)
    model.add_adapter(case.config(), "second")
    assert not same(case.out(model), first)
    model.set_adapter("default")
    assert same(case.out(model), first)
    assert set(model.get_adapter_state_dict("second")) == set(model.get_adapter_state_dict("default"))
    model.delete_adapter("second")
    assert same(case.out(model), first)
    model.delete_adapter("default")
    assert same(case.out(model), case.base_out())


def transformers_own_loading(case: Case) -> None:
    """`save_pretrained` and `load_adapter` of the model itself, and of a checkpoint that PEFT wrote."""
    model = case.family.model()
    model.add_adapter(case.config())
    expected = case.out(model)
    model.save_pretrained(case.folder)
    assert "adapter_model.safetensors" in os.listdir(case.folder)
    for folder in (case.folder, case.folder / "peft"):
        loaded = case.family.model()
        if folder != case.folder:
            PeftModel.from_pretrained(case.family.model(), case.folder).save_pretrained(folder)
        info = loaded.load_adapter(str(folder))
        assert not info.missing_keys and not info.unexpected_keys
        assert same(case.out(loaded), expected)


def transformers_own_hot_swap(case: Case) -> None:
    """Refused: it is for LoRA."""
    model = case.family.model()
    model.add_adapter(case.config())
    model.save_pretrained(case.folder)
    expected = case.out(model)
    try:
        model.load_adapter(str(case.folder), "default", hotswap=True)
    finally:
        assert same(case.out(model), expected)


def auto_classes_of_peft(case: Case) -> None:
    """AutoPeftModelFor…: from the adapter's folder alone."""
    model, expected = _saved_with_its_base(case)
    name = f"AutoPeftModelFor{case.family.auto}"
    if not hasattr(peft, name):
        name = "AutoPeftModel"
    loaded = getattr(peft, name).from_pretrained(case.folder / "adapter")
    assert same(case.out(loaded), expected) and type(loaded) is type(model)


def auto_classes_of_transformers(case: Case) -> None:
    """AutoModelFor…: the base with the adapter in it, from the adapter's folder."""
    model, expected = _saved_with_its_base(case)
    loaded = getattr(transformers, f"AutoModelFor{case.family.auto}").from_pretrained(case.folder / "adapter")
    assert same(case.out(loaded), expected) and type(loaded) is type(model.get_base_model())


def _saved_with_its_base(case: Case) -> tuple[PeftModel, torch.Tensor]:
    case.family.model().save_pretrained(case.folder / "base")
    base = type(case.family.model()).from_pretrained(case.folder / "base")
    model = peft.get_peft_model(base, case.config(task_type=case.family.task)).eval()
    model.save_pretrained(case.folder / "adapter")
    return model, case.out(model)
