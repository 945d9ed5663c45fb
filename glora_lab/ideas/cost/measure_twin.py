"""A model's twin: modules of its own over the same weights, free to adapt, train a step and throw away.

The counterpart of `skeleton`, which has no weights at all. The twin's parameters are new tensors in the same
memory, with gradients of their own, so that neither an adapter on it nor a backward pass through it can be seen from
the model; buffers, which a forward pass may change, are copied.
"""

from __future__ import annotations

import copy

from torch import nn


def twin(model: nn.Module) -> nn.Module:
    """A copy that shares the memory of the weights and nothing else; its parameters are frozen."""
    # deepcopy takes what it finds in its memo for a copy already made; a quantised parameter copies itself
    plain = [p for p in model.parameters() if type(p) is nn.Parameter]
    memo = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in plain}
    return copy.deepcopy(model, memo).requires_grad_(False)
