"""Layers whose tensors accelerate keeps elsewhere, and brings in only while a module is called.

Whoever reads a tensor without a call finds it on the meta device: an error at best, and silence where the meta
tensor meets an in-place sum. An adapter's own tensors are therefore asked for by calling the module that holds
them; tensors of other people's layers are read within `onloaded`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def offload_hook(module: nn.Module) -> Any:
    """The accelerate hook that offloads this module's tensors, or None."""
    hook = vars(module).get("_hf_hook")  # as an attribute that is not there it would take ten times as long
    return hook if getattr(hook, "offload", False) else None


def device_of(layer: nn.Module) -> torch.device | None:
    """Where accelerate computes with an offloaded module; None for any other."""
    hook = offload_hook(layer)
    return None if hook is None else torch.device(hook.execution_device)


def is_meta(item: nn.Module | Tensor) -> bool:
    """Whether a tensor, or one of a module's own, has no data here."""
    return any(
        t.device.type == "meta" for t in ([item] if isinstance(item, Tensor) else item.parameters(recurse=False))
    )


@contextmanager
def onloaded(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, these modules' own tensors are in place, and calling a module does not take them away again."""
    held = [(module, hook) for module in modules if (hook := offload_hook(module)) is not None]
    # PEFT may have brought some in; then it also takes them away
    away = [(module, hook) for module, hook in held if is_meta(module)]
    for module, hook in away:
        hook.pre_forward(module)
    for _, hook in held:
        hook.offload = False
    try:
        yield
    finally:
        for _, hook in held:
            hook.offload = True
        for module, hook in away:
            hook.post_forward(module, None)


def keep_offloaded(module: nn.Module) -> None:
    """Let accelerate bring in, from now on, the tensors that an onloaded module has now."""
    hook: Any = getattr(module, "_hf_hook", None)
    if getattr(hook, "weights_map", None) is not None:
        tensors = itertools.chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        hook.weights_map = {name: tensor.detach().to("cpu") for name, tensor in tensors}
