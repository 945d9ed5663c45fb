"""Where layers stand in a model: one of ours, maybe under layers that others have put over it; and one module under
several names, as tied layers are.

PEFT sees such a module under its first name and replaces it there. Under the others the base would go on without its
adapter, until that is merged into the weight that all of them share. So one adapted layer stands in every place, and
one layer again when it is taken off.
"""

from __future__ import annotations

import weakref
from typing import Any, cast

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

Places = dict[int, list[tuple[nn.Module, str]]]


def places_of_tied(model: nn.Module) -> Places:
    """The identity of each module with several places → these, as parent and name."""
    parents = [module for module in model.modules() if module._modules]
    children = [id(child) for parent in parents for child in parent._modules.values() if child is not None]
    if len(set(children)) == len(children):
        return {}
    places: Places = {}
    for parent in parents:
        for name, child in parent._modules.items():
            if child is not None:
                places.setdefault(id(child), []).append((parent, name))
    return {key: found for key, found in places.items() if len(found) > 1}


def first_name(model: nn.Module, tensor: str) -> str:
    """A tensor's name where the module that has it is called by the first of its names."""
    firsts: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        first = firsts.setdefault(id(module), name)
        if first != name and tensor.startswith(name + "."):
            return first + tensor.removeprefix(name)
    return tensor


def put_in_places(places: Places, old: nn.Module, new: nn.Module) -> None:
    """`new` in every place where `old` is still."""
    for parent, name in places.get(id(old), ()):
        if parent._modules.get(name) is old:
            setattr(parent, name, new)


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
