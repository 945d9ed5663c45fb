"""The models of the matrix: one small one of each family, made from its configuration, and what it is fed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor, nn

VOCABULARY, WIDTH = 32, 16
IDS = torch.randint(3, VOCABULARY, (2, 5), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": VOCABULARY,
    "intermediate_size": 24, "num_labels": 3, "initializer_range": 0.2,  # or nothing reaches the output
}  # fmt: skip
ONE_KEY = {"num_key_value_heads": 1}
DROPOUT_FREE = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


@dataclass(frozen=True)
class Family:
    """One family: how to build it, the names of its parts, and the classes that load it."""

    name: str
    kind: str
    build: Callable[[], nn.Module]
    target: str  # a linear layer that both adapters take
    head: str  # what is trained whole beside an adapter
    embedding: str  # what no adapter of this library takes
    auto: str  # AutoModelFor…, and AutoPeftModelFor… where there is one
    task: str | None
    batch: dict[str, Tensor] = field(default_factory=lambda: {"input_ids": IDS})
    ties: bool = True  # whether it can share its head's weight with the embedding
    parameters: tuple[str, ...] = ()  # what is adapted instead of the target, unless an operation names its own

    @property
    def generates(self) -> bool:
        return self.task in ("CAUSAL_LM", "SEQ_2_SEQ_LM")

    def model(self) -> nn.Module:
        """A model of its own, always with the same values."""
        return copy.deepcopy(built(self.name))


def causal(name: str, build: Callable[[], nn.Module], *, target: str = "q_proj", embedding: str) -> Family:
    return Family(name, "decoder", build, target, "lm_head", embedding, "CausalLM", "CAUSAL_LM")


def gpt2() -> nn.Module:
    sizes = {"n_layer": 1, "n_embd": WIDTH, "n_head": 2, "vocab_size": VOCABULARY, "n_positions": 16}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **still, **TOKENS))


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, tie_word_embeddings=True))


def opt() -> nn.Module:
    sizes = {**SIZES, "ffn_dim": 24, "word_embed_proj_dim": WIDTH, "max_position_embeddings": 16, "dropout": 0.0}
    del sizes["intermediate_size"]
    return transformers.OPTForCausalLM(transformers.OPTConfig(**sizes))


def t5() -> nn.Module:
    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": VOCABULARY}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, dropout_rate=0.0, initializer_factor=3.0)
    return transformers.T5ForConditionalGeneration(config)


def bert() -> nn.Module:
    config = transformers.BertConfig(**SIZES, **DROPOUT_FREE, max_position_embeddings=16)
    return transformers.BertForSequenceClassification(config)


def vit() -> nn.Module:
    sizes = {name: value for name, value in SIZES.items() if name != "vocab_size"}
    config = transformers.ViTConfig(**sizes, **DROPOUT_FREE, image_size=4, patch_size=2)
    return transformers.ViTForImageClassification(config)


def gemma() -> nn.Module:
    return transformers.GemmaForCausalLM(transformers.GemmaConfig(**SIZES, **ONE_KEY, head_dim=8))


def qwen2() -> nn.Module:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, **ONE_KEY, tie_word_embeddings=True))


def mixtral() -> nn.Module:
    config = transformers.MixtralConfig(**SIZES, **ONE_KEY, num_local_experts=2, tie_word_embeddings=True)
    return transformers.MixtralForCausalLM(config)


CLASSIFIERS: dict[str, Any] = {"head": "classifier", "ties": False}
FAMILIES = [
    causal("GPT-2", gpt2, target="c_attn", embedding="wte"),
    causal("Llama", llama, embedding="embed_tokens"),
    causal("OPT", opt, embedding="embed_tokens"),
    causal("Gemma", gemma, embedding="embed_tokens"),
    causal("Qwen2", qwen2, embedding="embed_tokens"),
    Family(
        "Mixtral", "mixture of experts", mixtral, target="q_proj", head="lm_head", embedding="embed_tokens",
        auto="CausalLM", task="CAUSAL_LM", parameters=("experts.gate_up_proj", "experts.down_proj"),
    ),
    Family(
        "T5", "encoder–decoder", t5, target="q", head="lm_head", embedding="shared", auto="Seq2SeqLM",
        task="SEQ_2_SEQ_LM", batch={"input_ids": IDS, "decoder_input_ids": IDS[:, :3]},
    ),
    Family(
        "BERT", "encoder, classification", bert, target="query", embedding="word_embeddings",
        auto="SequenceClassification", task="SEQ_CLS", **CLASSIFIERS,
    ),
    Family(
        "ViT", "vision", vit, target="q_proj", embedding="projection", auto="ImageClassification", task=None,
        batch={"pixel_values": IMAGES}, **CLASSIFIERS,
    ),
]  # fmt: skip


@functools.cache
def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return next(family for family in FAMILIES if family.name == name).build().eval()
