"""A layer that shares its weight with another, as most language models' heads share the embedding's: merging into it
leaves the other as it is."""

from __future__ import annotations

import copy
import pickle
import warnings

import peft
import pytest
import torch
import transformers
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import bits, expecting, gpt2, largest_difference, same_bits, t5

IDS = torch.randint(3, 64, (2, 5), generator=torch.Generator().manual_seed(1))
CONFIGS = {
    "GLoRA": lambda: GloraConfig.only(A="vector", B="lora", r=4, init_weights=False, target_modules=["lm_head"]),
    "GraLoRA": lambda: GraloraConfig(r=8, init_weights=False, target_modules=["lm_head"]),
}
TIED = ("Model has `tie_word_embeddings=True`", "Model with `tie_word_embeddings=True`")
UNTIED = ("Input and output embeddings are no longer tied",)


def gemma() -> nn.Module:
    config = transformers.GemmaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, vocab_size=64,
    )  # fmt: skip
    return transformers.GemmaForCausalLM(config).eval()


MODELS = {"GPT-2": gpt2, "T5": t5, "Gemma": gemma}
each = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
each_kind = pytest.mark.parametrize("kind", CONFIGS)


def logits(model: nn.Module) -> torch.Tensor:
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=IDS, **decoder).logits


def adapted(model: nn.Module, kind: str) -> peft.PeftModel:
    with expecting(*TIED):
        return peft.get_peft_model(model, CONFIGS[kind]()).eval()


@each
@each_kind
def test_merging_leaves_the_embedding_and_unmerging_ties_again(make, kind):
    base = make()
    embedding, before = base.get_input_embeddings().weight, base.get_input_embeddings().weight.clone()
    model = adapted(base, kind)
    expected = logits(model)
    head = model.get_base_model().lm_head
    with expecting(*TIED):
        model.merge_adapter()
    assert largest_difference(logits(model), expected) < 1e-5
    assert torch.equal(embedding, before)
    model.unmerge_adapter()
    assert head.get_base_layer().weight is embedding and torch.equal(logits(model), expected)


@each
@each_kind
def test_a_merged_model_is_untied_and_survives_the_disk(make, kind, tmp_path):
    model = adapted(make(), kind)
    expected = logits(model)
    with expecting(*TIED, *UNTIED):
        plain = model.merge_and_unload()
    assert largest_difference(logits(plain), expected) < 1e-5
    assert plain.config.tie_word_embeddings is False
    expected = logits(plain)
    plain.save_pretrained(tmp_path)
    assert torch.equal(logits(type(plain).from_pretrained(tmp_path).eval()), expected)


@each_kind
@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_merged_model_ties_its_own_weights_again(kind, how):
    model = adapted(gpt2(), kind)
    expected = logits(model)
    with expecting(*TIED):
        model.merge_adapter()
    twin = how(model)
    twin.unmerge_adapter()
    inner = twin.get_base_model()
    assert inner.lm_head.get_base_layer().weight is inner.get_input_embeddings().weight
    assert torch.equal(logits(twin), expected)
    assert model.get_base_model().lm_head.merged_adapters == ["default"]


@each_kind
def test_a_model_that_is_moved_while_merged_ties_again(kind):
    model = adapted(gpt2(), kind)
    with expecting(*TIED):
        model.merge_adapter()
    model.double()
    model.unmerge_adapter()
    inner = model.get_base_model()
    assert inner.lm_head.get_base_layer().weight is inner.get_input_embeddings().weight
    assert inner.lm_head.get_base_layer().weight.dtype == torch.float64


def test_what_is_not_tied_says_nothing():
    model = peft.get_peft_model(gpt2(), GloraConfig(target_modules=["c_attn"], init_weights=False))
    before = bits(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.merge_adapter()
        model.unmerge_adapter()
    assert same_bits(model, before) and model.get_base_model().config.tie_word_embeddings
