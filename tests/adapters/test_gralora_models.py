"""Models with GraLoRA: injection or the model as it was, mixed batches, checkpoints of ours and of stock PEFT."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from glora_lab.adapters import GraloraConfig, GraloraLinear, GraloraModel, load_adapter

from .block_models import INDIVISIBLE, KS, BlockNet, add, config, gralora_model, stock_model
from .small_models import SECOND_TUNER, Net, bits, expecting, gpt2, largest_difference, llama, same_bits, t5
from .test_injection import Stop, fingerprint
from .test_mixed_batch import GENERATION, hooks, one_by_one

NAMES = ["second", "__base__", "default", "second"]
IDS = torch.randint(3, 64, (4, 5), generator=torch.Generator().manual_seed(5))
X = torch.randn(4, 24, generator=torch.Generator().manual_seed(2))


class Zoo(BlockNet):
    """BlockNet, with layers that GraLoRA cannot carry."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.odd = nn.Linear(7, 5)
        self.blocks = nn.ModuleList([nn.Linear(3, 3)])


FAILURES = {
    "matches nothing": ({"target_modules": ["nowhere"]}, "`target_modules`.*nowhere.*encoder"),
    "an embedding": ({"target_modules": ["encoder", "embedding"]}, r"embedding \(Embedding\)"),
    "a container": ({"target_modules": ["blocks", "encoder"]}, r"blocks \(ModuleList\)"),
    "k divides no features": ({"target_modules": ["encoder", "odd"]}, "odd .k 4, 7 → 5"),
    "k does not divide a rank": ({"rank_pattern": {"decoder": 6}}, "decoder .k 4"),
    "nothing is left": ({"target_modules": ["odd"], "on_indivisible": "skip"}, "nothing to train"),
    "a setting assigned later": ({"r": 0}, "`r`"),
}


def config_for(settings: dict[str, object]) -> GraloraConfig:
    made = config()
    for name, value in settings.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("why", FAILURES)
@pytest.mark.parametrize("first", [True, False], ids=["get_peft_model", "add_adapter"])
def test_a_refused_configuration_leaves_the_model_as_it_was(why, first):
    settings, message = FAILURES[why]
    model = Zoo() if first else gralora_model(Zoo(), modules_to_save=["head"], hybrid_r=3)
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises(ValueError, match=message):
        peft.get_peft_model(model, config_for(settings)) if first else model.add_adapter("second", config_for(settings))
    assert fingerprint(model) == before and same_bits(model, tensors)
    if not first:
        add(model, "second")  # and the name is free


@pytest.mark.parametrize("error", [RuntimeError, Stop])
@pytest.mark.parametrize("where", ["second layer", "report"])
@pytest.mark.parametrize("first", [True, False], ids=["get_peft_model", "add_adapter"])
def test_an_interruption_is_rolled_back(where, error, first, monkeypatch):
    """Factors stand in a ParameterDict, which has to be put back as modules have."""
    model = Zoo() if first else gralora_model(Zoo(), modules_to_save=["head"], hybrid_r=3)
    before, tensors = fingerprint(model), bits(model)
    steps = {"second layer": (GraloraLinear, "update_layer", 2), "report": (GraloraModel, "report", 1)}
    target, name, at = steps[where]
    original, calls = getattr(target, name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise error("in the middle")
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, interrupted)
    with pytest.raises(error, match="in the middle"):
        peft.get_peft_model(model, config(hybrid_r=3)) if first else model.add_adapter("second", config(hybrid_r=3))
    assert fingerprint(model) == before and same_bits(model, tensors)


def test_a_late_failure_is_rolled_back():
    model = gralora_model(Zoo())
    before, tensors = fingerprint(model), bits(model)
    with pytest.raises((TypeError, ValueError)):
        add(model, "second", modules_to_save=["blocks"])
    assert fingerprint(model) == before and same_bits(model, tensors)


def test_a_failure_over_a_lora_leaves_the_lora():
    lora = peft.get_peft_model(Zoo(), peft.LoraConfig(target_modules=["encoder"]))
    before, tensors = fingerprint(lora), bits(lora)
    with pytest.raises(ValueError, match="odd"), expecting(SECOND_TUNER, "You are trying to modify"):
        gralora_model(lora.base_model.model, target_modules=["encoder", "odd"])
    assert fingerprint(lora) == before and same_bits(lora, tensors)


