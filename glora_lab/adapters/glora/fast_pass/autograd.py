"""GLoRA's layer as one function of autograd, with the forward and the backward pass of forward.py and backward.py.

glora/formula.py says the same term by term, in operations that autograd follows; it is the reference, and what runs
where this does not apply. A gradient of the gradient is had where it is asked for (`create_graph`): the backward
pass then keeps to operations that autograd follows itself.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active
from torch._C._functorch import is_batchedtensor, is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.nn.modules import module as modules
from torch.utils.module_tracker import ModuleTracker
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.base.kind import SUPPORTED, class_keeps_forward, keeps_forward
from glora_lab.adapters.glora.formula import LowRankPath, Paths, SinglePath

from .backward import BackwardPass
from .forward import FEW, Pass
from .plan import Recipe, recipe
from .precision import is_slow

PLAIN = (Tensor, nn.Parameter)
PATH_TYPES = (LowRankPath, SinglePath)


def applies(layer: nn.Module, x: Tensor, offloaded: bool = False) -> bool:
    """Whether `layer` is a plain layer, to be computed from its weight without a call, outside torch's transformations.

    Under torch.compile, torch.jit.trace, autocast and torch.func autograd follows ../formula.py; a layer with hooks,
    one that trains itself, one of DataParallel's copies, and tensors that are no plain ones are left to their owners.
    """
    kind = type(layer)
    if torch.compiler.is_compiling() or torch._C._is_tracing() or type(x) not in PLAIN:
        return False
    if kind not in SUPPORTED and not class_keeps_forward(kind):
        return False
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return False
    if ("forward" in vars(layer) and not (offloaded and keeps_forward(layer))) or _global_hooks():
        return False
    held = layer._parameters
    if "weight" not in held or "bias" not in held:  # computed, see base/computed.py
        return False
    weight, bias = held["weight"], held["bias"]
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


def one_pass(paths: Paths, x: Tensor, layer: nn.Module, *, form: str, scaling: float) -> Tensor:
    """The layer's output, base and paths: (..., in) → (..., out) in x's precision."""
    counts: list[tuple[str, int]] = []
    flat: list[Tensor] = []
    for letter, path in paths.items():
        tensors = tuple(path._parameters.values()) if _is_plain(path) else _asked(path)
        counts.append((letter, len(tensors)))
        flat += cast(tuple[Tensor, ...], tensors)
    single_a = counts[0] == ("A", 1) and flat[0].numel() == 1
    dtypes = tuple([tensor.dtype for tensor in flat])
    slow, product, conv1d = is_slow(x.dtype, x.device.type), form == "product", isinstance(layer, Conv1D)
    how = recipe(tuple(counts), single_a, product, scaling, conv1d, x.dtype, dtypes, slow)
    weight, bias = layer._parameters["weight"], layer._parameters["bias"]
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    # a few tokens are over before a function of our own is entered, unless their product is not autograd's
    worth_it = rows.shape[0] > FEW or how.elementwise or how.slow
    if worth_it and torch.is_grad_enabled() and (x.requires_grad or any(tensor.requires_grad for tensor in flat)):
        out: Tensor = _OnePass.apply(rows, weight, bias, how, *flat)[0]
    else:
        out = Pass(rows, cast(Tensor, weight), bias, how, flat).forward()
    # the view is made out here: autograd lets nobody write into one that a function of our own returns
    return out if x.ndim == 2 else out.view(*x.shape[:-1], -1)


def _is_plain(path: nn.Module) -> bool:
    """Whether a path's tensors are its parameters, in their order: none is pruned, parametrised or brought in."""
    return type(path) in PATH_TYPES and not path._forward_pre_hooks and "_hf_hook" not in path.__dict__


def _asked(path: nn.Module) -> tuple[Tensor, ...]:
    """The tensors of a path that computes one, or that carries one of accelerate's hooks, which may bring them in."""
    held = path()
    return (held,) if isinstance(held, Tensor) else cast(tuple[Tensor, ...], held)


class _OnePass(torch.autograd.Function):
    """(t, i) → (t, o), and, where the gradients do not need x, what they have of it instead.

    What is saved of x is an output, for then autograd knows that it depends on x: a gradient of a gradient comes back
    through it as `of_saved`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, recipe: Recipe, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        run = Pass(x, weight, bias, recipe, flat)
        out = run.forward()
        ctx.recipe, ctx.shape, ctx.names = recipe, out.shape, tuple(run.saved)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x if recipe.needs_x else None, weight, bias, *run.saved.values(), *flat)
        return (out,) if recipe.needs_x else (out, *run.saved.values())

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *of_saved: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, *rest = ctx.saved_tensors
        saved = dict(zip(ctx.names, rest, strict=False))
        g = weight.new_zeros(ctx.shape) if g is None else g
        rows = g.new_empty(len(g), 0) if x is None else x
        plainly = torch.is_grad_enabled() or is_legacy_batchedtensor(g) or is_batchedtensor(g)
        run = BackwardPass(rows, weight, bias, ctx.recipe, rest[len(saved) :], saved, plainly)
        gx, of_flat = run.gradients(g, ctx.needs_input_grad[0])
        if gx is not None and any(of is not None for of in of_saved):
            gx = run.through_saved(gx, dict(zip(ctx.names, of_saved, strict=True)))
        needed = ctx.needs_input_grad[4:]
        return gx, None, None, None, *(grad if need else None for grad, need in zip(of_flat, needed, strict=True))
