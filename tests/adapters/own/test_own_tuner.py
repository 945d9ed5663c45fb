"""A method of one's own as a PEFT tuner: training, switching, merging, saving, mixed batches."""

from __future__ import annotations

import copy
import json

import peft
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter
from safetensors.torch import load_file
from torch import nn

from glora_lab import DeltaMethod, load_adapter
from glora_lab.adapters.own import method as own
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER
from tests.adapters.block_models import BlockNet
from tests.adapters.small_models import (
    GAINED_BIAS,
    MERGED_ALREADY,
    bits,
    conv1d,
    expecting,
    gpt2,
    largest_difference,
    same_bits,
)

from .methods import METHODS, Grid, OuterProduct, OwnDora, OwnLora, OwnVera, Ripple, RowScale
from .own_models import TARGETS, encoder, own_model, stir

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def x64(rows=4):
    return torch.randn(rows, 24, dtype=torch.double)


@every_method
def test_a_fresh_adapter_is_a_no_op_and_one_step_changes_the_output(method):
    base, x = BlockNet(), torch.randn(4, 24)
    plain = base(x).detach()
    model = peft.get_peft_model(base, method.config(r=4, target_modules=TARGETS))
    assert largest_difference(model(x), plain) < 1e-6
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(x).pow(2).sum().backward()
    optimizer.step()
    assert largest_difference(model(x), plain) > 1e-6


@every_method
def test_only_its_own_tensors_train(method):
    model = own_model(method)
    model(x64()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("delta_tensors" in name) == (parameter.grad is not None), name


@every_method
@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
def test_merged_equals_unmerged_and_unmerging_brings_the_bits_back(method, kind):
    net = BlockNet()
    if kind == "Conv1D":
        net.encoder = conv1d(24, 48)
    model, x = own_model(method, net.double()), x64()
    before, beside = bits(model), model(x)
    model.merge_adapter(safe_merge=True)
    assert largest_difference(model(x), beside) < 1e-10
    assert (
        largest_difference(encoder(model).base_layer.weight, before["base_model.model.encoder.base_layer.weight"]) > 0
    )
    model.unmerge_adapter()
    assert same_bits(model, before) and torch.equal(model(x), beside)
    with model.disable_adapter():
        assert largest_difference(model(x), beside) > 1e-4
    assert largest_difference(model.merge_and_unload()(x), beside) < 1e-10


@every_method
def test_several_adapters_switched_summed_and_mixed_in_a_batch(method):
    model, x = own_model(method), x64(3)
    model.add_adapter("second", OuterProduct.config(r=2, target_modules=["encoder"]))
    model.set_adapter("second")
    stir(model)
    outputs = {}
    for name in ("default", "second"):
        model.set_adapter(name)
        outputs[name] = model(x)
    with model.disable_adapter():
        outputs["__base__"] = model(x)
    mixed = model(x, adapter_names=[*outputs])
    assert largest_difference(mixed, torch.stack([out[row] for row, out in enumerate(outputs.values())])) < 1e-12
    model.base_model.set_adapter(["default", "second"])
    layer = encoder(model)
    wanted = layer.base_layer.weight + layer.weight_delta("default") + layer.weight_delta("second")
    model.merge_adapter(["second"])
    with expecting(MERGED_ALREADY):
        model.merge_adapter(["default"])
    assert largest_difference(layer.base_layer.weight, wanted) < 1e-12
    model.unmerge_adapter()
    model.delete_adapter("default")
    model.set_adapter("second")
    assert torch.equal(model(x), outputs["second"])


@every_method
def test_saved_and_loaded(method, tmp_path):
    base = BlockNet().double()
    model, x = own_model(method, copy.deepcopy(base), rank_pattern={"encoder": 2}), x64()
    wanted = model(x)
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written["peft_type"] == "DELTA_LAB" and written["delta_method"] == method.__name__
    for load in (load_adapter, peft.PeftModel.from_pretrained):
        assert torch.equal(load(copy.deepcopy(base), tmp_path)(x), wanted)
    other = own_model(method, copy.deepcopy(base), rank_pattern={"encoder": 2})
    assert largest_difference(other(x), wanted) > 1e-4
    other.load_adapter(tmp_path, "second")
    other.set_adapter("second")
    assert torch.equal(other(x), wanted)
    hotswap_adapter(other, str(tmp_path), "default")
    other.set_adapter("default")
    assert torch.equal(other(x), wanted)
    light = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path, low_cpu_mem_usage=True)
    assert torch.equal(light(x), wanted)


def test_hot_swapping_another_rank(tmp_path):
    base, x = BlockNet().double(), x64()
    model = own_model(OwnVera, copy.deepcopy(base), r=6, seed=3)
    model.save_pretrained(tmp_path)
    other = own_model(OwnVera, copy.deepcopy(base), r=2)
    hotswap_adapter(other, str(tmp_path), "default")
    assert torch.equal(other(x), model(x))


