"""Well-known architectures at their published sizes, from code: no network, and no memory for weights.

A budget needs shapes, not numbers. `meta_model` builds a model on torch's meta device, where a tensor is a
shape and a type; Llama-3-70B takes well under a second there.

The sizes are those of the configurations published with the weights: openai-community/gpt2,
google-bert/bert-base-uncased, google/vit-base-patch16-224, meta-llama/Meta-Llama-3-8B and -70B,
mistralai/Mistral-7B-v0.1, Qwen/Qwen2.5-7B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from glora_lab.arguments import check_key, check_kind

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HEADS = frozenset({"lm_head", "classifier", "score", "pooler"})  # usually left as they are, or trained whole


def _gpt2() -> PretrainedConfig:
    from transformers import GPT2Config

    return GPT2Config(architectures=["GPT2LMHeadModel"])  # the class's defaults are GPT-2 small


def _bert_base() -> PretrainedConfig:
    from transformers import BertConfig

    return BertConfig(architectures=["BertModel"])  # the class's defaults are BERT-base, uncased


def _vit_b16() -> PretrainedConfig:
    from transformers import ViTConfig

    config = ViTConfig(architectures=["ViTForImageClassification"])  # the defaults are ViT-B/16 at 224×224
    config.num_labels = 1000  # the published head tells ImageNet's classes apart
    return config


def _llama3(hidden: int, intermediate: int, layers: int, heads: int) -> PretrainedConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128_256,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        bos_token_id=128_000,
        eos_token_id=128_001,
        tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
    )


def _mistral_7b() -> PretrainedConfig:
    from transformers import MistralConfig

    return MistralConfig(
        vocab_size=32_000,  # v0.1; v0.3 has 32,768 and 6.3M parameters more
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32_768,
        sliding_window=4096,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=False,
        architectures=["MistralForCausalLM"],
    )


def _qwen25_7b() -> PretrainedConfig:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=152_064,
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=False,
        architectures=["Qwen2ForCausalLM"],
    )


#: Name → a function that makes the configuration; `architecture` calls it.
ARCHITECTURES: Mapping[str, Callable[[], PretrainedConfig]] = MappingProxyType(
    {
        "GPT-2": _gpt2,
        "BERT-base": _bert_base,
        "ViT-B/16": _vit_b16,
        "Llama-3-8B": lambda: _llama3(4096, 14_336, layers=32, heads=32),
        "Mistral-7B": _mistral_7b,
        "Qwen2.5-7B": _qwen25_7b,
        "Llama-3-70B": lambda: _llama3(8192, 28_672, layers=80, heads=64),
    }
)


def architecture(name: str) -> PretrainedConfig:
    """The configuration of a well-known architecture, as `transformers` has it; nothing is downloaded.

    Args:
        name: a key of `ARCHITECTURES`.

    Raises:
        ValueError: for any other name.
    """
    check_key("name", name, ARCHITECTURES, "must be an architecture")
    return ARCHITECTURES[name]()


def meta_model(config: PretrainedConfig) -> PreTrainedModel:
    """The model that `config` describes, in eval mode, on the meta device: shapes without weights.

    Raises:
        ValueError: for what is no configuration of a model of transformers.
    """
    from transformers import PretrainedConfig

    check_kind("config", config, PretrainedConfig, "must be a configuration of transformers, as architecture gives one")
    with torch.device("meta"):
        model: PreTrainedModel = model_class(config)._from_config(config)
    return model.eval()


def model_class(config: PretrainedConfig) -> Any:
    """The transformers class that a configuration's `architectures` name; without one, its base model's."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    for name in config.architectures or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    if type(config) not in MODEL_MAPPING:
        raise ValueError(f"`config` (={type(config).__name__}) must belong to a model of transformers")
    found = MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple | list) else found


def classifier_class(config: PretrainedConfig) -> Any:
    """The transformers class that tells texts or images of this configuration apart; ValueError where there is none."""
    from transformers.models.auto import modeling_auto

    for mapping in (
        modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    ):
        if type(config) in mapping:
            return mapping[type(config)]
    raise ValueError(
        f"`num_labels` goes with a model that texts or images can be told apart by, not {type(config).__name__}"
    )
