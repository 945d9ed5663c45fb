"""bfloat16 and float16 on a processor that has no instructions for them.

There torch multiplies them one value at a time. Measured on one thread of an EPYC without AVX-512, 768×768 in
bfloat16, milliseconds, and in brackets the same in float32 with W0 widened 256 rows at a time: forward 0.12 (0.17)
for 1 token, 0.49 (0.29) for 4, 30 (4.3) for 256; backward 1.0 (0.18) for 1 token, 16 (0.5) for 16, 249 (3.7) for
256. 2048×2048: forward 0.8 (1.2) for 1 token, 3.3 (2.5) for 4; backward 29 (1.2) for 1 token. So GLoRA's layer
works in float32 there and rounds once, with less error than the base alone; a forward pass of one or two tokens,
and an adapter that adds nothing yet, leave the product to the base.
"""

from __future__ import annotations

import functools

import torch

FEW_ENOUGH = 2  # tokens whose forward pass is no slower in low precision


@functools.cache
def is_slow(dtype: torch.dtype, device_type: str) -> bool:
    """Whether products of this precision run one value at a time."""
    if device_type != "cpu" or dtype not in (torch.bfloat16, torch.float16):
        return False
    name = "_is_mkldnn_bf16_supported" if dtype is torch.bfloat16 else "_is_mkldnn_fp16_supported"
    asked = getattr(torch.ops.mkldnn, name, None)  # what torch itself asks before it uses oneDNN
    return asked is not None and torch.backends.mkldnn.is_available() and not asked()