def test_what_is_fixed_is_saved_and_does_not_train(tmp_path):
    model = own_model(OwnVera)
    with torch.no_grad():
        encoder(model).delta_tensors["default"].A.mul_(2)  # not what `fixed` draws
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    name = "base_model.model.encoder.delta_tensors"
    assert {key.rpartition(".")[2] for key in saved} == {"A", "B", "b", "d"}
    assert torch.equal(saved[f"{name}.A"], encoder(model).delta_tensors["default"].A)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == (4 + 48) + (4 + 24)


def test_a_file_of_a_class_that_is_not_defined_is_refused_and_nothing_is_run(tmp_path, monkeypatch):
    own_model(OuterProduct).save_pretrained(tmp_path)
    monkeypatch.setattr(own, "DEFINED", {"Other": Ripple})
    base = BlockNet().double()
    before = bits(base)
    for load in (load_adapter, peft.PeftModel.from_pretrained):
        with pytest.raises(
            ValueError, match=r"`delta_method` \(='OuterProduct'\) must name a DeltaMethod that is defined"
        ):
            load(base, tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    for odd in ("os.system", "tests.adapters.own.methods.OuterProduct", ["OuterProduct"], None, 3, "DeltaMethod"):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**written, "delta_method": odd}))
        with pytest.raises(ValueError, match="`delta_method`"):
            load_adapter(base, tmp_path)
    assert same_bits(base, before) and not hasattr(base, "peft_config")


def test_a_file_of_other_shapes_is_refused(tmp_path):
    own_model(OwnLora).save_pretrained(tmp_path)

    class OuterProduct(DeltaMethod):
        def shapes(self, out, in_, r):
            return {"u": (out, 1), "v": (1, in_)}

        def delta(self, w0, u, v):
            return u @ v

    written = json.loads((tmp_path / "adapter_config.json").read_text())
    other = {**written, "delta_method": "OuterProduct", "settings": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**other, "glora_lab_stamp": None}))
    try:
        with pytest.raises(ValueError, match=r"does not fit this model.*missing: decoder.delta_tensors.u"):
            load_adapter(BlockNet().double(), tmp_path)
    finally:
        own.DEFINED["OuterProduct"] = globals()["OuterProduct"]


def test_a_configuration_keeps_its_class_when_the_name_is_given_to_another():
    config = OuterProduct.config(r=4, target_modules=TARGETS)

    class Changed(OuterProduct):
        pass

    try:
        own.DEFINED["OuterProduct"] = Changed
        model = peft.get_peft_model(BlockNet(), config)
        assert type(encoder(model).plans["default"].own) is OuterProduct
    finally:
        own.DEFINED["OuterProduct"] = OuterProduct


def test_settings_of_its_own():
    assert OwnLora.settings() == {"alpha": 16}
    once, twice = (own_model(OwnLora, alpha=alpha) for alpha in (16, 32))
    twice.load_state_dict(once.state_dict())
    one, two = (encoder(model).weight_delta("default") for model in (once, twice))
    assert largest_difference(2 * one, two) < 1e-12
    assert Ripple.config(waves=False, strength=2).settings == {"strength": 2, "waves": False}
    for bad, words in (
        ({"alpha": "much"}, "`alpha`.*finite number"),
        ({"alpha": float("nan")}, "`alpha`.*finite number"),
        ({"beta": 1}, "`beta`.*OwnLora.*'alpha'"),
        ({"r": 0}, "`r`.*above 0"),
        ({"bias": "lora_only"}, "`bias`.*delta_only"),
        ({"target_parameters": ["w"]}, "`target_parameters`"),
    ):
        with pytest.raises(ValueError, match=words):
            OwnLora.config(**bad)
    with pytest.raises(ValueError, match=r"`waves`.*True or False"):
        Ripple.config(waves=1)


def test_a_scale_multiplies_all_of_it():
    model, x = own_model(Ripple), x64()
    layer = encoder(model)
    delta, bias = layer.weight_delta("default"), layer.bias_delta("default")
    beside = layer(x) - layer.base_layer(x)
    layer.set_scale("default", 0.5)
    assert largest_difference(layer.weight_delta("default"), delta / 2) < 1e-12
    assert largest_difference(layer.bias_delta("default"), bias / 2) < 1e-12
    assert largest_difference(layer(x) - layer.base_layer(x), beside / 2) < 1e-12


