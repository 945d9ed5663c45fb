"""Operations of the matrix: the life of an adapter on a model, from its first step to its deletion."""

from __future__ import annotations

import copy

import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from .case import Case, NotHere, near, same, same_tensors


def a_training_step(case: Case) -> None:
    """Nothing changes before it; gradients reach the adapter alone; everything else keeps its bits."""
    model = peft.get_peft_model(case.family.model(), case.config(init_weights=True))
    assert near(case.out(model), case.base_out())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    before = case.tensors(model)
    for _ in range(2):  # B starts at 0, and A gets no gradient until it is not
        optimizer.zero_grad()
        model(**case.family.batch).logits.square().mean().backward()
        optimizer.step()
    assert all((p.grad is not None) == (case.prefix in name) for name, p in model.named_parameters())
    assert not same(case.out(model), case.base_out())
    changed = {name for name, tensor in model.state_dict().items() if not same(tensor, before[name])}
    assert changed and all(case.prefix in name for name in changed)


def default_targets(case: Case) -> None:
    """Without `target_modules`, PEFT's own choice for the architecture."""
    model = peft.get_peft_model(case.family.model(), case.config(target_modules=None)).eval()
    assert not same(case.out(model), case.base_out())


def all_linear_layers(case: Case) -> None:
    """All but the output layer; a classifier is a layer like the others to PEFT."""
    model = peft.get_peft_model(case.family.model(), case.config(target_modules="all-linear")).eval()
    linear = [n for n, m in case.family.model().named_modules() if type(m).__name__ in ("Linear", "Conv1D")]
    assert model.get_model_status().num_adapter_layers == len([n for n in linear if not n.endswith("lm_head")])
    assert not same(case.out(model), case.base_out())


def several_adapters(case: Case) -> None:
    """Add, set one, set two, and set the first again."""
    model = case.adapted()
    first = case.out(model)
    model.add_adapter("second", case.config(r=4))
    assert same(case.out(model), first)
    model.set_adapter("second")
    second = case.out(model)
    assert not same(second, first) and model.active_adapter == "second"
    model.base_model.set_adapter(["default", "second"])
    assert not same(case.out(model), first) and not same(case.out(model), second)
    model.set_adapter("default")
    assert same(case.out(model), first)


def disabled_adapters(case: Case) -> None:
    model = case.adapted()
    before = case.out(model)
    with model.disable_adapter():
        assert same(case.out(model), case.base_out())
    model.base_model.disable_adapter_layers()
    assert same(case.out(model), case.base_out())
    model.base_model.enable_adapter_layers()
    assert same(case.out(model), before)


def deleting(case: Case) -> None:
    """One that is not active changes nothing; after the active one, another is."""
    model = case.adapted()
    first = case.out(model)
    model.add_adapter("second", case.config())
    model.set_adapter("second")
    second = case.out(model)
    model.add_adapter("third", case.config())
    model.delete_adapter("third")
    assert same(case.out(model), second) and list(model.peft_config) == ["default", "second"]
    model.delete_adapter("second")
    assert same(case.out(model), first) and model.active_adapters == ["default"]
    assert not any(".second" in name for name in model.state_dict())


def deleting_the_last_one(case: Case) -> None:
    """The base is what is left, until there is another. PEFT's wrapper itself wants an adapter to run."""
    model = case.adapted()
    model.delete_adapter("default")
    assert model.active_adapters == [] and model.peft_config == {}
    assert same(case.out(model.base_model), case.base_out())
    model.add_adapter("next", case.config())
    model.set_adapter("next")
    assert not same(case.out(model), case.base_out())


def a_name_that_is_taken(case: Case) -> None:
    """Refused, and nothing changes."""
    model = case.adapted()
    before = case.tensors(model)
    try:
        model.add_adapter("default", case.config(r=2))
    finally:
        assert same_tensors(model, before) and model.peft_config["default"].r == case.config().r


def a_batch_of_several_adapters(case: Case) -> None:
    """`adapter_names`: each row with its own."""
    model = case.adapted()
    model.add_adapter("second", case.config())
    rows = []
    for name in ("default", "second"):
        model.set_adapter(name)
        rows.append(case.out(model))
    with torch.no_grad():
        mixed = model(**case.family.batch, adapter_names=["second", "__base__"]).logits
    assert near(mixed[0], rows[1][0]) and near(mixed[1], case.base_out()[1])


def generating(case: Case) -> None:
    """Greedily and with beams; with the adapter off, what the base generates."""
    if not case.family.generates:
        raise NotHere("does not generate")
    ids = {"input_ids": case.family.batch["input_ids"]}
    how = {"max_new_tokens": 3, "num_beams": 2, "do_sample": False}
    model, base = case.adapted(), case.family.model()
    said = model.generate(**ids, **how)
    assert said.shape[0] == 2
    with model.disable_adapter():
        assert same(model.generate(**ids, **how), base.generate(**ids, **how))
    merged = copy.deepcopy(model).merge_and_unload()
    assert same(merged.generate(**ids, **how), said)


def the_status_of_a_model(case: Case) -> None:
    model = case.adapted()
    model.add_adapter("second", case.config())
    status = model.get_model_status()
    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    assert status.adapter_model_type == f"{case.adapter.capitalize()}Model"
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert status.requires_grad == {"default": True, "second": False}
    assert status.available_adapters == ["default", "second"] and status.num_adapter_layers == len(layers)
    assert status.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    one = model.get_layer_status()[0]
    assert one.module_type == f"{case.prefix.rstrip('_')}.{type(layers[0]).__name__}"
    assert one.devices == {"default": ["cpu"], "second": ["cpu"]}
    model.merge_adapter()
    assert model.get_model_status().merged_adapters == ["default"]


def an_embedding(case: Case) -> None:
    """Refused before the model is touched: no linear layer."""
    model = case.family.model()
    before = case.tensors(model)
    try:
        peft.get_peft_model(model, case.config(target_modules=[case.family.embedding]))
    finally:
        assert same_tensors(model, before) and not any(isinstance(m, BaseTunerLayer) for m in model.modules())


def injected_into_a_model(case: Case) -> None:
    """`inject_adapter_in_model`: the model's own class, with our layers in it."""
    model = case.family.model()
    peft.inject_adapter_in_model(case.config(), model)
    assert type(model) is type(case.family.model()) and not same(case.out(model), case.base_out())
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trains == {name for name, _ in model.named_parameters() if case.prefix in name}
    status = peft.get_layer_status(model)
    assert {layer.module_type.split(".")[0] for layer in status} == {case.prefix.rstrip("_")}
    weights = peft.get_peft_model_state_dict(model)
    twin = case.family.model()
    peft.inject_adapter_in_model(case.config(), twin)
    peft.set_peft_model_state_dict(twin, weights)
    assert same(case.out(twin), case.out(model))


def parts(model: nn.Module) -> list[nn.Module]:
    """The layers that carry an adapter: ours, and stock LoRA's."""
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer) and hasattr(module, "set_scale")]
