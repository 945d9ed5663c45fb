"""GraLoRA's layer: a linear layer whose weight change is a grid of low-rank blocks.

The formula is in formula.py, shapes and the question which k fit are settled in blocks.py, merging is
in tuner/merging.py, and the pass itself in tuner/layer.py. What is left here is which adapter holds what.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.parameter_layer import ParameterLayer
from glora_lab.adapters.tuner.terms import kaiming

from .blocks import BlockPlan, check_fit
from .config import GraloraConfig
from .formula import Factor, Factors, block_delta, block_factors, block_output, init_blocks, init_outer


class GraloraLayer(LabLayer):
    """The blocks of any number of adapters on one layer.

    Factors are `gralora_A[name]` (k, in/k, r) and `gralora_B[name]` (k, r, out/k), and for a hybrid the plain
    LoRA `gralora_A_general[name].weight` (hybrid_r, in) and `gralora_B_general[name].weight` (out, hybrid_r).
    `plans[name]` says what the adapter put here.
    """

    method = "GraLoRA"
    adapter_layer_names = ("gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general")
    other_param_names = ("r", "hybrid_r", "gralora_k", "scaling", "plans", "gralora_dropout")

    def __init__(self, base_layer: nn.Module, layer_name: str = "") -> None:
        self.begin(base_layer, layer_name)
        self.gralora_A, self.gralora_B = Factors(), Factors()
        self.gralora_A_general, self.gralora_B_general = nn.ModuleDict(), nn.ModuleDict()
        self.gralora_dropout = nn.ModuleDict()
        self.hybrid_r: dict[str, int] = {}
        self.gralora_k: dict[str, int] = {}
        self.plans: dict[str, BlockPlan] = {}

    def plan_adapter(self, adapter_name: str, config: GraloraConfig) -> BlockPlan:
        plan = config.plan(
            self.layer_name, in_features=self.in_features, out_features=self.out_features, lead=self.lead
        )
        check_fit([plan], config.gralora_k)
        self.plans[adapter_name], self.scaling[adapter_name] = plan, plan.scaling
        self.r[adapter_name], self.hybrid_r[adapter_name] = plan.r, plan.hybrid_r
        self.gralora_k[adapter_name] = plan.k
        self.set_dropout(self.gralora_dropout, adapter_name, config.gralora_dropout)
        return plan

    @ordinary_mode()
    def update_layer(self, adapter_name: str, config: GraloraConfig) -> None:
        """Add (or replace) the blocks of one adapter.

        Raises:
            ValueError: where k does not divide the features or the rank.
        """
        plan = self.plan_adapter(adapter_name, config)
        self._fill(adapter_name, plan, no_op=config.init_weights)
        self.move_to_base(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _fill(self, name: str, plan: BlockPlan, *, no_op: bool) -> None:
        shapes, rank, scaling = plan.shapes(), plan.r + plan.hybrid_r, plan.scaling
        for container in self.adapter_layer_names:
            held = getattr(self, container)
            if name in held:
                del held[name]
            if container in shapes:
                shape = shapes[container]
                held[name] = Factor(*shape) if isinstance(held, nn.ModuleDict) else nn.Parameter(torch.empty(shape))
        if not shapes:
            return
        init_blocks(self.gralora_A[name], self.gralora_B[name], no_op=no_op, rank=rank, scaling=scaling)
        if plan.hybrid_r:
            a, b = self.general(name)
            kaiming(a)
            init_outer(b, no_op=no_op, rank=rank, scaling=scaling)

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


class GraloraLinear(nn.Module, GraloraLayer):
    """GraLoRA over an `nn.Linear` or a `transformers` `Conv1D`, or over a layer that already carries an adapter.

    Input (..., in) of any rank, output (..., out) in the base's own dtype.
    """

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: GraloraConfig, layer_name: str = "") -> None:
        super().__init__()
        GraloraLayer.__init__(self, base_layer, layer_name)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    forward, train = LabLayer.forward, LabLayer.train  # nn.Module has its own, and comes first

    def __repr__(self) -> str:
        return "gralora." + super().__repr__()


class GraloraParameter(ParameterLayer, nn.Module, GraloraLayer):
    """GraLoRA over a parameter of a module: W_eff = W0 + ΔW, for each expert a grid of blocks of its own."""

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: GraloraConfig, layer_name: str) -> None:
        nn.Module.__init__(self)
        self.parameter_name = layer_name.rpartition(".")[2]
        GraloraLayer.__init__(self, base_layer, layer_name)
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def __repr__(self) -> str:
        return "gralora." + super().__repr__()