def test_a_bias_where_there_was_none():
    model, x = own_model(Ripple, BlockNet(bias=False).double()), x64()
    wanted = model(x)
    with expecting(GAINED_BIAS):
        model.merge_adapter()
    assert encoder(model).base_layer.bias is not None and largest_difference(model(x), wanted) < 1e-12
    model.unmerge_adapter()
    assert encoder(model).base_layer.bias is None and torch.equal(model(x), wanted)
    assert largest_difference(own_model(RowScale, BlockNet(bias=False).double())(x), wanted) > 0


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precisions(method, dtype):
    x = torch.randn(4, 24, dtype=dtype)
    for settings in ({}, {"autocast_adapter_dtype": False}):
        model = peft.get_peft_model(BlockNet().to(dtype), method.config(r=4, target_modules=TARGETS), **settings)
        stir(model)
        assert model(x).dtype == dtype
        model(x).sum().backward()
        model.merge_adapter()
        assert model(x).dtype == dtype and encoder(model).base_layer.weight.dtype == dtype
        model.unmerge_adapter()


@pytest.mark.skipif(not PEFT_ASKS_THE_TUNER, reason="PEFT 0.20 saves no biases")
@pytest.mark.parametrize("bias", ["all", "delta_only"])
def test_biases_of_the_base_train_and_are_saved(bias, tmp_path):
    base = BlockNet().double()
    model, x = own_model(OuterProduct, copy.deepcopy(base), bias=bias), x64()
    trained = {name for name, p in model.named_parameters() if p.requires_grad and name.endswith("bias")}
    assert len(trained) == (3 if bias == "all" else 2)
    model.save_pretrained(tmp_path)
    assert torch.equal(load_adapter(base, tmp_path)(x), model(x))


def test_whole_modules_beside_it(tmp_path):
    base = BlockNet().double()
    model, x = own_model(OuterProduct, copy.deepcopy(base), modules_to_save=["head"]), x64()
    model.save_pretrained(tmp_path)
    assert torch.equal(load_adapter(base, tmp_path)(x), model(x))


def test_over_another_adapter_and_a_model_of_transformers():
    model = own_model(OwnDora, gpt2().double(), target_modules=None)
    ids = torch.arange(8)[None]
    wanted = model(ids).logits
    model.merge_adapter()
    assert largest_difference(model(ids).logits, wanted) < 1e-10
    inner = peft.get_peft_model(BlockNet().double(), peft.LoraConfig(r=2, target_modules=["encoder"]))
    stir(inner)
    x = x64()
    with pytest.warns(UserWarning):
        outer = own_model(RowScale, inner.base_model.model, target_modules=["encoder"])
    layer = encoder(outer)
    scale = layer.delta_tensors["default"].scale
    assert largest_difference(layer(x), layer.base_layer(x) * scale) < 1e-10


def test_weighted_sums_are_refused_in_words():
    model = own_model(OuterProduct)
    with pytest.raises(ValueError, match="add_weighted_adapter does not know how tensors of a DeltaMethod add up"):
        model.add_weighted_adapter(["default"], [1.0], "sum")
    assert list(model.peft_config) == ["default"]


def test_a_layer_with_a_forward_of_its_own():
    class Doubling(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    net = BlockNet().double()
    net.encoder = Doubling(24, 48).double()
    with pytest.raises(ValueError, match=r"OwnDora.*reads W0, and 1 layer .encoder.*need not be W0"):
        own_model(OwnDora, net)
    model, x = own_model(Grid, net), x64()
    assert largest_difference(encoder(model)(x), net.encoder.base_layer(x)) > 0


def test_drawing_fixed_and_first_values_is_all_that_is_drawn():
    torch.manual_seed(3)
    own_model(OwnLora)  # examined here, if nowhere before
    torch.manual_seed(3)
    peft.get_peft_model(BlockNet().double(), OwnLora.config(r=4, target_modules=TARGETS))
    after = torch.rand(1)
    own_cache_cleared()
    torch.manual_seed(3)
    peft.get_peft_model(BlockNet().double(), OwnLora.config(r=4, target_modules=TARGETS))
    assert torch.equal(torch.rand(1), after)


def own_cache_cleared() -> None:
    from glora_lab.adapters.own.examined import examined

    examined.cache_clear()


@pytest.mark.parametrize("method", [OuterProduct, OwnDora, Ripple])
def test_compiled_without_a_break(method):
    torch._dynamo.reset()
    model, x = own_model(method), x64()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert largest_difference(compiled(x), model(x)) < 1e-12


@pytest.mark.skipif(not hasattr(peft, "convert_to_lora"), reason="of later versions of PEFT")
def test_pefts_conversion_to_lora():
    model, x = own_model(OuterProduct, r=2), x64()
    wanted = model(x)
    config, tensors = peft.convert_to_lora(model, rank=2)
    lora = peft.get_peft_model(model.unload(), config)
    peft.set_peft_model_state_dict(lora, tensors)
    assert largest_difference(lora(x), wanted) < 1e-5


def test_offloaded_with_its_base(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model, x = own_model(OwnDora), x64()
    wanted, delta = model(x), encoder(model).weight_delta("default").detach()
    accelerate.cpu_offload(model)
    assert torch.equal(model(x), wanted)
    assert largest_difference(encoder(model).weight_delta("default").detach(), delta) < 1e-12
