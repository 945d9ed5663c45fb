"""What a search may choose: for each layer, or each kind of layer, a rank, the modes of the paths, a number of blocks.

A choice is a tuple of numbers, one for each slot: which of its options is taken. Written down it is one short text
("0.3.1.2"), which is all that a study stores of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from peft import PeftConfig
from torch import nn

from glora_lab.adapters.base.frozen import features
from glora_lab.adapters.checkpoints.fit import bare_tuner
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.own.method import DeltaMethod
from glora_lab.arguments import A_MODEL, check_choice, check_kind, check_positive_int, check_text, refuse
from glora_lab.ideas.search.record import PathMap
from glora_lab.models.architectures import HEADS

from .glora_paths import GloraPaths
from .methods import GraloraBlocks, LoraRanks, OwnRanks, Picked, Searched, Site

Choice = tuple[int, ...]
PER = ("kind", "layer")
A_SPACE = "must be a SearchSpace: SearchSpace.of(model)"


@dataclass(frozen=True)
class Slot:
    """One thing to choose: `what` ("rank", "A", "k") of the layers of `group`, from the poorest option on."""

    group: str
    what: str
    options: tuple[Any, ...]

    @property
    def name(self) -> str:
        return f"{self.group}: {self.what}"


class SearchSpace:
    """The settings that a search chooses from. Made by `SearchSpace.of`.

    `slots` are what there is to choose, `size` is how many settings.

    Args:
        method: what is chosen for a layer, as `SearchSpace.of` finds it by its name.
        groups: name → the layers that get one choice.
    """

    def __init__(self, method: Searched, groups: Mapping[str, Sequence[Site]]) -> None:
        self.method = method
        self.groups = {name: tuple(sites) for name, sites in groups.items()}
        self.slots = tuple(
            Slot(group, what, options)
            for group, sites in self.groups.items()
            for what, options in method.slots(sites).items()
        )
        self._counted: dict[tuple[str, tuple[Any, ...]], int] = {}

    @classmethod
    def of(
        cls,
        model: nn.Module,
        method: Any = "glora",
        *,
        ranks: Sequence[int] = (1, 2, 4, 8),
        modes: Any = None,
        ks: Sequence[int] = (1, 2, 4),
        per: str = "kind",
        target_modules: Any = None,
        **settings: Any,
    ) -> SearchSpace:
        """What can be chosen on a model.

        Args:
            model: the one to be adapted; it is left as it is.
            method: "glora", "lora", "gralora", or a class derived from DeltaMethod.
            ranks: the ranks to choose from. Without `modes` and for the other methods, 0 (nothing here) joins them.
            modes: of GLoRA, path → the modes to choose from, or "all". None: B alone, so that its ranks are what is
                chosen. All five paths of each layer make a space in which a search of a few hundred trials finds no
                more than chance does; the ranks of kinds of layers are what it can find.
            ks: of GraLoRA, the blocks per side to choose from; those that do not divide a layer's features are left
                out there.
            per: "kind" chooses once for all layers alike (the query of every block), "layer" for each.
            target_modules: the layers, as PEFT names them. None: all linear layers but the head.
            settings: further settings of every configuration, as `bias_free="add"` or `alpha=16`.

        Raises:
            ValueError: naming the argument, where it does not fit.
        """
        check_kind("model", model, nn.Module, A_MODEL)
        check_choice("per", per, PER)
        for name, numbers in {"ranks": ranks, "ks": ks}.items():
            if isinstance(numbers, str) or not isinstance(numbers, Sequence) or not numbers:
                raise refuse(name, numbers, "must be a list of positive integers")
            for number in numbers:
                check_positive_int(f"{name}[…]", number)
        heads = sorted(HEADS) if target_modules is None else None
        asked = GloraConfig.only(B="vector", target_modules=target_modules or "all-linear", exclude_modules=heads)
        layers = bare_tuner(asked).check_targets(model, asked)
        sites = [Site(n, *features(m), has_bias=getattr(m, "bias", None) is not None) for n, m in layers.items()]
        groups: dict[str, list[Site]] = {}
        for site in sites:
            groups.setdefault(kind_of(site.name) if per == "kind" else site.name, []).append(site)
        return cls(searched(method, ranks, modes, ks, settings), _shortly(groups))

    @property
    def size(self) -> int:
        """How many settings there are, with those that cannot be trained."""
        return prod(len(slot.options) for slot in self.slots)

    @property
    def layers(self) -> tuple[Site, ...]:
        """The layers of all groups, each with its features and whether it has a bias."""
        return tuple(site for sites in self.groups.values() for site in sites)

    def picked(self, choice: Choice) -> dict[str, Picked]:
        """Layer → what → the option picked."""
        self._check(choice)
        of: dict[str, dict[str, Any]] = {group: {} for group in self.groups}
        for slot, index in zip(self.slots, choice, strict=True):
            of[slot.group][slot.what] = slot.options[index]
        return {site.name: of[group] for group, sites in self.groups.items() for site in sites}

    def config(self, choice: Choice) -> PeftConfig:
        """The PEFT configuration of a choice, for `get_peft_model`.

        Raises:
            ValueError: where it leaves nothing to train, or its options do not go together.
        """
        picked = self.picked(choice)
        on = {site: picked[site.name] for site in self.layers if self._params(site, picked[site.name])}
        if not on:
            raise refuse("choice", self.written(choice), "leaves nothing to train")
        return self.method.config(on)

    def path_map(self, choice: Choice) -> PathMap:
        """Where the parameters of a choice are, for `plot_path_map`."""
        picked = self.picked(choice)
        return PathMap(tuple(row for site in self.layers for row in self.method.paths(site, picked[site.name])))

    def params(self, choice: Choice) -> int:
        """What it trains; 0 where it leaves nothing to train."""
        picked = self.picked(choice)
        return sum(self._params(site, picked[site.name]) for site in self.layers)

    def _check(self, choice: Choice) -> None:
        """Refuse what is no choice of this space."""
        counts = [len(slot.options) for slot in self.slots]
        whole = isinstance(choice, tuple | list) and len(choice) == len(counts)
        if not whole or not all(isinstance(n, int) and 0 <= n < most for n, most in zip(choice, counts, strict=True)):
            rule = f"must be numbers of options, one for each of the {len(counts)} slots of this space"
            raise refuse("choice", choice, rule)

    def fits(self, choice: Choice) -> bool:
        """Whether it can be trained: its options go together, and something is left to train."""
        return all(map(self.method.fits, self.picked(choice).values())) and self.params(choice) > 0

    def _params(self, site: Site, picked: Picked) -> int:
        key = site.name, tuple(picked.values())
        if key not in self._counted:
            self._counted[key] = self.method.params(site, picked)
        return self._counted[key]

    def written(self, choice: Choice) -> str:
        """The choice as a short text, which `read` understands."""
        self._check(choice)
        return ".".join(map(str, choice))

    def read(self, text: str) -> Choice:
        """The choice that was `written`.

        Raises:
            ValueError: where it is none of this space.
        """
        check_text("text", text)
        numbers = text.split(".")
        if len(numbers) != len(self.slots) or not all(
            number.isdecimal() and int(number) < len(slot.options)
            for number, slot in zip(numbers, self.slots, strict=True)
        ):
            raise refuse("text", text, f"must have a number for each of the {len(self.slots)} slots of this space")
        return tuple(map(int, numbers))

    @cached_property
    def largest(self) -> Choice:
        """The richest option everywhere; of GraLoRA the largest rank at the k of which there are most parameters."""
        return tuple(self._extreme(slot, -1) for slot in self.slots)

    @cached_property
    def simplest(self) -> list[Choice]:
        """What can be trained of the poorest choice, and of those that have one option more than that.

        Raises:
            ValueError: where there is none.
        """
        poorest = tuple(self._extreme(slot, 0) for slot in self.slots)
        if self.fits(poorest):
            return [poorest]
        steps = [
            tuple(index if at == place else poorest[at] for at in range(len(poorest)))
            for place, slot in enumerate(self.slots)
            for index in range(len(slot.options))
        ]
        fitting = [step for step in steps if self.fits(step)]
        if not fitting:
            raise refuse("space", self.method.name, "has no setting that leaves something to train, or none that fits")
        return fitting

    @cached_property
    def smallest(self) -> Choice:
        """As little as can be trained, the poorest options, and in one group the fewest parameters that are any."""
        return min(self.simplest, key=self.params)

    def _extreme(self, slot: Slot, index: int) -> int:
        return 0 if slot.what == "k" else range(len(slot.options))[index]

    def alike(self, **options: Any) -> Choice | None:
        """The choice with these options in every group, and the poorest of what is not named; None where there is
        none: `alike(B="vector")`."""
        choice = []
        for slot in self.slots:
            wanted = options.get(slot.what, slot.options[self._extreme(slot, 0)])
            if wanted not in slot.options:
                return None
            choice.append(slot.options.index(wanted))
        named = {slot.what for slot in self.slots}
        found = tuple(choice)
        return found if set(options) <= named and self.fits(found) else None

    def anchors(self) -> dict[str, Choice]:
        """Known methods that are settings of this space, by name."""
        known: dict[str, dict[str, Any]] = {}
        for rank in self.method.ranks:
            lora = {"rank": rank, "B": "lora"} if any(slot.what == "B" for slot in self.slots) else {"rank": rank}
            known[f"rank {rank}"] = lora
        known |= {
            "BitFit": {"E": "vector"},
            "SSF": {"A": "vector", "D": "vector", "E": "vector"},
            "(IA)³": {"A": "vector", "D": "vector"},
        }
        found = {name: self.alike(**options) for name, options in known.items()}
        return {name: choice for name, choice in found.items() if choice is not None}

    def check_limit(self, limit: int | None) -> None:
        """Refuse a limit that no setting meets, and a space without a setting that can be trained.

        Raises:
            ValueError: naming the parameters of the smallest setting.
        """
        least = self.params(self.smallest)
        if limit is None:
            return
        check_positive_int("limit", limit)
        if limit < least:
            raise refuse("limit", limit, f"must be at least {least:,}: so many parameters has the smallest setting")


def searched(method: Any, ranks: Sequence[int], modes: Any, ks: Sequence[int], settings: Mapping[str, Any]) -> Searched:
    """The method of that name, or of that class.

    Raises:
        ValueError: for a method that is not known, or a `modes` that it does not have.
    """
    if modes is not None and method != GloraPaths.name:
        raise refuse("modes", modes, f"is of GLoRA's paths, and `method` is {method!r}")
    if isinstance(method, type) and issubclass(method, DeltaMethod):
        return OwnRanks(ranks, settings, method)
    if method == GloraPaths.name:
        return GloraPaths(ranks, settings, modes)
    if method == GraloraBlocks.name:
        return GraloraBlocks(ranks, settings, ks)
    if method == LoraRanks.name:
        return LoraRanks(ranks, settings)
    raise refuse("method", method, "must be 'glora', 'lora', 'gralora', or a class derived from DeltaMethod")


def kind_of(layer: str) -> str:
    """The layer's name without the numbers in it: what all blocks have."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", layer)


def _shortly(groups: Mapping[str, list[Site]]) -> dict[str, list[Site]]:
    """Each group by as little of the end of its name as tells it from the others."""
    names = {}
    for name in groups:
        parts = name.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        names[name] = next(
            end for end in ends if sum(other == end or other.endswith(f".{end}") for other in groups) == 1
        )
    return {names[name]: sites for name, sites in groups.items()}
