"""Which layers a configuration names: its patterns, as PEFT matches them with names, and settings that make PEFT choose
the same layers."""

from __future__ import annotations

import copy
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from torch import nn

from glora_lab.arguments import ALL_LINEAR, KEY, LAYERS, MOST_STEPS, PLAIN, SAVED, refuse
from glora_lab.regex_work import repeats, steps, worst

PATTERNS = ("rank_pattern", "alpha_pattern", "path_pattern", "k_pattern")
DIGITS = str.maketrans(dict.fromkeys("123456789", "0"))
ASKED = 2_000  # so many pairs of a pattern and a kind of name are looked at one by one
NARROWING = ("exclude_modules", "layers_to_transform", "layers_pattern")


@functools.lru_cache(maxsize=1 << 15)
def _compiled(key: str) -> re.Pattern[str]:
    return re.compile(KEY.format(key))  # PEFT's own cache holds 512


def pattern_key(keys: Iterable[str], name: str) -> str:
    """PEFT's `get_pattern_key`: the first of the keys that matches the end of `name`, or `name`."""
    return next((key for key in keys if _compiled(key).match(name)), name)


def check_matching(config: Any, names: Collection[str]) -> None:
    """Refuse a configuration whose patterns would take too long on all of these names.

    Each pattern has been checked alone (`check_regex`); together, or on very long names, they may be too much.
    """
    patterns = [pattern for pattern in _expressions(config) if repeats(pattern[1])]
    lengths = Counter(map(len, names)) if patterns else {}
    total = sum(worst(one, length) * count for _, one in patterns for length, count in lengths.items())
    if total <= MOST_STEPS:
        return
    kinds = Counter(name.translate(DIGITS) for name in names)  # layers 3 and 7 take the same
    if len(patterns) * len(kinds) <= ASKED:
        total = sum(steps(one, name) * count for _, one in patterns for name, count in kinds.items())
    if total > MOST_STEPS:
        name, longest = patterns[0][0], max(lengths)
        rule = (
            f"and what else is matched with names would take too long: more than {MOST_STEPS:,.0f} steps for "
            f"{len(names):,} names of up to {longest:,} characters. Use fewer repetitions (*, +, ?, {{}}), or names"
        )
        raise refuse(name, getattr(config, name), rule)


def _expressions(config: Any) -> Iterator[tuple[str, str]]:
    """(setting, expression that PEFT makes of it)."""
    for name in ("target_modules", "exclude_modules"):
        value = getattr(config, name, None)
        if isinstance(value, str) and value.lower() != ALL_LINEAR:
            yield name, value
    for name, larger in (("modules_to_save", SAVED), ("layers_pattern", LAYERS)):
        value = getattr(config, name, None) or ()
        value = [value] if isinstance(value, str) else value
        yield from ((name, larger.format(one)) for one in value if not PLAIN.fullmatch(one))
    for name in PATTERNS:
        keys = getattr(config, name, None)
        if isinstance(keys, Mapping):
            yield from ((name, KEY.format(key)) for key in keys if repeats(key))


def outside(model: nn.Module, *kinds: type) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every module, without what is inside one of these kinds."""
    inside = "."  # no name begins so
    for name, module in model.named_modules():
        if name and not name.startswith(inside):
            if isinstance(module, kinds):
                inside = name + "."  # what is inside follows at once, so the last one is enough
            yield name, module


def innermost_of(module: nn.Module) -> Any:
    """The layer, or the module, beneath all adapters."""
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


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
