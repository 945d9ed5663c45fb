"""PEFT's optimizers for LoRA, asked for one of our adapters.

They tell the tensors apart by name, and find "lora_A" and "lora_B" within "glora_A", "glora_B" and "gralora_A".
LoRA+ has one rule, that the factor which starts at zero learns faster than the other: that is Xd in every path of
GLoRA that is a product, and gralora_B. A vector or a constant has no other factor, and keeps the plain rate. LoRA-FA
computes with LoRA's own pair of matrices, which these adapters do not have: refused, with nothing changed.

PEFT's functions ask nothing of the tuner, and have often been imported by name before this library is. So their code
is replaced, not their names; for a model without our layers they do what they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from peft import optimizers
from torch import nn

from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.arguments import refuse

PLAIN, FAST = 0, 2  # PEFT's groups: A, embeddings, B, and what of B does not decay
STOCK: dict[str, Callable[..., Any]] = {}  # PEFT's functions as they were


def loraplus(model: nn.Module, optimizer_cls: Callable[..., Any], **kwargs: Any) -> Any:
    """As PEFT's `create_loraplus_optimizer`, with the roles of GLoRA's tensors right."""
    fast = dict(_roles(model))
    if not fast:
        return STOCK["create_loraplus_optimizer"](model, optimizer_cls, **kwargs)

    def regrouped(groups: list[dict[str, Any]], **settings: Any) -> Any:
        ours = [p for group in groups for p in group["params"] if id(p) in fast]
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) not in fast]
        for parameter in ours:
            groups[FAST if fast[id(parameter)] else PLAIN]["params"].append(parameter)
        return optimizer_cls(groups, **settings)

    regrouped.__name__ = getattr(optimizer_cls, "__name__", "")  # PEFT looks for those of 8 bits
    return STOCK["create_loraplus_optimizer"](model, regrouped, **kwargs)


def _roles(model: nn.Module) -> Iterator[tuple[int, bool]]:
    """The identity of each tensor that PEFT does not know by its name, and whether it starts at zero."""
    for layer in model.modules():
        if isinstance(layer, LabLayer):
            for name in layer.carried():
                yield from ((id(parameter), fast) for parameter, fast in layer.lora_plus(name))


def lorafa(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """As PEFT's `create_lorafa_optimizer`, for a model without our layers."""
    methods = sorted({type(layer).__name__ for layer in model.modules() if isinstance(layer, LabLayer)})
    if methods:
        rule = (
            f"carries {', '.join(methods)}, and LoRA-FA computes with LoRA's own pair of matrices: use AdamW or LoRA+"
        )
        raise refuse("model", type(model).__name__, rule)
    return STOCK["create_lorafa_optimizer"](model, *args, **kwargs)


# What stands in PEFT's functions, which find nothing of this module: no closures, and imports of their own.
def _loraplus(*args: Any, **kwargs: Any) -> Any:
    from glora_lab.adapters.optimizers import loraplus

    return loraplus(*args, **kwargs)


def _lorafa(*args: Any, **kwargs: Any) -> Any:
    from glora_lab.adapters.optimizers import lorafa

    return lorafa(*args, **kwargs)


def _stand_in(name: str, ours: Callable[..., Any]) -> None:
    theirs: Any = getattr(optimizers, name)
    original: Any = getattr(theirs, "__wrapped__", None)
    if original is None:
        original = FunctionType(theirs.__code__, theirs.__globals__, name, theirs.__defaults__)
        original.__kwdefaults__, original.__doc__ = theirs.__kwdefaults__, theirs.__doc__
        original.__annotations__ = theirs.__annotations__
    STOCK[name] = original
    theirs.__code__, theirs.__defaults__, theirs.__kwdefaults__ = ours.__code__, None, None
    theirs.__wrapped__ = original  # whose signature is shown


_stand_in("create_loraplus_optimizer", _loraplus)
_stand_in("create_lorafa_optimizer", _lorafa)
