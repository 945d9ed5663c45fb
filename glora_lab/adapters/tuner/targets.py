"""Which layers a configuration names, said so that PEFT chooses the same ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator
from typing import Any

from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

NARROWING = ("exclude_modules", "layers_to_transform", "layers_pattern")


def outside(model: nn.Module, *kinds: type) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every module, without what is inside one of these kinds."""
    inside = "."  # no name begins so
    for name, module in model.named_modules():
        if name and not name.startswith(inside):
            if isinstance(module, kinds):
                inside = name + "."  # what is inside follows at once, so the last one is enough
            yield name, module


def choose(config: Any, carried: Collection[str], base: nn.Module, kinds: tuple[type, ...]) -> None:
    """Make `config`, PEFT's own or ours, choose the layers `carried` of `base`, and no others.

    Its settings stay as they are where they do that; else the layers are named one by one, as a regular expression
    where a name is the end of another's.
    """
    names = [name for name, _ in outside(base, *kinds)]
    if _chosen(config, names) == set(carried):
        return
    for name in NARROWING:
        if hasattr(config, name):
            setattr(config, name, None)
    config.target_modules = set(carried)
    if _chosen(config, names) != set(carried):
        config.target_modules = "|".join(re.escape(name) for name in sorted(carried))


def narrow(config: Any, carried: Collection[str], base: nn.Module, kinds: tuple[type, ...]) -> None:
    """As `choose`, keeping what else narrows the choice where it can."""
    config.target_modules = set(carried)
    choose(config, carried, base, kinds)


def _chosen(config: Any, names: Collection[str]) -> set[str]:
    asked = copy.copy(config)
    return {name for name in names if check_target_module_exists(asked, name)}
