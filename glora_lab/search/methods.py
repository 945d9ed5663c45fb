"""What each method lets a layer choose, and what of shared weights a choice uses.

One table for all: the slots of a layer (what can be chosen, and the options), the PEFT configuration of a choice, the
plan of one layer, and the tensors that the choice has of weights which all choices share: a smaller rank is a prefix.
GLoRA's, which has more to choose, is in glora_paths.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, NamedTuple

from peft import LoraConfig, PeftConfig
from torch import Tensor, nn

from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.adapters.own.config import DeltaConfig, DeltaPlan
from glora_lab.adapters.own.method import DeltaMethod
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.arguments import refuse
from glora_lab.ideas.search.record import PathChoice
from glora_lab.wording import few

Picked = Mapping[str, Any]  # what → the option that was picked: {"rank": 4, "A": "vector"}
Tensors = Mapping[str, Tensor]  # under a checkpoint's names


class Site(NamedTuple):
    """A layer that can be adapted."""

    name: str
    in_features: int
    out_features: int
    has_bias: bool


class LoraPlan(NamedTuple):
    """What PEFT's LoRA puts on a layer."""

    site: Site
    r: int
    scaling: float


class Searched:
    """A method as a search sees it. `settings` go into every configuration."""

    name: ClassVar[str]

    def __init__(self, ranks: Sequence[int], settings: Mapping[str, Any]) -> None:
        self.ranks, self.settings = tuple(sorted(ranks)), dict(settings)

    def slots(self, sites: Sequence[Site]) -> dict[str, tuple[Any, ...]]:
        """What these layers can choose, as one → the options, the poorest first."""
        return {"rank": (0, *self.ranks)}

    def fits(self, picked: Picked) -> bool:
        """Whether the options that were picked go together."""
        return True

    def config(self, picked: Mapping[Site, Picked]) -> PeftConfig:
        """Of the layers that have something to train."""
        raise NotImplementedError

    def params(self, site: Site, picked: Picked) -> int:
        plan = self.plan(site, picked)
        return 0 if plan is None else sum(map(prod, self.shapes(plan).values()))

    def plan(self, site: Site, picked: Picked) -> Any:
        """What the layer notes of the choice, beside its tensors; None where it is left as it is."""
        raise NotImplementedError

    def paths(self, site: Site, picked: Picked) -> list[PathChoice]:
        """What a choice puts on a layer, path by path; all of it is path B where the method has no others."""
        params = self.params(site, picked)
        rank, k = (picked["rank"], picked.get("k", 0)) if params else (0, 0)
        return [PathChoice(site.name, "B", self.name if params else "none", rank, params, k)]

    def shapes(self, plan: Any) -> dict[str, tuple[int, ...]]:
        """Name of a trained tensor → shape."""
        shapes: dict[str, tuple[int, ...]] = plan.tensors()
        return shapes

    def note(self, layer: Any, adapter_name: str, plan: Any) -> None:
        """Let the layer know that this is what it holds now."""
        layer.plans[adapter_name] = plan
        layer.r[adapter_name], layer.scaling[adapter_name] = plan.r, plan.scaling

    def item(self, shapes: Mapping[str, tuple[int, ...]], made: nn.Module) -> nn.Module:
        """A module of its own for tensors of these names in one container; `made` is the richest choice's."""
        return made

    def fixed(self, plan: Any) -> Tensors:
        """The tensors that do not train."""
        return {}

    def richest(self) -> dict[str, Picked]:
        """Weights that are not shared → the choice whose tensors all others of these weights are parts of."""
        return {"": {"rank": self.ranks[-1]}}

    def weights_of(self, picked: Picked) -> str:
        """Which of those a choice uses."""
        return ""

    def part(self, shared: Tensors, shapes: Mapping[str, tuple[int, ...]], picked: Picked) -> dict[str, Tensor]:
        """Of the shared tensors of a layer those of a choice: a smaller rank is a prefix."""
        return {name: shared[name][tuple(slice(size) for size in shape)] for name, shape in shapes.items()}


class LoraRanks(Searched):
    """A rank for each layer; the product is scaled by 1 at every rank, or as `lora_alpha` says."""

    name = "lora"

    def config(self, picked: Mapping[Site, Picked]) -> LoraConfig:
        ranks = {site.name: one["rank"] for site, one in picked.items()}
        top = max(ranks.values())
        alphas: dict[str, Any] = {} if "lora_alpha" in self.settings else {"lora_alpha": top, "alpha_pattern": ranks}
        return LoraConfig(r=top, rank_pattern=ranks, target_modules=list(ranks), **alphas, **self.settings)

    def plan(self, site: Site, picked: Picked) -> LoraPlan | None:
        r: int = picked["rank"]
        alpha: float = self.settings.get("lora_alpha", r)
        over = math.sqrt(r) if self.settings.get("use_rslora") else r
        return LoraPlan(site, r, alpha / over) if r else None

    def shapes(self, plan: LoraPlan) -> dict[str, tuple[int, ...]]:
        site = plan.site
        return {"lora_A.weight": (plan.r, site.in_features), "lora_B.weight": (site.out_features, plan.r)}

    def note(self, layer: Any, adapter_name: str, plan: LoraPlan) -> None:
        layer.r[adapter_name], layer.scaling[adapter_name] = plan.r, plan.scaling


