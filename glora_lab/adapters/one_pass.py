"""GLoRA's layer as one function of autograd, with the forward and the backward pass of by_hand.py and backward.py.

formula.py says the same term by term, in operations that autograd follows; it is the reference, and what runs
where this does not apply. The gradient has no gradient of its own: who asks for one is told by torch that the
function is "marked with @once_differentiable", and has it under `torch.func`, where formula.py runs.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn.modules import module as modules
from torch.utils.module_tracker import ModuleTracker
from transformers.pytorch_utils import Conv1D

from .backward import BackwardPass
from .by_hand import FEW, Pass
from .formula import Paths
from .frozen_base import SUPPORTED
from .offload import offload_hook
from .recipe import Recipe, recipe
from .slow_precision import is_slow

PLAIN = (Tensor, nn.Parameter)


def applies(leaf: nn.Module, x: Tensor, offloaded: bool = False) -> bool:
    """Whether `leaf` is a plain layer, to be computed from its weight without a call, outside torch's transformations.

    Under torch.compile, autocast and torch.func autograd follows formula.py; a layer with hooks, one that trains
    itself, and tensors that are no plain ones are left to their owners.
    """
    if torch.compiler.is_compiling() or type(leaf) not in SUPPORTED or type(x) not in PLAIN:
        return False
    if leaf._forward_hooks or leaf._forward_pre_hooks or leaf._backward_hooks or leaf._backward_pre_hooks:
        return False
    if ("forward" in vars(leaf) and not offloaded) or _global_hooks():
        return False
    weight, bias = leaf._parameters["weight"], leaf._parameters["bias"]
    if type(weight) is not nn.Parameter or weight.requires_grad or (bias is not None and bias.requires_grad):
        return False
    if x.dtype is not weight.dtype or x.device != weight.device or not x.numel():
        return False
    return not (
        _are_functorch_transforms_active() or forward_ad._current_level >= 0 or torch.is_autocast_enabled(x.device.type)
    )


def _global_hooks() -> bool:
    """Whether a hook on all modules wants to see the base called; torch's FLOP counter only notes where it is."""
    if not modules._has_any_global_hook():
        return False
    if modules._global_backward_pre_hooks or modules._global_backward_hooks:
        return True
    hooks = [*modules._global_forward_pre_hooks.values(), *modules._global_forward_hooks.values()]
    return not all(isinstance(getattr(hook, "__self__", None), ModuleTracker) for hook in hooks)


def one_pass(paths: Paths, x: Tensor, leaf: nn.Module, *, form: str, scaling: float) -> Tensor:
    """The layer's output, base and paths: (..., in) → (..., out) in x's precision."""
    counts: list[tuple[str, int]] = []
    flat: list[Tensor] = []
    for letter, path in paths.items():
        tensors = tuple(path._parameters.values()) if "_hf_hook" not in path.__dict__ else _asked(path)
        counts.append((letter, len(tensors)))
        flat += cast(tuple[Tensor, ...], tensors)
    single_a = counts[0] == ("A", 1) and flat[0].numel() == 1
    dtypes = tuple([tensor.dtype for tensor in flat])
    slow, product, conv1d = is_slow(x.dtype, x.device.type), form == "product", type(leaf) is Conv1D
    how = recipe(tuple(counts), single_a, product, scaling, conv1d, x.dtype, dtypes, slow)
    weight, bias = leaf._parameters["weight"], leaf._parameters["bias"]
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled() and (x.requires_grad or any([tensor.requires_grad for tensor in flat])):
        # a few tokens are over before a function of our own is entered, unless their product is not autograd's
        if rows.shape[0] > FEW or how.elementwise or how.slow:
            return cast(Tensor, _OnePass.apply(x, weight, bias, how, *flat))
    out = Pass(rows, cast(Tensor, weight), bias, how, flat).forward()
    return out if x.ndim == 2 else out.view(*x.shape[:-1], -1)


def _asked(path: nn.Module) -> tuple[Tensor, ...]:
    """The tensors of a path that carries one of accelerate's hooks, which may bring them in."""
    held = path() if offload_hook(path) else tuple(path._parameters.values())
    return (held,) if isinstance(held, Tensor) else held


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, recipe: Recipe, *flat: Tensor) -> Tensor:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        way = Pass(rows, weight, bias, recipe, flat)
        out = way.forward()
        ctx.recipe, ctx.shape, ctx.names = recipe, x.shape, tuple(way.kept)
        ctx.save_for_backward(rows if recipe.needs_x else None, weight, bias, *way.kept.values(), *flat)
        return out if x.ndim == 2 else out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, *rest = ctx.saved_tensors
        kept = dict(zip(ctx.names, rest, strict=False))
        g = g if g.ndim == 2 else g.reshape(-1, g.shape[-1])
        rows = g.new_empty(len(g), 0) if x is None else x
        way = BackwardPass(rows, weight, bias, ctx.recipe, rest[len(kept) :], kept)
        gx, of_flat = way.gradients(g, ctx.needs_input_grad[0])
        needed = ctx.needs_input_grad[4:]
        gradients = [grad if need else None for grad, need in zip(of_flat, needed, strict=True)]
        return None if gx is None else gx.view(ctx.shape), None, None, None, *gradients
