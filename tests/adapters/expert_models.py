"""Small mixtures of experts, one for each way in which a model keeps and computes its experts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import Tensor, nn

IDS = torch.randint(3, 32, (2, 7), generator=torch.Generator().manual_seed(1))
EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
SIZES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 32, "num_attention_heads": 2,
    "num_key_value_heads": 2, "initializer_range": 0.2,
}  # fmt: skip


def _mixtral() -> nn.Module:
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**SIZES, num_local_experts=4))


def _qwen3() -> nn.Module:
    config = transformers.Qwen3MoeConfig(
        **SIZES, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12
    )
    return transformers.Qwen3MoeForCausalLM(config)


def _gpt_oss() -> nn.Module:
    config = transformers.GptOssConfig(**SIZES, head_dim=8, num_local_experts=4, num_experts_per_tok=2)
    return transformers.GptOssForCausalLM(config)


def _deepseek() -> nn.Module:
    config = transformers.DeepseekV3Config(
        **SIZES, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1, n_shared_experts=1,
        moe_intermediate_size=12, first_k_dense_replace=1, kv_lora_rank=4, q_lora_rank=4, qk_rope_head_dim=4,
        qk_nope_head_dim=4, v_head_dim=4,
    )  # fmt: skip
    return transformers.DeepseekV3ForCausalLM(config)


def _llama4() -> nn.Module:
    config = transformers.Llama4TextConfig(
        **SIZES, head_dim=8, num_local_experts=4, num_experts_per_tok=1, intermediate_size_mlp=24, pad_token_id=0
    )
    return transformers.Llama4ForCausalLM(config)


# (E, out, in), but for gpt-oss and Llama 4, which keep (E, in, out); Llama 4 without saying so
FAMILIES = {"mixtral": _mixtral, "qwen3": _qwen3, "gpt-oss": _gpt_oss, "deepseek": _deepseek, "llama4": _llama4}


@functools.cache
def _built(family: str) -> nn.Module:
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    model.set_experts_implementation("eager")
    return model


def moe(family: str = "mixtral", dtype: torch.dtype = torch.float64) -> nn.Module:
    """A model of its own, always with the same values; a grouped product takes no float64, so eager."""
    return copy.deepcopy(_built(family)).to(dtype)


def dbrx() -> nn.Module:
    """Experts below each other in one matrix, which another module than theirs reads."""
    config = transformers.DbrxConfig(
        d_model=16, n_heads=2, n_layers=1, vocab_size=32, max_seq_len=16, initializer_range=0.2,
        ffn_config={"ffn_hidden_size": 8, "moe_num_experts": 2, "moe_top_k": 1},
        attn_config={"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.DbrxForCausalLM(config).double().eval()


def logits(model: nn.Module) -> Tensor:
    found: Tensor = model(IDS).logits
    return found


def expert_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name → gate_up_proj or down_proj of each layer that has experts."""
    for name, parameter in model.named_parameters():
        if name.endswith(tuple(f".{end}" for end in EXPERTS)):
            yield name, parameter
