"""What the layers of all methods share: the base is asked once, and what the adapters add is added to its answer.

PEFT writes this pass anew for each method. Here a method says what one adapter adds to the output (`add_delta`) and
to the weight (`weight_delta`); adapters by name, active or not, merged or not, and mixed within a batch
are settled here, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import features, float_dtype, is_transposed, lead
from glora_lab.adapters.base.offload import device_of, is_meta
from glora_lab.adapters.base.ordinary_mode import ordinary_mode

from .merging import MergingLayer
from .mixed_batch import rows_by_adapter
from .nested_batch import by_rows
from .table import MethodTable
from .terms import add
from .uncalled import Sight

AS_IT_IS = nn.Identity()  # where an adapter has no dropout
ENOUGH = 128  # tokens of one adapter: with fewer, a product for each takes longer than one of the whole batch


class LabLayer(MethodTable, MergingLayer):
    """A method on a layer. A subclass has `method`, `make_tensors`, `contributes`, `add_delta` and `weight_delta`."""

    prefix: ClassVar[str]  # of its containers' names: "glora_"

    def __init__(self, base_layer: nn.Module, layer_name: str = "") -> None:
        """Over `base_layer` and without an adapter; as an nn.Module it has been made before."""
        self.base_layer = base_layer
        self.layer_name = layer_name
        self.in_features, self.out_features = features(self.innermost)
        self.lead = lead(self.innermost)
        for name in self.adapter_layer_names:
            setattr(self, name, self.container(name))
        setattr(self, f"{self.prefix}dropout", nn.ModuleDict())
        self.plans: dict[str, Any] = {}  # what each adapter put here, as its configuration plans it
        self.r: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.merged_adapters: list[str] = []
        self.unmerged_base, self.place, self.sight = None, None, Sight()
        self._disable_adapters = False
        self._active_adapter: str | list[str] = []

    def container(self, name: str) -> nn.Module:
        """What holds the adapters' parts of that name, of `adapter_layer_names`."""
        return nn.ModuleDict()

    def planned(self, config: Any) -> Any:
        """What `config` wants of this layer.

        Raises:
            ValueError: where it does not fit.
        """
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return config.plan(self.layer_name, **sizes, has_bias=self.has_bias, lead=self.lead)

    def plan_adapter(self, adapter_name: str, config: Any) -> Any:
        """Note what is `planned`, and return it; the adapter's tensors are left as they are."""
        plan = self.planned(config)
        self.plans[adapter_name], self.r[adapter_name], self.scaling[adapter_name] = plan, plan.r, plan.scaling
        held = getattr(self, f"{self.prefix}dropout")
        if adapter_name in held:
            del held[adapter_name]
        if config.dropout:  # one that does nothing is no module to walk past
            held[adapter_name] = nn.Dropout(config.dropout).train(cast(nn.Module, self).training)
        return plan

    @ordinary_mode()
    def update_layer(self, adapter_name: str, config: Any) -> None:
        """Add (or replace) one adapter.

        Raises:
            ValueError: where it does not fit.
        """
        plan = self.plan_adapter(adapter_name, config)
        for held in (getattr(self, container) for container in self.adapter_layer_names):
            if adapter_name in held:
                del held[adapter_name]
        self.make_tensors(adapter_name, plan, no_op=config.init_weights)
        self.move_to_base(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def make_tensors(self, adapter_name: str, plan: Any, *, no_op: bool) -> None:
        """Put the adapter's parameters into their containers, with their first values."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it adds")

    @property
    def has_bias(self) -> bool:
        """Whether the base has a bias of its own; one that merging added does not count."""
        base = self.innermost if self.unmerged_base is None else self.unmerged_base
        return getattr(base, "bias", None) is not None

    def dropout_of(self, adapter_name: str) -> nn.Module:
        held = cast(nn.Module, self)._modules[f"{self.prefix}dropout"]  # as an attribute it would take as long again
        return cast(nn.Module, held)._modules.get(adapter_name) or AS_IT_IS

    def added(self, adapter_names: list[str], dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """What adapters add to the base's weight, in its own layout, and to its bias; None for nothing."""
        weights = [self.weight_delta(name, dtype) for name in adapter_names]
        found = (self.bias_delta(name, dtype) for name in adapter_names)
        biases = [bias for bias in found if bias is not None]
        weight = add(weights) if weights else None
        if weight is not None and is_transposed(self.innermost):
            weight = weight.mT
        return weight, add(biases) if biases else None

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """As PEFT's; over thousands of layers its look at every module takes longer than making the tensors."""
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        for container in self.adapter_layer_names:
            held = getattr(self, container)
            for name, item in (held._modules or held._parameters).items():
                trains = name in names and not inference_mode
                for tensor in item._parameters.values() if isinstance(item, nn.Module) else (item,):
                    if tensor is not None and tensor.requires_grad != trains and tensor.is_leaf:
                        tensor.requires_grad_(trains)
        self._active_adapter = names

    def contributes(self, adapter_name: str) -> bool:
        """Whether this adapter changes this layer's output at all."""
        raise NotImplementedError(f"{type(self).__name__} does not say what contributes")

    def reads_base(self, adapter_name: str) -> bool:
        """Whether what this adapter adds depends on W0 or b0."""
        return False

    def fused_forward(self, x: Tensor, adapter_names: Sequence[str]) -> Tensor | None:
        """The output of base and these adapters together, where this layer has a quicker way to it."""
        return None

    def add_delta(self, total: Tensor, x: Tensor, result: Tensor, adapter_name: str) -> Tensor:
        """`total` and what the adapter adds to `result` = base(x), as a new tensor in the adapter's precision."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it adds")

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        adapter_names = kwargs.pop("adapter_names", None)
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self.base_layer(x, *args, **kwargs)
        if x.is_nested:
            return by_rows(self.forward, x, adapter_names, *args, **kwargs)
        if adapter_names is not None and self.merged:
            raise ValueError(
                "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
            )
        if self.merged and not torch.compiler.is_compiling():
            self.check_merged()
            self.check_inner_doras()
        elif not args and not kwargs and (out := self._quickly(x, adapter_names)) is not None:
            return out
        result = self.base_layer(x, *args, **kwargs)
        if adapter_names is not None:
            return self._mixed(x, result, adapter_names)
        total = result
        for name in [] if self.merged else self.active_adapters:
            if self.contributes(name):
                if self.place is not None and not torch.compiler.is_compiling():
                    self.check_base(self.reads_base(name))
                total = self.add_delta(total, x, result, name)
        return total.to(result.dtype)

    def _quickly(self, x: Tensor, adapter_names: Sequence[str] | None) -> Tensor | None:
        """The output at once; of a mixed batch where every adapter has rows enough to fill a product of its own."""
        if adapter_names is None:
            return self.fused_forward(x, self.active_adapters)
        groups, out = rows_by_adapter(adapter_names, len(x)), None
        tokens = x.numel() // max(1, len(x) * x.shape[-1])
        if min(map(len, groups.values()), default=0) * tokens < ENOUGH:
            return None
        for name, rows in groups.items():
            index = torch.tensor(rows, device=x.device)
            part = self.fused_forward(x.index_select(0, index), [name])
            if part is None:  # an adapter that is not here, or the base alone: rows of the base's own product
                return None
            out = part.new_empty(len(x), *part.shape[1:]) if out is None else out
            out = out.index_copy_(0, index, part)
        return out

    def _mixed(self, x: Tensor, result: Tensor, adapter_names: Sequence[str]) -> Tensor:
        """Each row with the adapter named for it; `__base__`, and adapters that are not on this layer, add nothing."""
        out = result.clone()
        for name, rows in rows_by_adapter(adapter_names, len(x)).items():
            if self.contributes(name):
                index = torch.tensor(rows, device=x.device)
                part = result.index_select(0, index)
                added = self.add_delta(part, x.index_select(0, index), part, name)
                out = out.index_copy_(0, index, added.to(out.dtype))
        return out

    def move_to_base(self, adapter_name: str) -> None:
        """A new adapter takes the base's dtype and device, or, where accelerate offloads the base, that of execution.

        PEFT would put it on the meta device with the base, where its values are lost.
        """
        device = device_of(self.get_base_layer())
        if device is None:
            weight = self.innermost.weight
            if any(t.dtype != weight.dtype or t.device != weight.device for t in self.tensors(adapter_name).values()):
                self._move_adapter_to_device_of_base_layer(adapter_name)
            return
        # PEFT would leave it where it is beside an adapter that is offloaded
        for held in (getattr(self, container) for container in self.adapter_layer_names):
            # one made on meta is yet to be loaded
            if adapter_name in held and not is_meta(held[adapter_name]):
                held[adapter_name] = held[adapter_name].to(device, float_dtype(self.innermost))

    def unload_and_optionally_merge_module(
        self, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """The layer beneath, with the adapters merged into it if asked; an inner adapter stays in place."""
        if merge:
            self.merge(safe_merge=safe_merge, adapter_names=adapter_names)
        elif self.merged:
            self.unmerge()
        return self.base_layer
