"""bitsandbytes' 4 bits on a processor that has bfloat16 instructions (AVX-512).

In evaluation mode such a layer there rewrites its weight, for good, into a form for a kernel of its own: the scales
become bfloat16, the kernel carries no gradient (nor, with a bias, an input that needs one), and it wants a multiple
of 32 output features. Training after an evaluation then goes on with gradients that are silently wrong: 22% off in
stock LoRA on two layers of 128 features (bitsandbytes 0.50.2). So the layers of a model that is given one of our
adapters keep the form that every other processor has, from then on.
"""

from __future__ import annotations

import sys

from torch import nn

REWRITES = "support_avx512bf16_for_cpu"  # bitsandbytes' own name for "may rewrite itself"


def keep_differentiable(model: nn.Module) -> None:
    """Every 4-bit layer in the form that carries a gradient; one that was rewritten already is turned back."""
    if "bitsandbytes" not in sys.modules:
        return
    for layer in model.modules():
        if vars(layer).get(REWRITES):
            _turn_back(layer)
            setattr(layer, REWRITES, False)


def _turn_back(layer: nn.Module) -> None:
    layer.state_dict()  # bitsandbytes turns back what it saves, but only scales that are quantised themselves
    state = getattr(layer.weight, "quant_state", None)
    if state is not None and state.absmax.ndim == 2:  # (blocks, out), in bfloat16
        state.absmax = state.absmax.T.reshape(-1).float().contiguous()
