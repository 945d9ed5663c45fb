"""Adapted transformers models as their owners run them: checkpointed, compiled, under autocast, spread over places."""

from __future__ import annotations

import copy
from collections.abc import Callable

import peft
import pytest
import torch
import transformers
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import GAINED_BIAS, INERT, expecting, gpt2, largest_difference, llama

# transformers 5.23 calls it activation checkpointing, 5.15 does not know the name
pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing:FutureWarning")
IDS = torch.arange(16).view(2, 8)
CONFIGS = {
    "GLoRA": GloraConfig(r=2, config_D_E="vector", init_weights=False),
    "GLoRA, product": GloraConfig(r=2, A_form="product", target_modules="all-linear", init_weights=False),
    "GLoRA, vectors": GloraConfig(
        config_A_B="vector", config_C="vector", bias_free="add", target_modules="all-linear", init_weights=False
    ),
    "GraLoRA": GraloraConfig(r=4, hybrid_r=2, target_modules="all-linear", init_weights=False),
}
MODELS: dict[str, Callable[[], nn.Module]] = {"GPT-2": gpt2, "Llama": llama}


def adapted(base: nn.Module, name: str) -> peft.PeftModel:
    with expecting(INERT):
        return peft.get_peft_model(base, copy.deepcopy(CONFIGS[name])).eval()


def gradients(model: nn.Module, run: Callable[..., object] | None = None) -> dict[str, Tensor]:
    """Of every parameter that trains, and the logits."""
    out = (model if run is None else run)(input_ids=IDS, labels=IDS, use_cache=False)
    model.zero_grad()
    out.loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    return {**found, "logits": out.logits.detach()}


def near(got: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """Relative to the largest gradient of all: some cancel to nothing."""
    assert got.keys() == wanted.keys()
    largest = max(gradient.abs().max().item() for name, gradient in wanted.items() if name != "logits")
    for name in wanted:
        assert largest_difference(got[name].float(), wanted[name]) <= tolerance * largest, name


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("base", MODELS)
def test_gradient_checkpointing(base, name, reentrant):
    model = adapted(MODELS[base](), name).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    expected = gradients(model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()  # what PEFT's own documentation asks for
    inner = model.get_base_model()
    assert inner.is_gradient_checkpointing
    near(gradients(model), expected)


@pytest.mark.parametrize("name", ["GLoRA", "GraLoRA"])
def test_compiled_in_one_graph(name):
    model = adapted(llama(), name)
    expected = gradients(model)
    torch._dynamo.reset()
    near(gradients(model, torch.compile(model, backend="aot_eager", fullgraph=True)), expected)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("base", MODELS)
def test_autocast(base, name):
    model = adapted(MODELS[base](), name)
    expected = gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        got = gradients(model)
    assert all(g.dtype == torch.float32 for n, g in got.items() if n != "logits")
    near(got, expected, 0.1)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("base", MODELS)
def test_spread_by_a_device_map(tmp_path, base, name):
    """Half of the blocks on disk, half in memory, as accelerate does where a model does not fit."""
    plain = MODELS[base]()
    plain.save_pretrained(tmp_path / "base")
    torch.manual_seed(1)
    model = adapted(copy.deepcopy(plain), name)
    with torch.no_grad():
        expected, answer = model(IDS).logits, plain(IDS).logits
    trunk, blocks = ("transformer", "h") if base == "GPT-2" else ("model", "layers")
    places = {"lm_head": "cpu", f"{trunk}.{blocks}.0": "cpu", f"{trunk}.{blocks}.1": "disk"}
    places |= {f"{trunk}.{key}": "cpu" for key, _ in plain.get_submodule(trunk).named_children() if key != blocks}
    spread = type(plain).from_pretrained(tmp_path / "base", device_map=places, offload_folder=tmp_path / "disk")
    assert {p.device.type for p in spread.parameters()} == {"cpu", "meta"}
    torch.manual_seed(1)
    model = adapted(spread, name)
    with torch.no_grad():
        assert largest_difference(model(IDS).logits, expected) < 1e-6 < 1e-3 < largest_difference(expected, answer)
        spread_out = model(IDS).logits
        with model.disable_adapter():
            assert largest_difference(model(IDS).logits, answer) < 1e-6
        with expecting(GAINED_BIAS):  # bias_free="add"
            model.merge_adapter()
        assert largest_difference(model(IDS).logits, expected) < 1e-4
        model.unmerge_adapter()
        assert torch.equal(model(IDS).logits, spread_out)


def roberta() -> nn.Module:
    """A classifier whose head is a module of two layers, which PEFT trains as a whole (`modules_to_save`)."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.RobertaConfig(**sizes, vocab_size=32, pad_token_id=0, num_labels=4, initializer_range=0.5)
    return transformers.RobertaForSequenceClassification(config).eval()


@pytest.mark.parametrize("targets", [["query", "value"], "all-linear"], ids=["attention", "the head's layers too"])
@pytest.mark.parametrize("cls", [peft.LoraConfig, GloraConfig, GraloraConfig])
def test_a_head_of_several_layers_that_is_trained_whole(cls, targets):
    """It stays as it was trained, merged or taken off."""
    model = peft.get_peft_model(roberta(), cls(r=2, target_modules=targets, task_type="SEQ_CLS")).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    expected, adapters = model(IDS).logits, [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    assert largest_difference(copy.deepcopy(model).merge_and_unload()(IDS).logits, expected) < 1e-5
    with model.disable_adapter():
        assert largest_difference(model(IDS).logits, expected) > 0.01
    plain, head = model.unload(), model.base_model.model.classifier
    assert adapters and not any(isinstance(module, BaseTunerLayer) for module in plain.modules())
    assert type(head.out_proj) is nn.Linear and plain(IDS).logits.isfinite().all()
