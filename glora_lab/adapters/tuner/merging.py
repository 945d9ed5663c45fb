"""Merging an adapter into its base layer, and taking it out again with every bit of the base restored.

PEFT's GLoRA inverts the merge: it subtracts B and divides by 1 + A, which is infinite at A = −1 and drifts in
low precision. We keep the base's tensors aside while adapters are merged, so unmerging is an assignment, at
the price of one copy of the merged layers. The sum of all merged adapters is always formed anew from the kept
W0, in one fixed order, so that the order of merging leaves no trace.

The merged tensors are parameters of their own: the base's may be an embedding's as well, as the heads of most
language models have it, and putting other values into them would change that too. Unmerging brings back the
parameters themselves, tied as they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import float_dtype, is_packed, is_quantised
from glora_lab.adapters.base.offload import keep_offloaded, onloaded
from glora_lab.adapters.base.ordinary_mode import ordinary_mode

from .scaling import ScaledLayer
from .stack import StackedLayer, set_aside


@dataclass
class UnmergedBase:
    """The base's own parameters while adapters are merged into it, what scale these had, and which inner adapters
    the parameters contain."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    scaling: dict[str, float]
    inner_merged: list[list[str]]
    inner_norms: list[dict[str, Any]]


class MergingLayer(StackedLayer, ScaledLayer):
    """`merge` and `unmerge` for a layer that can say what its adapters add to the weight and the bias.

    A subclass has `layer_name`, `in_features`, `out_features`, `carries(adapter)` and `added(adapters, dtype)`.
    """

    unmerged_base: UnmergedBase | None
    in_features: int
    out_features: int

    def added(self, adapter_names: list[str], dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        raise NotImplementedError(f"{type(self).__name__} does not say what it adds")

    def carries(self, adapter_name: str) -> bool:
        raise NotImplementedError(f"{type(self).__name__} does not say what it carries")

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What the adapter adds to the base's weight, in that weight's own layout and precision."""
        with onloaded([self.get_base_layer()]):
            weight, dtype = self.innermost.weight, float_dtype(self.innermost)
            delta, _ = self.added([adapter], torch.promote_types(dtype, torch.float32))
            if delta is not None:
                return delta.to(dtype)
            if is_packed(self.innermost):
                return torch.zeros(self.out_features, self.in_features, dtype=dtype)
            shape = (self.out_features, self.in_features) if is_quantised(self.innermost) else weight.shape
            return torch.zeros(shape, dtype=dtype, device=weight.device)

    @ordinary_mode()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put adapters into the base's weight and bias.

        Args:
            safe_merge: refuse, with the base untouched, where a merged value would not be finite.
            adapter_names: which adapters; None for the active ones.

        Raises:
            ValueError: under `safe_merge`, naming the layer and the adapters; or where it cannot be merged, see
                `check_stack` and `check_scaling`.
        """
        self.check_merged()
        new = [name for name in check_adapters_to_merge(self, adapter_names) if self.carries(name)]
        if not new:
            return
        self.check_stack()
        had_bias = self.innermost.bias is not None
        with self._onloaded(), set_aside(self.outer, self.innermost, again=True):
            self._put_in(self.merged_adapters + new, safe_merge)
        if not had_bias and self.innermost.bias is not None:
            warn_gained_bias(self.layer_name)

    @ordinary_mode()
    def unmerge(self, adapter_names: list[str] | None = None) -> None:
        """Take adapters (None: all) out again. The base has its exact bits back once none is left.

        Raises:
            ValueError: where the weight that holds them is computed since, see `check_writable`.
        """
        gone = self.merged_adapters if adapter_names is None else adapter_names
        rest = [name for name in self.merged_adapters if name not in gone]
        if len(rest) == len(self.merged_adapters):
            return
        self.check_writable()
        with self._onloaded(), set_aside(self.outer, self.innermost, again=True):
            self._take_out()
            if rest:
                self._put_in(rest)

    def delete_adapter(self, adapter_name: str) -> None:
        """As PEFT's; an adapter that is merged is taken out of the base first."""
        self.unmerge([adapter_name])
        super().delete_adapter(adapter_name)

    def check_mergeable(self, adapter_names: list[str] | None = None, safe_merge: bool = True) -> None:
        """Raise what `merge` would, without merging."""
        self.check_merged()
        asked = self.active_adapters if adapter_names is None else adapter_names
        names = list(dict.fromkeys(n for n in [*self.merged_adapters, *asked] if self.carries(n)))
        if len(names) > len(self.merged_adapters):
            self.check_stack()
        if names and safe_merge:
            with onloaded([self.get_base_layer()]), set_aside(self.outer, self.innermost, again=False), self.original():
                self._check_finite(*self._merged(names), names)

    def check_merged(self) -> None:
        """Refuse to compute with merged adapters whose scale has changed since."""
        if self.unmerged_base is not None:
            self.check_scaling(self.unmerged_base.scaling)

    @contextmanager
    def original(self) -> Iterator[None]:
        """Within, the base has its own weight and bias, merged, offloaded or not."""
        with onloaded([self.get_base_layer()]), self._with_unmerged():
            yield

    @contextmanager
    def _with_unmerged(self) -> Iterator[None]:
        if self.unmerged_base is None:
            self.check_base(True)
            yield
            return
        self.check_writable()
        innermost, inner, contained = self.innermost, self.inner, self.inner.names()
        merged = innermost.weight, innermost.bias
        weight, bias = self._unmerged_like(innermost.weight)
        # parameters of their own, not other data in the same ones: a backward pass may come after the exit
        innermost.weight = nn.Parameter(weight, requires_grad=False)
        innermost.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]
        inner.set_names(self.unmerged_base.inner_merged)
        try:
            yield
        finally:
            innermost.weight, innermost.bias = merged
            inner.set_names(contained)

    @contextmanager
    def _onloaded(self) -> Iterator[None]:
        """Within, the tensors of every layer here are in place; what the base has then, accelerate brings in later."""
        outermost: BaseTunerLayer = [*self.outer, self][0]
        with onloaded(cast(nn.Module, outermost).modules()):
            yield
            keep_offloaded(self.get_base_layer())

    def _put_in(self, names: list[str], safe_merge: bool = False) -> None:
        with self.original():
            weight, bias = self._merged(names)
        if safe_merge:
            self._check_finite(weight, bias, names)
        if self.unmerged_base is None:
            innermost = self.innermost
            own = cast(nn.Parameter, innermost.weight), cast("nn.Parameter | None", innermost.bias)
            self.unmerged_base = UnmergedBase(*own, {}, self.inner.names(), self.inner.norms())
        self._assign(
            _own(weight, self.unmerged_base.weight), None if bias is None else _own(bias, self.unmerged_base.bias)
        )
        self.inner.redo(self.unmerged_base.inner_merged, self.unmerged_base.inner_norms)
        self.merged_adapters, self.unmerged_base.scaling = names, {name: self.scaling[name] for name in names}

    def _take_out(self) -> None:
        own = self.unmerged_base
        assert own is not None
        weight, bias = self._unmerged_like(self.innermost.weight)
        own.weight.data = weight
        if own.bias is not None and bias is not None:
            own.bias.data = bias
        self._assign(own.weight, own.bias)
        self.inner.redo(own.inner_merged, own.inner_norms)
        self.unmerged_base, self.merged_adapters = None, []

    def _merged(self, names: list[str]) -> tuple[Tensor, Tensor | None]:
        """The base's weight and bias with these adapters in, summed in at least float32 and rounded once."""
        innermost = self.innermost
        ordered = [name for name in self._all_available_adapter_names() if name in names]
        dtype = torch.promote_types(innermost.weight.dtype, torch.float32)
        with torch.no_grad():
            weight_delta, bias_delta = self.added(ordered, dtype)
            # tensors of their own also where nothing is added: inner adapters merge in place
            weight = _sum(innermost.weight, weight_delta, dtype)
            if innermost.bias is None:
                return weight, None if bias_delta is None else bias_delta.to(weight.dtype)
            return weight, _sum(innermost.bias, bias_delta, dtype)

    def _assign(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        self.innermost.weight, self.innermost.bias = weight, bias  # type: ignore[assignment]

    def _check_finite(self, weight: Tensor, bias: Tensor | None, names: list[str]) -> None:
        if not weight.isfinite().all() or (bias is not None and not bias.isfinite().all()):
            raise ValueError(
                f"NaNs detected in the merged weights. The adapter {', '.join(names)} seems to be broken "
                f"in layer {self.layer_name!r}"
            )

    def _unmerged_like(self, current: Tensor) -> tuple[Tensor, Tensor | None]:
        """The kept weight and bias; the model may have moved, or changed precision, while merged."""
        own, innermost = self.unmerged_base, self.innermost
        assert own is not None
        weight = own.weight.to(device=current.device, dtype=current.dtype)
        if own.bias is None:
            return weight, None
        like = current if innermost.bias is None else innermost.bias
        return weight, own.bias.to(device=like.device, dtype=like.dtype)


def _sum(base: Tensor, delta: Tensor | None, dtype: torch.dtype) -> Tensor:
    return (base.to(dtype) if delta is None else base.to(dtype) + delta).to(base.dtype, copy=True)


def _own(merged: Tensor, base: nn.Parameter | None) -> nn.Parameter:
    """A parameter in the place of the base's; a bias that the base does not have is none to train."""
    return nn.Parameter(merged, requires_grad=base is not None and base.requires_grad)


def warn_gained_bias(layer_name: str) -> None:
    warnings.warn(
        f"Merging gives layer {layer_name!r} a bias that it did not have. A checkpoint of the merged model holds a "
        "tensor more than its architecture declares; unmerging takes the bias away again.",
        stacklevel=3,
    )
