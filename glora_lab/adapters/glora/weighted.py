"""GLoRA's paths added up: Σ wᵢ Aᵢ, Σ wᵢ Bᵢ and so on, each path for itself.

Constants and vectors add as they are. Beside a lora, a vector v is the product v·1ᵀ of rank 1 (and so is a constant),
which `cat` puts beside the others; in A's product form, where a vector is a diagonal, there is none, and `svd` alone
takes it in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from glora_lab.adapters.tuner.weighted import Request, Sums, check_one_rank, combined, prevailing, truncated, wide
from glora_lab.arguments import refuse

from .path_modules import LowRankPath, Path
from .paths import PATHS


class PathTerms:
    """One path of several adapters on one layer: its low-rank products with their weights, and the rest as one sum."""

    def __init__(self, letter: str, name: str, layer: Any, request: Request) -> None:
        self.letter, self.layer, self.name, self.request = letter, layer, name, request
        self.loras: list[tuple[float, Tensor, Tensor]] = []
        self.singles: list[Tensor] = []
        self.mixed = ""  # the mode and adapter of a single, for errors
        self.forms = a_forms(layer, request) if letter == "A" else {}
        for adapter, weight in request.parts(layer):
            path = layer.paths(adapter).get(letter)
            if path is not None:
                self._take(adapter, weight, path)
        if len(set(self.forms.values())) > 1:
            first, *_, last = self.forms
            rule = f"of adapter {last!r} is not that of {first!r} in layer {name!r}: A cannot be added up"
            raise refuse("A_form", self.forms[last], rule)

    def _take(self, adapter: str, weight: float, path: Path) -> None:
        if isinstance(path, LowRankPath):
            xd, xu = (wide(factor) for factor in path())
            self.loras.append((weight * self.layer.scaling[adapter], xd, xu))
        else:
            self.singles.append(wide(path()) * (weight * self.layer.factor(adapter)))
            mode = self.layer.plans[adapter].modes[self.letter]
            self.mixed = f"`config_{self.letter}` (={mode!r}) of adapter {adapter!r} in layer {self.name!r}"

    @property
    def is_diagonal(self) -> bool:
        """Whether a vector stands for a diagonal."""
        return "product" in self.forms.values()

    def tensors(self) -> dict[str, Tensor]:
        if not self.loras:
            return {"X": sum(self.singles[1:], start=self.singles[0])} if self.singles else {}
        if self.request.how == "svd":
            return self._svd()
        products = list(self.loras)
        if self.request.how == "linear":
            if self.singles:
                raise ValueError(f"{self.mixed} has no factors to add to those of a lora: use combination_type='cat'.")
            check_one_rank(self.name, {xd.shape[1] for _, xd, _ in self.loras})
        elif self.singles:
            if self.is_diagonal:
                raise ValueError(
                    f"{self.mixed} is a diagonal in the product form, which no rank beside a lora holds: use "
                    "combination_type='svd'."
                )
            _, xd, xu = self.loras[0]
            column = sum(self.singles[1:], start=self.singles[0]).expand(len(xd), 1)
            products.append((1.0, column, xu.new_ones(1, xu.shape[1])))
        xd, xu = combined(self.request, products, (1, 0))
        return {"Xd": xd, "Xu": xu}

    def _svd(self) -> dict[str, Tensor]:
        matrix = torch.stack([weight * xd @ xu for weight, xd, xu in self.loras]).sum(0)
        for single in self.singles:
            matrix = matrix + (single.expand(len(matrix), 1)[:, 0].diag() if self.is_diagonal else single)
        rank = self.request.rank or max(xd.shape[1] for _, xd, _ in self.loras)
        xd, xu = truncated(matrix, rank, self.request.driver)
        return {"Xd": xd, "Xu": xu}


def a_forms(layer: Any, request: Request) -> dict[str, str]:
    """How each adapter reads A, where that matters: a constant is the same in both forms."""
    plans = {adapter: layer.plans[adapter] for adapter, _ in request.parts(layer)}
    return {adapter: plan.form for adapter, plan in plans.items() if plan.modes["A"] in ("lora", "vector")}


def weighted_paths(name: str, layer: Any, request: Request) -> Sums:
    """The sum's tensors on one layer.

    Raises:
        ValueError: where its adapters cannot be added up in the way that was asked for.
    """
    found = {letter: PathTerms(letter, name, layer, request).tensors() for letter in PATHS}
    return {f"glora_{letter}.{tensor}": value for letter, path in found.items() for tensor, value in path.items()}


def config_of_paths(request: Request, layers: Mapping[str, Any], sums: Mapping[str, Sums]) -> Any:
    """The first adapter's configuration with the modes and ranks of the sums, and no scaling."""
    modes, patterns = prevailing({name: tuple(_mode(one, letter) for letter in PATHS) for name, one in sums.items()})
    lora = {name: r for name, one in sums.items() if (r := _rank(one))}
    r, rank_pattern = prevailing(lora) if lora else (request.first.r, {})
    forms = {form for name in layers for form in a_forms(layers[name], request).values()}
    if len(forms) > 1:
        rule = "of the adapters differs from layer to layer: one configuration has one form of A"
        raise refuse("A_form", sorted(forms), rule)
    gains = any({f"glora_{p}" for p in "CE"} & {n.split(".")[0] for n in sums[name]} for name in _bias_free(layers))
    a, b, c, d, e = modes
    return dataclasses.replace(
        request.first,
        r=r,
        config_A=a,
        config_B=b,
        config_C=c,
        config_D=d,
        config_E=e,
        A_form=forms.pop() if forms else request.first.A_form,
        alpha=None,
        use_rslora=False,
        bias_free="add" if gains else "drop",
        rank_pattern=rank_pattern,
        alpha_pattern={},
        path_pattern={name: dict(zip(PATHS, own, strict=True)) for name, own in patterns.items()},
    )


def _mode(one: Sums, letter: str) -> str:
    if f"glora_{letter}.Xd" in one:
        return "lora"
    single = one.get(f"glora_{letter}.X")
    return "none" if single is None else "constant" if single.shape == (1,) and letter != "C" else "vector"


def _rank(one: Sums) -> int:
    """The largest of the paths': one holds for all of a layer's, and zeros fill the others up."""
    return max((tensor.shape[1] for name, tensor in one.items() if name.endswith("Xd")), default=0)


def _bias_free(layers: Mapping[str, Any]) -> list[str]:
    return [name for name, layer in layers.items() if not layer.has_bias]
