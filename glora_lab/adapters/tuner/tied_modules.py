"""One module under several names of a model, as tied layers are.

PEFT sees it under its first name and replaces it there. Under the others the base would go on without its adapter,
until that is merged into the weight that all of them share. So one adapted layer stands in every place, and one layer
again when it is taken off.
"""

from __future__ import annotations

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
