"""GraLoRA's layer: a linear layer whose weight change is a grid of low-rank blocks.

The formula is in formula.py, shapes and the question which k fit are settled in blocks.py, merging is
in tuner/merging.py, and the pass itself in tuner/layer.py. What is left here is which adapter holds what.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.module import LabModule
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.adapters.tuner.terms import kaiming

from .blocks import BlockPlan, check_fit
from .config import GraloraConfig
from .formula import Factor, Factors, block_delta, block_factors, block_output, init_blocks, init_outer


class GraloraLayer(LabLayer):
    """The blocks of any number of adapters on one layer (arXiv 2505.20355).

    Factors are `gralora_A[name]` (k, in/k, r) and `gralora_B[name]` (k, r, out/k), and for a hybrid the plain
    LoRA `gralora_A_general[name].weight` (hybrid_r, in) and `gralora_B_general[name].weight` (out, hybrid_r).
    `plans[name]` says what the adapter put here. PEFT makes the layer.

    Args:
        base_layer: the frozen layer beneath.
        layer_name: its name in the model, which patterns are matched with.
    """

    method = "GraLoRA"
    prefix = GraloraConfig.prefix
    adapter_layer_names = ("gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general")
    other_param_names = ("r", "scaling", "plans", "gralora_dropout")
    gralora_A: Factors
    gralora_B: Factors
    gralora_A_general: nn.ModuleDict
    gralora_B_general: nn.ModuleDict
    gralora_dropout: nn.ModuleDict
    plans: dict[str, BlockPlan]

    @property
    def gralora_k(self) -> dict[str, int]:
        """Adapter → blocks per side."""
        return {name: plan.k for name, plan in self.plans.items()}

    @property
    def hybrid_r(self) -> dict[str, int]:
        """Adapter → rank of the plain LoRA beside its blocks; 0 for none."""
        return {name: plan.hybrid_r for name, plan in self.plans.items()}

    def container(self, name: str) -> nn.Module:
        return nn.ModuleDict() if name.endswith("general") else Factors()

    def planned(self, config: GraloraConfig) -> BlockPlan:
        plan: BlockPlan = super().planned(config)
        check_fit([plan], config.gralora_k)
        return plan

    def make_tensors(self, adapter_name: str, plan: BlockPlan, *, no_op: bool) -> None:
        for container, shape in plan.shapes().items():
            held = getattr(self, container)
            held[adapter_name] = nn.Parameter(torch.empty(shape)) if isinstance(held, Factors) else Factor(*shape)
        if plan.skipped:
            return
        start: Any = {"no_op": no_op, "rank": plan.r + plan.hybrid_r, "scaling": plan.scaling}
        init_blocks(self.gralora_A[adapter_name], self.gralora_B[adapter_name], **start)
        if plan.hybrid_r:
            a, b = self.general(adapter_name)
            kaiming(a)
            init_outer(b, **start)

    def general(self, name: str) -> tuple[Tensor, Tensor]:
        """The hybrid's own LoRA: (hybrid_r, in) and (out, hybrid_r)."""
        return self.gralora_A_general[name](), self.gralora_B_general[name]()

    def blocks(self, adapter_name: str) -> tuple[Tensor, Tensor]:
        """The factors of the blocks, (k, i, r) and (k, r, o), in place also where accelerate offloads them."""
        return self.gralora_A(adapter_name), self.gralora_B(adapter_name)

    def contributes(self, adapter_name: str) -> bool:
        return adapter_name in self.gralora_A

    def add_delta(self, total: Tensor, x: Tensor, result: Tensor, adapter_name: str) -> Tensor:
        a, b = self.blocks(adapter_name)
        scaling = self.scaling[adapter_name]
        dropout = self.gralora_dropout._modules.get(adapter_name)
        x = x.to(a.dtype) if dropout is None else dropout(x.to(a.dtype))
        added = block_output(x, a, b, scaling)  # (t, m, o), where t is every row of x
        total = (total.reshape(added.shape) + added).reshape(result.shape)
        if adapter_name in self.gralora_A_general:
            a, b = self.general(adapter_name)
            total = total + F.linear(F.linear(x, a).mul_(scaling), b)
        return total

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        a, b = (factor.to(dtype) for factor in self.blocks(adapter_name))
        scaling = self.scaling[adapter_name]
        delta = block_delta(a, b * scaling)
        if adapter_name in self.gralora_A_general:
            a, b = (factor.to(dtype) for factor in self.general(adapter_name))
            delta = torch.addmm(delta, b * scaling, a) if delta.ndim == 2 else torch.baddbmm(delta, b * scaling, a)
        return delta

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        b, a = block_factors(*self.blocks(adapter_name))
        grid = Blocks(b, a, self.scaling[adapter_name])
        return grid.with_lora(*self.general(adapter_name)) if adapter_name in self.gralora_A_general else grid

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return True


class GraloraLinear(LabModule, GraloraLayer):
    """GraLoRA over a linear layer, x (…, in) → (…, out): x·(W0 + ΔW)ᵀ + b0.

    Args:
        base_layer: the frozen layer, `nn.Linear`, transformers' Conv1D or a quantised one.
        adapter_name: the first adapter's name.
        config: its GraloraConfig.
        layer_name: the layer's name in the model, which patterns are matched with.

    Raises:
        ValueError: where the configuration does not fit the layer, as a k that does not divide its sides.
    """


class GraloraParameter(ParameterLayer, GraloraLayer):
    """GraLoRA over a parameter of a module: W_eff = W0 + ΔW, for each expert a grid of blocks of its own."""
