"""GLoRA's paths as a search sees them: a mode for each, and one rank for those in mode lora.

What a choice has of shared weights is as in the authors' code (Arnav0400/ViT-Slim, folder GLoRA): a smaller rank is a
prefix, a vector is the first column of Xd, a constant its first entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.glora.path_modules import build_path
from glora_lab.adapters.glora.paths import MODES, PATHS, LayerPlan, inert_reason
from glora_lab.arguments import refuse
from glora_lab.ideas.search.record import PathChoice

from .methods import OfLab, Picked, Site, Tensors

RICHEST = ("lora", "vector", "constant", "none")  # each holds what those behind it use


class GloraPaths(OfLab):
    """A mode for each path, and one rank for the paths in mode lora. Without `modes`: B alone, and its rank."""

    name = "glora"

    def __init__(self, ranks: Sequence[int], settings: Mapping[str, Any], modes: Any = None) -> None:
        super().__init__(ranks, settings)
        self.modes = _checked(MODES if modes == "all" else {} if modes is None else modes)
        self._whole: dict[str, LayerPlan] = {}  # by layer: all that can be asked of it

    def slots(self, sites: Sequence[Site]) -> dict[str, tuple[Any, ...]]:
        if not self.modes:
            return super().slots(sites)
        rank = {"rank": self.ranks} if any("lora" in of for of in self.modes.values()) else {}
        poorest_first = {path: tuple(sorted(of, key=RICHEST.index, reverse=True)) for path, of in self.modes.items()}
        return {**rank, **poorest_first}

    def modes_of(self, picked: Picked) -> dict[str, str]:
        if not self.modes:
            return {"B": "lora" if picked["rank"] else "none"}
        return {path: picked[path] for path in self.modes}

    def trains(self, picked: Picked) -> bool:
        return any(mode != "none" for mode in self.modes_of(picked).values())

    def config(self, picked: Mapping[Site, Picked]) -> GloraConfig:
        ranks = {site.name: one.get("rank") or self.ranks[0] for site, one in picked.items()}
        modes = {site.name: self._acting(site, one) for site, one in picked.items()}
        return GloraConfig.only(
            r=max(ranks.values()), rank_pattern=ranks, path_pattern=modes, target_modules=list(ranks), **self.settings
        )

    def plan(self, site: Site, picked: Picked) -> LayerPlan | None:
        """As the configuration's own, from one that asks for all paths: a search asks for thousands."""
        modes, r = self._acting(site, picked), picked.get("rank") or self.ranks[0]
        if all(mode == "none" for mode in modes.values()):
            return None
        if site.name not in self._whole:
            self._whole[site.name] = super().plan(site, self.richest()[""])
        return replace(self._whole[site.name], r=r, scaling=self._scaling(site.name, r), asked=modes, modes=modes)

    def paths(self, site: Site, picked: Picked) -> list[PathChoice]:
        plan, modes = self.plan(site, picked), self._acting(site, picked)
        named = list(self.modes or "B")
        if plan is None:
            return [PathChoice(site.name, path, "none", 0, 0) for path in named]
        ranks = {path: plan.r if modes[path] == "lora" else 0 for path in named}
        return [PathChoice(site.name, path, modes[path], ranks[path], plan.params(path)) for path in named]

    def _acting(self, site: Site, picked: Picked) -> dict[str, str]:
        """Path → mode; none for those that could do nothing on this layer."""
        known: Any = {"has_bias": site.has_bias, "bias_free": self.settings.get("bias_free", "drop")}
        modes = self.modes_of(picked)
        return {path: "none" if inert_reason(path, **known) else modes.get(path, "none") for path in PATHS}

    def _scaling(self, layer: str, r: int) -> float:
        if self.settings.get("alpha") is None and not self.settings.get("alpha_pattern"):
            return 1.0
        return GloraConfig.only(B="lora", r=r, **self.settings).scaling(layer, r)

    def item(self, shapes: Mapping[str, tuple[int, ...]], made: nn.Module) -> nn.Module:
        return build_path(dict(shapes))

    def richest(self) -> dict[str, Picked]:
        return {"": {what: options[-1] for what, options in self.slots([]).items()}}

    def part(self, shared: Tensors, shapes: Mapping[str, tuple[int, ...]], picked: Picked) -> dict[str, Tensor]:
        return {name: _of_path(shared, name, shape) for name, shape in shapes.items()}


def _of_path(shared: Tensors, name: str, shape: tuple[int, ...]) -> Tensor:
    """`name` is "glora_A.Xd"; a vector and a constant are of Xd where there is one."""
    start, _, factor = name.partition(".")
    held = shared[name] if name in shared else shared[f"{start}.Xd"]
    if factor != "X" or held.ndim == len(shape):
        return held[tuple(slice(size) for size in shape)]
    return held[0, :1]  # a constant of a matrix


def _checked(modes: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(modes, Mapping) or not set(modes) <= set(PATHS):
        raise refuse("modes", modes, 'must be "all", or a dict from path (A, B, C, D, E) to the modes to choose from')
    for path, of in modes.items():
        if not of or isinstance(of, str) or not set(of) <= set(MODES[path]):
            raise refuse(f"modes[{path!r}]", of, f"must be some of: {', '.join(MODES[path])}")
    return {path: tuple(dict.fromkeys(of)) for path, of in modes.items()}
