"""The layer of a method of one's own: which adapter holds which tensors, and what the method makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import float_dtype, frozen_base
from glora_lab.adapters.base.offload import offload_hook, onloaded
from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.module import LabModule

from .config import DeltaConfig, DeltaPlan
from .examined import initial


class Tensors(nn.Module):
    """One adapter's tensors by name. It is called for them, so that accelerate, which may offload them, knows."""

    def __init__(self, trained: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in trained.items():
            self.register_parameter(name, nn.Parameter(tensor))
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor.detach().clone())
        self._names = [*trained, *fixed]

    def forward(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._names}


class DeltaLayer(LabLayer):
    """The tensors of any number of adapters on one layer, each of a method of its own: `delta_tensors[name].u`.

    `plans[name]` says what the adapter put here. PEFT makes the layer.

    Args:
        base_layer: the frozen layer beneath.
        layer_name: its name in the model, which patterns are matched with.
    """

    prefix = DeltaConfig.prefix
    adapter_layer_names = ("delta_tensors",)
    other_param_names = ("r", "scaling", "plans", "delta_dropout")
    delta_tensors: nn.ModuleDict
    plans: dict[str, DeltaPlan]

    def make_tensors(self, adapter_name: str, plan: DeltaPlan, *, no_op: bool) -> None:
        w0, device, dtype = None, "cpu", torch.promote_types(float_dtype(self.innermost), torch.float32)
        if plan.facts.asks_base_to_start:
            with self.original():
                w0 = frozen_base(self.base_layer, self.innermost, dtype).matrix().detach()
            w0, device = (w0, "meta") if w0.is_meta else (w0.cpu(), "cpu")
        fixed = plan.own.fixed(self.out_features, self.in_features, plan.r)
        self.delta_tensors[adapter_name] = Tensors(initial(plan.facts, w0, dtype=dtype, device=device), fixed)

    def tensors(self, adapter_name: str) -> dict[str, Any]:
        """What a file has of the adapter: the trained tensors, and the fixed."""
        if adapter_name not in self.delta_tensors:
            return {}
        held = self.delta_tensors[adapter_name]
        return {f"delta_tensors.{name}": tensor for name, tensor in held.state_dict(keep_vars=True).items()}

    @property
    def method(self) -> str:  # type: ignore[override]
        """The name of the class, of the first active adapter that is here."""
        here = [name for name in (*self.active_adapters, *self.plans) if name in self.plans]
        return type(self.plans[here[0]].own).__name__ if here else "a method of one's own"

    def method_of(self, adapter_name: str) -> str:
        return type(self.plans[adapter_name].own).__name__

    def contributes(self, adapter_name: str) -> bool:
        return adapter_name in self.delta_tensors

    def reads_base(self, adapter_name: str) -> bool:
        return self.plans[adapter_name].facts.reads_base

    def add_delta(self, total: Tensor, x: Tensor, result: Tensor, adapter_name: str) -> Tensor:
        offloaded = offload_hook(self.innermost) is not None  # a context would break the graph of torch.compile
        with onloaded([self.innermost]) if offloaded else nullcontext():
            facts, tensors = self.plans[adapter_name].facts, self.delta_tensors[adapter_name]()
            dtype = facts.dtype_of(tensors)
            added = facts.forward(x.to(dtype), self._w0(adapter_name, dtype), tensors)
            bias = self._bias_delta(adapter_name, tensors, dtype)
            added = added if bias is None else added + bias
            factor = self.factor(adapter_name)
            return total + (added if factor == 1 else added * factor)

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        """ΔW (out, in), from the original W0, merged or not; computed in `dtype` where given."""
        with self._from_original(adapter_name):
            tensors = self._named(adapter_name, dtype)
            dtype = self.plans[adapter_name].facts.dtype_of(tensors)
            delta = self.plans[adapter_name].facts.ask("delta", self._w0(adapter_name, dtype), **tensors)
            return delta * self.factor(adapter_name)

    def bias_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor | None:
        """Δb (out,), None where the method has none."""
        with self._from_original(adapter_name):
            tensors = self._named(adapter_name, dtype)
            dtype = self.plans[adapter_name].facts.dtype_of(tensors)
            bias = self._bias_delta(adapter_name, tensors, dtype)
            return None if bias is None else bias * self.factor(adapter_name)

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        """As the method says it; None where it does not."""
        found = self.plans[adapter_name].facts.ask("blocks", **self._named(adapter_name, None))
        return None if found is None else Blocks(found[0], found[1], self.factor(adapter_name))

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return not self.plans[adapter_name].facts.has_bias

    def _named(self, adapter_name: str, dtype: torch.dtype | None) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.delta_tensors[adapter_name]()
        return {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}

    def _w0(self, adapter_name: str, dtype: torch.dtype) -> Tensor:
        """W0, or as many zeros where they make no difference: a quantised layer would be asked for it in vain."""
        if self.plans[adapter_name].facts.reads_base:
            return frozen_base(self.base_layer, self.innermost, dtype).matrix()
        device = next(iter(self.delta_tensors[adapter_name]().values())).device
        return torch.zeros((), dtype=dtype, device=device).expand(self.out_features, self.in_features)

    def _bias_delta(self, adapter_name: str, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor | None:
        facts = self.plans[adapter_name].facts
        if not facts.has_bias:
            return None
        bias: Tensor = facts.ask("bias_delta", frozen_base(self.base_layer, self.innermost, dtype).bias, **tensors)
        return bias

    def _from_original(self, adapter_name: str) -> AbstractContextManager[None]:
        facts = self.plans[adapter_name].facts
        return self.original() if facts.reads_base or facts.has_bias else nullcontext()


class DeltaLinear(LabModule, DeltaLayer):
    """A method of one's own over a linear layer, x (…, in) → (…, out).

    Args:
        base_layer: the frozen layer, `nn.Linear`, transformers' Conv1D or a quantised one.
        adapter_name: the first adapter's name.
        config: its DeltaConfig.
        layer_name: the layer's name in the model, which patterns are matched with.

    Raises:
        ValueError: where the method does not work on the layer.
    """