def test_a_second_adapter_is_neither_active_nor_trained():
    model = gralora_model(BlockNet(), hybrid_r=3)
    add(model, "second", hybrid_r=3)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert model.active_adapters == ["default"] and len(trained) == 8
    assert all(".default" in name for name in trained)
    model.set_adapter("second")
    assert {n.replace("second", "default") for n, p in model.named_parameters() if p.requires_grad} == trained


@pytest.mark.parametrize("autocast", [True, False])
def test_adapters_over_bfloat16_are_float32_unless_told_otherwise(autocast):
    model = peft.get_peft_model(BlockNet().bfloat16(), config(hybrid_r=3), autocast_adapter_dtype=autocast)
    expected = torch.float32 if autocast else torch.bfloat16
    assert {p.dtype for name, p in model.named_parameters() if "gralora_" in name} == {expected}
    assert model(X.bfloat16()).dtype == torch.bfloat16


def test_other_ways_in():
    net = BlockNet()
    peft.inject_adapter_in_model(config(init_weights=True), net)
    assert isinstance(net.encoder, GraloraLinear)
    model = gpt2()
    model.add_adapter(GraloraConfig(init_weights=False, r=8))
    assert isinstance(model.transformer.h[0].attn.c_attn, GraloraLinear)
    status = gralora_model(BlockNet()).get_model_status()
    assert (status.adapter_model_type, status.num_adapter_layers) == ("GraloraModel", 2)


def two_adapters(model: nn.Module, **settings) -> PeftModel:
    model = gralora_model(model, **settings)
    add(model, "second", **{**settings, "gralora_k": 2, "hybrid_r": 4})
    return model.eval()


