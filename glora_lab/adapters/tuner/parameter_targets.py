"""Which parameters a configuration names, whether an adapter can be put on them, and where it is in a file.

Names are matched as PEFT matches `target_parameters`: the whole of one, or its end after a dot. `exclude_modules` and
`layers_to_transform` do not narrow them, as in PEFT.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from glora_lab.adapters.base.frozen import SUPPORTED
from glora_lab.adapters.base.parameter import ParameterAsLayer
from glora_lab.arguments import refuse

from .parameter_layer import ParameterLayer
from .targets import innermost_of, outside

NAME = "target_parameters"


def chosen_parameters(model: nn.Module, config: Any) -> dict[str, ParameterAsLayer]:
    """Name → parameter, as the base model names it, for those that `config` chooses."""
    ends = tuple(f".{one}" for one in config.target_parameters or ())
    found = _parameters(model) if ends else ()
    return {name: innermost for name, innermost in found if f".{name}".endswith(ends)}


def unmatched_parameters(model: nn.Module, config: Any) -> list[str]:
    """The entries of `target_parameters` that no parameter answers to."""
    names = [f".{name}" for name, _ in _parameters(model)] if config.target_parameters else []
    return sorted(one for one in config.target_parameters or () if not any(n.endswith(f".{one}") for n in names))


def check_parameters(
    model: nn.Module, chosen: Mapping[str, ParameterAsLayer], layers: Collection[str], kind: type[ParameterLayer]
) -> None:
    """Refuse parameters that cannot be adapted, with the model as it is.

    Args:
        chosen: as of `chosen_parameters`.
        layers: names of the layers that the same adapter is put on.
        kind: the class of the wrappers.
    """
    for name, innermost in chosen.items():
        module, _, parameter = name.rpartition(".")
        if not module:
            rule = "is on the top-level module: Targeting an nn.Parameter on the top-level module is not supported"
            raise refuse(NAME, parameter, rule)
        held = model.get_submodule(module)
        if isinstance(innermost.module, SUPPORTED):
            raise refuse(NAME, name, f"belongs to a linear layer: name {module!r} in `target_modules`")
        if isinstance(held, BaseTunerLayer) and not isinstance(held, kind):
            rule = f"is in {module!r}, which carries {type(held).__name__} already, and is not a valid target"
            raise refuse(NAME, name, rule)
        if why := innermost.unfit():
            raise refuse(NAME, name, why)
        inside = [layer for layer in layers if layer.startswith(f"{module}.")]
        if inside:
            rule = f"is in {module!r}, which holds layers of `target_modules`: {inside[0]}. Give each an adapter"
            raise refuse(NAME, name, rule)


def check_alike(model: nn.Module, chosen: Iterable[str]) -> None:
    """Refuse to wrap other parameters of a module than are wrapped there: a file tells them apart by their depth."""
    for module, names in _by_module(chosen).items():
        there: list[str] = []
        held = model.get_submodule(module)
        while isinstance(held, ParameterLayer):
            there.insert(0, held.layer_name)
            held = held.base_layer
        if there and there != names:
            raise ValueError(
                "When using multiple adapters with `target_parameters`, all adapters must target the same set of "
                f"parameters, but got {names} for the new adapter and {there} are adapted in {module!r}."
            )


@contextmanager
def unsaid_of_patterns(config: Any) -> Iterator[None]:
    """Within, PEFT does not say that patterns are ignored where it looks for them among layers and not parameters."""
    if not config.target_parameters:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys did not match any targeted module")
        yield


def in_file(chosen: Iterable[str]) -> dict[str, str]:
    """Parameter's name → what its adapter's tensors are named after: PEFT's wrappers, the last one outermost."""
    return {
        name: module + ".base_layer" * depth
        for module, names in _by_module(chosen).items()
        for depth, name in enumerate(reversed(names))
    }


def _by_module(names: Iterable[str]) -> dict[str, list[str]]:
    by_module: dict[str, list[str]] = {}
    for name in names:
        by_module.setdefault(name.rpartition(".")[0], []).append(name)
    return by_module


def _parameters(model: nn.Module) -> Iterator[tuple[str, ParameterAsLayer]]:
    """Every parameter of the base, adapted or not, without those inside a layer of a tuner."""
    for name, held in [("", model), *outside(model, BaseTunerLayer, AuxiliaryTrainingWrapper)]:
        module = innermost_of(held)
        for parameter, _ in module.named_parameters(recurse=False):
            yield f"{name}.{parameter}" if name else parameter, ParameterAsLayer(module, parameter)
