"""`add_weighted_adapter`: Σ wᵢ ΔWᵢ and Σ wᵢ Δbᵢ as one adapter.

What GLoRA's paths and GraLoRA's blocks add is linear in them, path by path and block by block, whatever W0 is; so the
sum is made of the adapters alone (glora/weighted.py, gralora/weighted.py). A sum of low-rank products is exact with
their ranks side by side (`cat`), or as its best product of a given rank (`svd`); `linear` adds factor to factor, as
PEFT has it, which is rough. PEFT's other ways prune single values of the factors and vote on their signs. They are
refused: how a product is cut into factors is arbitrary, and in a grid of blocks more so. Every sum is made before
anything changes, and its shapes make the configuration of the new adapter.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor

from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.arguments import check_number, check_positive_int, refuse

from .targets import choose

COMBINATIONS = ("svd", "linear", "cat")
Sums = dict[str, Tensor]  # name → tensor, as `LabLayer.tensors` has them
Value = TypeVar("Value", bound=Hashable)


class Request(NamedTuple):
    """What was asked for, checked."""

    adapters: tuple[str, ...]
    weights: tuple[float, ...]
    first: Any  # the configuration of the first adapter
    how: str
    rank: int | None
    driver: str | None

    def parts(self, layer: Any) -> list[tuple[str, float]]:
        """(adapter, weight) of those that this layer carries."""
        return [(name, w) for name, w in zip(self.adapters, self.weights, strict=True) if layer.carries(name)]


def check_request(
    configs: Mapping[str, Any],
    adapters: Sequence[str],
    weights: Sequence[float],
    how: str,
    rank: int | None,
    driver: str | None,
) -> Request:
    """Check what needs no look at a layer.

    Raises:
        ValueError: with the argument, its value and the rule.
    """
    adapters, weights = tuple(adapters), tuple(weights)
    if not adapters:
        raise refuse("adapters", list(adapters), "must name at least one adapter")
    for name in adapters:
        if name not in configs:
            raise ValueError(f"Adapter {name} does not exist; `adapters` can name: {', '.join(configs)}")
    if len(weights) != len(adapters):
        raise refuse("weights", list(weights), f"must be one number for each of {len(adapters)} adapters")
    for weight in weights:
        check_number("weights", weight)
    if how not in COMBINATIONS:
        raise ValueError(
            f"Invalid combination_type: {how}. It must be one of {', '.join(map(repr, COMBINATIONS))}: pruning and "
            "voting work on single values of the factors, and what a path or a block adds is their product."
        )
    if rank is not None:
        check_positive_int("svd_rank", rank)
        if how != "svd":
            raise refuse("svd_rank", rank, f"needs combination_type='svd' (it is {how!r})")
    for name in dict.fromkeys(adapters):
        _check_nothing_beside(name, configs[name])
    # of one adapter, the factors need no change but the weight
    return Request(adapters, weights, configs[adapters[0]], "linear" if len(adapters) == 1 else how, rank, driver)


def _check_nothing_beside(name: str, config: Any) -> None:
    if config.target_parameters:
        raise ValueError(f"add_weighted_adapter does not support targeting nn.Parameter (problematic adapter {name!r})")
    if config.modules_to_save:
        saved = list(config.modules_to_save)
        rule = f"of adapter {name!r}: Cannot add weighted adapters if they train whole modules with modules_to_save"
        raise refuse("modules_to_save", saved, rule)
    if config.bias != "none":
        raise refuse("bias", config.bias, f"of adapter {name!r}: biases of the base belong to no adapter's sum")


@torch.no_grad()
def fill(layer: Any, adapter: str, sums: Sums) -> None:
    """Copy the sums into the adapter's tensors; zeros stay where these are larger."""
    for name, tensor in layer.tensors(adapter).items():
        tensor.zero_()
        if name in sums:  # a hybrid's LoRA may be that of adapters on other layers
            tensor[tuple(slice(size) for size in sums[name].shape)] = sums[name].to(tensor.device, tensor.dtype)


