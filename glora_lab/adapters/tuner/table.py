"""What a method is on a layer: the one table that instruments, export and twins ask, of our layers and of PEFT's own.

As it stands it says that all of a method is one path B over the weight, and what differs from that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .factors import Blocks, Term


def own_tensors(layer: Any, adapter_name: str) -> dict[str, nn.Parameter]:
    """One adapter's own on a layer, ours or stock's, under a checkpoint's names: "glora_C.Xd", "gralora_A"."""
    found: dict[str, nn.Parameter] = {}
    for container in layer.adapter_layer_names:
        held = getattr(layer, container)
        if adapter_name not in held:
            continue
        item = held[adapter_name]
        if isinstance(item, Tensor):
            found[container] = item  # type: ignore[assignment]  # of a search, a part of a parameter
        else:
            tensors = item.named_parameters() if item._modules else item._parameters.items()
            found |= {f"{container}.{name}": tensor for name, tensor in tensors if tensor is not None}
    return found


class MethodTable:
    """A subclass has `method` and `weight_delta`."""

    method: ClassVar[str]  # in prose: "GLoRA"
    path_names: ClassVar[Sequence[str]] = ("B",)

    @property
    def holder(self) -> Any:
        """The layer that holds the adapters' tensors."""
        return self

    def tensors(self, adapter_name: str) -> dict[str, nn.Parameter]:
        """See `own_tensors`."""
        return own_tensors(self.holder, adapter_name)

    def stock_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """The same as stock PEFT's layer of this method has them."""
        return dict(self.tensors(adapter_name))

    def carried(self) -> list[str]:
        """The adapters here, one whose paths are all off included."""
        containers = (getattr(self.holder, container) for container in self.holder.adapter_layer_names)
        return list(dict.fromkeys(name for held in containers for name in held))

    def carries(self, adapter_name: str) -> bool:
        return any(adapter_name in getattr(self.holder, name) for name in self.holder.adapter_layer_names)

    def method_of(self, adapter_name: str) -> str:
        """The method of one adapter here: a layer may hold several of one's own."""
        return self.method

    def path_of(self, container: str) -> str:
        """The path whose parameters a container holds: "A" of "glora_A"."""
        return "B"

    def modes(self, adapter_name: str) -> dict[str, str]:
        """Path → mode, as the configuration asks for it."""
        method = self.method_of(adapter_name)
        return {"B": "lora" if method == "LoRA" else method}

    def inert(self, adapter_name: str) -> dict[str, str]:
        """Path → why it can do nothing here."""
        return {}

    def weight_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor:
        """What the adapter adds to W0, merged or not, as (…, out, in); computed in `dtype` where given."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it adds")

    def bias_delta(self, adapter_name: str, dtype: torch.dtype | None = None) -> Tensor | None:
        """What the adapter adds to b0, as (out,); None where it leaves the bias alone."""
        return None

    def path_terms(self, adapter_name: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """The same by path, where each is on: A and B as (…, out, in), C, D and E as (out,)."""
        bias = self.bias_delta(adapter_name, dtype)
        return {"B": self.weight_delta(adapter_name, dtype), **({} if bias is None else {"E": bias})}

    def blocks_of(self, adapter_name: str) -> Blocks | None:
        """The factors of ΔW, None where it is no product and no grid of products."""
        return None

    def terms(self, adapter_name: str) -> Mapping[str, Term | None]:
        """The terms in float64 as factors where they are, so that singular values need no ΔW that is written out."""
        whole = self.blocks_of(adapter_name)
        if whole is None:
            return self.path_terms(adapter_name, torch.float64)
        bias = self.bias_delta(adapter_name, torch.float64)
        return {"B": whole, **({} if bias is None else {"E": bias})}

    def lora_plus(self, adapter_name: str) -> Iterator[tuple[nn.Parameter, bool]]:
        """Each tensor, and whether it is the factor that starts at zero; none where PEFT tells by their names."""
        yield from ()
