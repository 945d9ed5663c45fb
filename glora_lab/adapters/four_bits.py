"""bitsandbytes' 4 bits on a processor that has bfloat16 instructions (AVX-512).

In evaluation mode such a layer there rewrites its weight, for good, into a form for a kernel of its own: the scales
become bfloat16, the kernel carries no gradient (nor, with a bias, an input that needs one), and it wants a multiple
of 32 output features. Training after an evaluation then goes on with gradients that are silently wrong: 22% off in
stock LoRA on two layers of 128 features (bitsandbytes 0.50.2). So in a model that carries one of our adapters the
layers keep the form that every other processor has; unloaded, they may rewrite themselves again.
"""

from __future__ import annotations

from torch import nn

REWRITES = "support_avx512bf16_for_cpu"  # bitsandbytes' own name for "may rewrite itself"
ASIDE = "rewrites_when_unloaded"


def keep_differentiable(model: nn.Module) -> None:
    """Every 4-bit layer in the form that carries a gradient; one that was rewritten already is turned back."""
    for layer in model.modules():
        if getattr(layer, REWRITES, False):
            layer.state_dict()  # saving turns it back
            setattr(layer, REWRITES, False)
            setattr(layer, ASIDE, True)


def let_rewrite(model: nn.Module) -> None:
    """Undo `keep_differentiable`."""
    for layer in model.modules():
        if vars(layer).pop(ASIDE, False):
            setattr(layer, REWRITES, True)
