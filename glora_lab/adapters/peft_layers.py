"""PEFT's own layers, asked as this library's are: what each method is, in the table that `LabLayer` has.

`table_of` is the one place that knows them by their classes. LoRA (with DoRA), GLoRA and GraLoRA have a ΔW here; of
any other method the parameters can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.glora.layer import GloraLayer as StockGloraLayer
from peft.tuners.gralora.layer import GraloraLayer as StockGraloraLayer
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.lora.variants import DoraLinearVariant
from torch import Tensor

from .base.frozen import FrozenBase, frozen_base
from .glora.factors import terms_of
from .glora.paths import PATHS
from .gralora.formula import block_factors
from .tuner.factors import Blocks, Term, one_block
from .tuner.layer import LabLayer
from .tuner.table import MethodTable


class PeftLayer(MethodTable):
    """A method that has no ΔW here. `config` is needed where it alone knows what was asked for, `name` is for words."""

    method = ""

    def __init__(self, layer: Any, config: Any = None, name: str = "") -> None:
        self.layer, self.config, self.name = layer, config, name

    @property
    def holder(self) -> Any:
        return self.layer

    def modes(self, adapter_name: str) -> dict[str, str]:
        return {"B": type(self.layer).__module__.split(".")[-2]}

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        """In float64, whatever `dtype`."""
        raise ValueError(f"`layer` (={type(self.layer).__name__}) carries none of LoRA, GLoRA and GraLoRA")

    def base(self) -> FrozenBase:
        """W0 and b0 in float64."""
        if self.layer.merged:
            named = f" (={self.name!r})" if self.name else ""
            raise ValueError(
                f"`layer`{named} has an adapter merged into its weight, and PEFT keeps no original: unmerge it first"
            )
        innermost = self.layer.get_base_layer()
        return frozen_base(innermost, innermost, torch.float64)


class PeftGralora(PeftLayer):
    method = "GraLoRA"

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        return self._grid(adapter_name)

    def _grid(self, adapter_name: str) -> Blocks:
        layer = self.layer
        b, a = block_factors(layer.gralora_A[adapter_name], layer.gralora_B[adapter_name])
        grid = Blocks(b, a, layer.scaling[adapter_name])
        if not layer.hybrid_r[adapter_name]:
            return grid
        down, up = (getattr(layer, f"gralora_{one}_general")[adapter_name].weight for one in "AB")
        return grid.with_lora(down, up)

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        return self._grid(adapter_name).double().matrix()


class PeftGlora(PeftLayer):
    method = "GLoRA"
    path_names = PATHS

    def path_of(self, container: str) -> str:
        return container[-1]

    def modes(self, adapter_name: str) -> dict[str, str]:
        asked = self.config
        joint = {"A": asked.config_A_B, "B": asked.config_A_B, "C": asked.config_C}
        return {path: joint.get(path, asked.config_D_E) for path in PATHS}

    def inert(self, adapter_name: str) -> dict[str, str]:
        """PEFT says nothing about paths that it dropped; they are those that were asked for in vain."""
        if self.layer.get_base_layer().bias is not None:
            return {}
        why = "stock PEFT drops it without a word: the layer has no bias"
        return {path: why for path, mode in self.modes(adapter_name).items() if path in "CDE" and mode != "none"}

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        def matrix(path: Any) -> Tensor:
            return path.Xd.double() @ path.Xu.double() if hasattr(path, "Xd") else torch.as_tensor(path()).double()

        a, b = matrix(self.layer.glora_A[adapter_name]), matrix(self.layer.glora_B[adapter_name])
        return self.base().matrix() * a + b

    def terms(self, adapter_name: str) -> Mapping[str, Term | None]:
        shape = self.layer.out_features, self.layer.in_features
        return terms_of(self.tensors(adapter_name), self.base(), form="elementwise", scaling=1.0, shape=shape)


class PeftLora(PeftLayer):
    method = "LoRA"

    def is_variant(self, adapter_name: str) -> bool:
        """Whether this is a DoRA or the like, whose ΔW is no product of factors."""
        return self.layer.lora_variant.get(adapter_name) is not None

    def _factors(self, adapter_name: str) -> tuple[Tensor, Tensor] | None:
        """(r, in) and (out, r)."""
        layer = self.layer
        if adapter_name not in layer.lora_A or layer.lora_A[adapter_name].weight.ndim != 2:
            return None
        return layer.lora_A[adapter_name].weight, layer.lora_B[adapter_name].weight

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        found = self._factors(adapter_name)
        if found is None or self.is_variant(adapter_name):
            return None
        return one_block(*found, self.layer.scaling[adapter_name])

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        found, variant = self._factors(adapter_name), self.layer.lora_variant.get(adapter_name)
        if found is None or not (variant is None or isinstance(variant, DoraLinearVariant)):
            kind = type(self.layer).__name__
            raise ValueError(f"`layer` (={kind}) carries a LoRA that is no plain product of two matrices")
        a, b = (factor.double() for factor in found)
        delta: Tensor = self.layer.scaling[adapter_name] * (b @ a)
        if variant is None:
            return delta
        w0 = self.base().matrix()
        norm = (w0 + delta).norm(dim=1).detach()  # DoRA takes its norm for a constant
        return (self.layer.lora_magnitude_vector[adapter_name].weight.double() / norm)[:, None] * (w0 + delta) - w0

    def terms(self, adapter_name: str) -> Mapping[str, Term | None]:
        layer = self.layer
        if adapter_name in layer.lora_embedding_A and not self.is_variant(adapter_name):
            down, up = layer.lora_embedding_A[adapter_name], layer.lora_embedding_B[adapter_name]
            return {"B": one_block(down, up, layer.scaling[adapter_name])}
        return super().terms(adapter_name)


TABLES: Mapping[type, type[PeftLayer]] = {
    StockGraloraLayer: PeftGralora,
    StockGloraLayer: PeftGlora,
    LoraLayer: PeftLora,
}


def table_of(layer: Any, config: Any = None, name: str = "") -> MethodTable:
    """What the method of an adapted layer is: the layer itself, or what is known here of one of PEFT's own."""
    if isinstance(layer, LabLayer):
        return layer
    return next((table for kind, table in TABLES.items() if isinstance(layer, kind)), PeftLayer)(layer, config, name)