def wide(tensor: Tensor) -> Tensor:
    """A tensor to compute with, in at least float32 and without its history."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


def check_one_rank(layer: str, ranks: Collection[Any]) -> None:
    """Refuse to add factor to factor where they are not of one shape."""
    if len(ranks) > 1:
        raise ValueError(
            "All adapters must have the same r value when using combination_type linear, and have "
            f"{', '.join(map(str, sorted(ranks)))} in layer {layer!r}: use 'cat' or 'svd'."
        )


def combined(
    request: Request, products: Sequence[tuple[float, Tensor, Tensor]], axes: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Σ w·up·down as one up and one down: ranks side by side along these axes, or, for "linear", factor added to
    factor, each with the root of w and the sign with the down, as in PEFT."""
    if request.how == "linear":
        roots = [math.sqrt(abs(w)) for w, _, _ in products]
        ups = torch.stack([up * root for root, (_, up, _) in zip(roots, products, strict=True)])
        downs = [down * math.copysign(root, w) for root, (w, _, down) in zip(roots, products, strict=True)]
        return ups.sum(0), torch.stack(downs).sum(0)
    return torch.cat([up for _, up, _ in products], axes[0]), torch.cat([d * w for w, _, d in products], axes[1])


def truncated(matrix: Tensor, rank: int, driver: str | None) -> tuple[Tensor, Tensor]:
    """The best product of that rank: (..., o, i) → (..., o, rank) and (..., rank, i), zeros beyond the matrix's own."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False, driver=driver)
    kept = min(rank, s.shape[-1])
    up, down = u[..., :kept] * s[..., None, :kept], v[..., :kept, :]
    padding = rank - kept
    return torch.nn.functional.pad(up, (0, padding)), torch.nn.functional.pad(down, (0, 0, 0, padding))


def prevailing(values: Mapping[str, Value]) -> tuple[Value, dict[str, Value]]:
    """The most common value, and those of the layers that have another, under a pattern that is theirs alone."""
    most = Counter(values.values()).most_common(1)[0][0]
    return most, {f"^{re.escape(name)}": value for name, value in values.items() if value != most}


class WeighingTuner(BaseTuner):
    """A subclass says how its adapters add up on one layer, and what configuration fits the sums."""

    def add_weighted_adapter(
        self,
        adapters: Sequence[str],
        weights: Sequence[float],
        adapter_name: str,
        combination_type: str = "svd",
        svd_rank: int | None = None,
        svd_clamp: float | None = None,
        svd_full_matrices: bool = True,
        svd_driver: str | None = None,
        density: float | None = None,
        majority_sign_method: str = "total",
    ) -> None:
        """Add a new adapter, frozen and not active, that is the weighted sum of others.

        Args:
            combination_type: "cat" puts the ranks side by side, and is exact; "svd" brings the sum to `svd_rank`
                (None: the largest rank among the adapters), which is exact up to that rank; "linear" adds factor
                to factor, which is exact for a single adapter, and for paths without a lora.
            svd_driver: as torch.linalg.svd takes it, on CUDA.
            svd_clamp, svd_full_matrices, density, majority_sign_method: PEFT's, for what is not done here.

        Raises:
            ValueError: for a bad argument, or adapters that cannot be added up in this way; nothing has changed.
        """
        if svd_clamp is not None:
            raise refuse("svd_clamp", svd_clamp, "must be None: factors are not cut off here")
        self._add_sum(
            check_request(self.peft_config, adapters, weights, combination_type, svd_rank, svd_driver), adapter_name
        )

    @ordinary_mode()
    def _add_sum(self, request: Request, adapter_name: str) -> None:
        if adapter_name in self.peft_config:
            raise refuse("adapter_name", adapter_name, "is the name of an adapter that exists already")
        layers: dict[str, Any] = {
            name: layer
            for name, layer in self.model.named_modules()
            if isinstance(layer, self.tuner_layer_cls) and request.parts(layer)
        }
        for name, layer in layers.items():
            if layer.outer:
                raise refuse("adapters", list(request.adapters), f"lie beneath another adapter in layer {name!r}")
        sums = {name: self.weighted(name, layer, request) for name, layer in layers.items()}
        config = self.config_of_sums(request, layers, sums)
        choose(config, layers, self.model, (BaseTunerLayer, AuxiliaryTrainingWrapper))
        self.peft_config[adapter_name] = config
        self.inject_adapter(self.model, adapter_name)
        self.set_requires_grad(adapter_name, False)
        for name, layer in layers.items():
            fill(layer, adapter_name, sums[name])

    def weighted(self, name: str, layer: Any, request: Request) -> Sums:
        """The tensors of the weighted sum on one layer, by name as in a checkpoint."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its adapters add up")

    def config_of_sums(self, request: Request, layers: Mapping[str, Any], sums: Mapping[str, Sums]) -> Any:
        """The configuration that puts tensors of these shapes on these layers, and scales them by 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its adapters add up")