class OfLab(Searched):
    """What our own configurations share: a plan says what a layer holds."""

    def plan(self, site: Site, picked: Picked) -> Any:
        if not self.trains(picked):
            return None
        sizes: Any = {"in_features": site.in_features, "out_features": site.out_features}
        return self.config({site: picked}).plan(site.name, **sizes, has_bias=site.has_bias)

    def trains(self, picked: Picked) -> bool:
        return bool(picked["rank"])

    def config(self, picked: Mapping[Site, Picked]) -> LabConfig:
        raise NotImplementedError


class GraloraBlocks(OfLab):
    """A rank and a number of blocks per side for each layer. Weights of another k are other weights."""

    name = "gralora"

    def __init__(self, ranks: Sequence[int], settings: Mapping[str, Any], ks: Sequence[int]) -> None:
        super().__init__(ranks, settings)
        self.ks = tuple(sorted(ks))

    def slots(self, sites: Sequence[Site]) -> dict[str, tuple[Any, ...]]:
        features = {size for site in sites for size in (site.in_features, site.out_features)}
        ks = tuple(k for k in self.ks if all(size % k == 0 for size in features))
        if not ks:
            names = few([site.name for site in sites])
            raise refuse("ks", self.ks, f"must have one that divides the features of {names}: {sorted(features)}")
        return {**super().slots(sites), "k": ks}

    def fits(self, picked: Picked) -> bool:
        return bool(picked["rank"] % picked["k"] == 0)

    def trains(self, picked: Picked) -> bool:
        return super().trains(picked) and self.fits(picked)

    def config(self, picked: Mapping[Site, Picked]) -> GraloraConfig:
        ranks = {site.name: one["rank"] for site, one in picked.items()}
        ks = {site.name: one["k"] for site, one in picked.items()}
        alpha: dict[str, Any] = {} if "alpha" in self.settings else {"alpha_pattern": ranks}
        first = next(iter(ks))
        return GraloraConfig(
            r=ranks[first],
            gralora_k=ks[first],
            rank_pattern=ranks,
            k_pattern=ks,
            target_modules=list(ranks),
            **alpha,
            **self.settings,
        )

    def richest(self) -> dict[str, Picked]:
        whole = {k: [r for r in self.ranks if r % k == 0] for k in self.ks}
        return {f"k{k}": {"rank": ranks[-1], "k": k} for k, ranks in whole.items() if ranks}

    def weights_of(self, picked: Picked) -> str:
        return f"k{picked['k']}"

    def part(self, shared: Tensors, shapes: Mapping[str, tuple[int, ...]], picked: Picked) -> dict[str, Tensor]:
        """A prefix in each of the k groups that a factor's rank consists of."""
        k = picked["k"]
        return {
            "gralora_A": _groups(shared["gralora_A"], k, -1, shapes["gralora_A"]),
            "gralora_B": _groups(shared["gralora_B"], k, 1, shapes["gralora_B"]),
        }


class OwnRanks(OfLab):
    """A rank for each layer, of a method of one's own."""

    def __init__(self, ranks: Sequence[int], settings: Mapping[str, Any], kind: type[DeltaMethod]) -> None:
        super().__init__(ranks, settings)
        self.kind, self.name = kind, kind.__name__  # type: ignore[misc]

    def config(self, picked: Mapping[Site, Picked]) -> DeltaConfig:
        ranks = {site.name: one["rank"] for site, one in picked.items()}
        settings: dict[str, Any] = {"rank_pattern": ranks, "target_modules": list(ranks), **self.settings}
        return self.kind.config(r=max(ranks.values()), **settings)

    def shapes(self, plan: DeltaPlan) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in plan.tensors().items() if name not in plan.fixed}

    def fixed(self, plan: DeltaPlan) -> Tensors:
        return plan.own.fixed(plan.out_features, plan.in_features, plan.r)


def _groups(tensor: Tensor, k: int, axis: int, shape: tuple[int, ...]) -> Tensor:
    full, less = tensor.shape[axis] // k, shape[axis] // k
    return tensor.unflatten(axis, (k, full)).narrow(axis if axis < 0 else axis + 1, 0, less).reshape(shape)