@pytest.mark.parametrize("shape", [(4, 24), (4, 3, 24), (4, 2, 3, 24)])
def test_each_row_has_its_own_adapter(shape):
    model, x = two_adapters(BlockNet().double()), torch.randn(shape, dtype=torch.double)
    mixed = model(x, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        assert largest_difference(mixed[row], one_by_one(model, name, x)[row]) < 1e-12
    assert not hooks(model)


def test_stock_ignores_the_names():
    stock = stock_model(BlockNet())
    assert torch.equal(stock(X, adapter_names=["__base__"] * 4), stock(X))
    ours = gralora_model(BlockNet())
    assert not torch.equal(ours(X, adapter_names=["__base__"] * 4), ours(X))


def test_an_adapter_on_some_layers_only():
    model = gralora_model(BlockNet().double())
    add(model, "second", target_modules=["head"], gralora_k=3)
    mixed = model.eval()(X.double(), adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        assert largest_difference(mixed[row], one_by_one(model, name, X.double())[row]) < 1e-12


def test_mixed_batches_over_a_lora():
    lora = peft.LoraConfig(target_modules=["encoder"], init_lora_weights=False)
    inner = peft.get_peft_model(BlockNet(), lora).eval().base_model.model
    with expecting(SECOND_TUNER, "You are trying to modify"):
        model = gralora_model(inner)
    mixed = model(X, adapter_names=["default", "__base__"] * 2)
    assert largest_difference(mixed[0], model(X)[0]) < 1e-5
    for module in model.modules():
        if isinstance(module, GraloraLinear):
            module.enable_adapters(False)
    assert largest_difference(mixed[1], model(X)[1]) < 1e-5


@pytest.mark.parametrize("how", GENERATION)
@pytest.mark.parametrize("make, targets", [(gpt2, ["c_attn", "c_fc"]), (t5, ["q", "v", "wi"])])
def test_generation(make, targets, how):
    model = two_adapters(make(), target_modules=targets, r=8, alpha=80)
    settings = {"max_new_tokens": 4, "pad_token_id": 2, **GENERATION[how]}
    if "generation_config" in settings:
        settings["generation_config"] = copy.deepcopy(settings["generation_config"])
        settings["generation_config"].pad_token_id = settings.pop("pad_token_id")
        settings["generation_config"].decoder_start_token_id = 0
        settings.pop("max_new_tokens")
    per_row = settings.get("num_return_sequences", 1)
    mixed = model.generate(input_ids=IDS, adapter_names=NAMES, **settings)
    assert len(mixed) == per_row * len(NAMES) and not hooks(model)
    for row, name in enumerate(NAMES):
        if name == "__base__":
            with model.disable_adapter():
                alone = model.generate(input_ids=IDS, **settings)
        else:
            model.set_adapter(name)
            alone = model.generate(input_ids=IDS, **settings)
        mine, wanted = (out[row * per_row : (row + 1) * per_row] for out in (mixed, alone))
        width = min(mine.shape[1], wanted.shape[1])  # a batch is padded to its longest row
        assert torch.equal(mine[:, :width], wanted[:, :width]), name


def test_bad_names_are_refused():
    model = two_adapters(BlockNet())
    for names, message in ((["nobody", *NAMES[1:]], "non-existing"), (NAMES[:3], "got 3 and 4")):
        with pytest.raises(ValueError, match=message):
            model(X, adapter_names=names)
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        model(X, adapter_names=NAMES)
    assert not hooks(model)


SETTINGS = {
    "the defaults": {},
    "hybrid": {"hybrid_r": 3, "use_rslora": True},
    "patterns": {"rank_pattern": {"encoder": 8}, "k_pattern": {"decoder": 3}, "alpha_pattern": {"decoder": 4}},
    "a layer skipped": {"target_modules": ["encoder", "head"], "on_indivisible": "skip"},
    "a saved head": {"modules_to_save": ["head"]},
    "their biases": {"bias": "gralora_only"},
}


def trained(model: PeftModel) -> PeftModel:
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("load", [PeftModel.from_pretrained, load_adapter])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoint_gives_the_same_bits(tmp_path, name, load):
    net = BlockNet()
    with expecting(INDIVISIBLE):
        model = trained(gralora_model(copy.deepcopy(net), **SETTINGS[name]))
        model.save_pretrained(tmp_path)
        loaded = load(copy.deepcopy(net), tmp_path)
    assert type(loaded.base_model) is GraloraModel and same_bits(loaded, bits(model))
    assert torch.equal(loaded(X), model(X))


@pytest.mark.parametrize("hybrid_r", [0, 3])
@pytest.mark.parametrize("k", KS)
def test_a_stock_checkpoint_becomes_ours(tmp_path, k, hybrid_r):
    net = BlockNet()
    stock = stock_model(copy.deepcopy(net), gralora_k=k, hybrid_r=hybrid_r)
    stock.save_pretrained(tmp_path)
    ours = load_adapter(copy.deepcopy(net), tmp_path)  # any warning, of unexpected keys too, fails the test
    assert type(ours.base_model) is GraloraModel and type(ours.peft_config["default"]) is GraloraConfig
    assert same_bits(ours, bits(stock)) and largest_difference(ours(X), stock(X)) < 1e-5


def test_our_checkpoint_has_the_tensors_of_stock(tmp_path):
    for make, folder in ((stock_model, tmp_path / "stock"), (gralora_model, tmp_path / "ours")):
        make(BlockNet(), hybrid_r=3).save_pretrained(folder)
    stock, ours = (load_file(tmp_path / f / "adapter_model.safetensors") for f in ("stock", "ours"))
    assert {n: t.shape for n, t in stock.items()} == {n: t.shape for n, t in ours.items()} and len(ours) == 8


def test_a_stock_checkpoint_of_a_transformer(tmp_path):
    for make, targets in ((llama, None), (gpt2, None)):
        base, ids = make(), torch.arange(6)[None]
        fan = {"fan_in_fan_out": True} if make is gpt2 else {}
        stock = stock_model(copy.deepcopy(base), target_modules=targets, r=8, **fan)
        stock.save_pretrained(tmp_path)
        ours = load_adapter(copy.deepcopy(base), tmp_path)
        assert largest_difference(ours(ids).logits, stock(ids).logits) < 1e-5


def test_a_checkpoint_of_another_model_leaves_the_model_as_it_was(tmp_path):
    gralora_model(BlockNet()).save_pretrained(tmp_path)
    other = Net()  # layers of the same names, which k does not divide
    before = bits(other)
    with pytest.raises(ValueError, match=r"encoder \(k 4, 6 → 8"):
        load_adapter(other, tmp_path)
    assert same_bits(other, before) and type(other.encoder) is nn.Linear


def test_a_vision_model():
    tiny = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    model = gralora_model(transformers.ViTModel(tiny).eval(), target_modules="all-linear", r=8)
    assert model(torch.randn(1, 3, 8, 8)).last_hidden_state.shape == (1, 5, 16)
