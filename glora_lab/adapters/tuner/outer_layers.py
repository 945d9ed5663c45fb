"""The tuner layers that were put over one of ours later, which merge into the same weight without a word to it.

PEFT's layers add to the innermost layer's weight in place. What an outer one has merged is therefore taken out before
W0 is read, kept or put back, and merged again after.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from peft.tuners.lora.layer import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from glora_lab.adapters.base.frozen import InnermostLayer


class Place:
    """Where a layer was put: `parent.name`, in which PEFT may have put other layers over it since.

    The parent is held weakly, or no model would be freed before Python looks for cycles; a copy of the model has
    places in the copy.
    """

    def __init__(self, parent: nn.Module | None, name: str) -> None:
        self.parent, self.name = None if parent is None else weakref.ref(parent), name

    def module(self) -> nn.Module | None:
        """The parent."""
        return None if self.parent is None else self.parent()

    def above(self, layer: BaseTunerLayer) -> list[BaseTunerLayer]:
        """The tuner layers over `layer`, outermost first."""
        parent = self.module()
        if parent is None:
            return []
        over: list[BaseTunerLayer] = [parent] if isinstance(parent, BaseTunerLayer) else []
        module: Any = parent._modules.get(self.name)
        while isinstance(module, BaseTunerLayer) and module is not layer:
            over.append(module)
            module = cast(Any, module).base_layer
        return over if module is layer else []

    def __deepcopy__(self, memo: dict[int, Any]) -> Place:
        parent = self.module()
        return Place(memo.get(id(parent)), self.name)  # None where the layer is copied alone

    def __reduce__(self) -> tuple[type[Place], tuple[nn.Module | None, str]]:
        return Place, (self.module(), self.name)


@contextmanager
def set_aside(outer: Sequence[BaseTunerLayer], innermost: InnermostLayer, *, again: bool) -> Iterator[None]:
    """Within, the innermost layer is without what `outer` (outermost first) merged. After, it is merged `again` into
    whatever that layer has then, or else, and after an error, the layer has the bits of before."""
    merged = [list(tuner.merged_adapters) for tuner in outer]
    if not any(merged):
        yield
        return
    tensors = [t for t in (innermost.weight, innermost.bias) if t is not None]
    before = [tensor.data for tensor in tensors]
    for tensor in tensors:
        tensor.data = tensor.data.clone()  # PEFT subtracts in place
    for tuner in outer:
        if tuner.merged:
            tuner.unmerge()
    try:
        yield
    except BaseException:
        again = False
        raise
    finally:
        if again:
            for tuner, names in reversed(list(zip(outer, merged, strict=True))):
                if names:
                    tuner.merge(adapter_names=names)
        else:
            for tensor, data in zip(tensors, before, strict=True):
                tensor.data = data
            for tuner, names in zip(outer, merged, strict=True):
                tuner.merged_adapters = names


def adds_only(tuner: BaseTunerLayer) -> bool:
    """Whether what this layer merges is a sum, the same over any weight: LoRA, and not DoRA."""
    return isinstance(tuner, LoraLayer) and not has_dora(tuner)


def has_dora(tuner: BaseTunerLayer) -> bool:
    """Whether an active or merged adapter is a DoRA, which divides by the norm of the weight that it finds."""
    names = [*tuner.active_adapters, *tuner.merged_adapters]
    return isinstance(tuner, LoraLayer) and any(cast(Any, tuner).use_dora.get(name) for name in names)
