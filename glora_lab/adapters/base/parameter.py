"""One parameter of a module, seen as the innermost layer of an adapter: a weight, and no bias.

Most experts of today's mixture-of-experts models are no layers but parameters of three axes, a weight for each
expert. Which of the last two is the output is a matter of the module, and GLoRA's vectors depend on it:

    (E, out, in)   most, as `torch.nn.functional.linear` reads them
    (E, in, out)   where the module says `is_transposed`, or its gate_up_proj and down_proj fit no other way (Llama 4)
    (out, in)      a parameter of two axes
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class ParameterAsLayer:
    """What `nn.Linear` is to an adapter of a layer; it holds nothing but the module and the parameter's name."""

    bias = None

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name

    @property
    def weight(self) -> nn.Parameter:
        parameter: nn.Parameter = getattr(self.module, self.name)
        return parameter

    @weight.setter
    def weight(self, parameter: nn.Parameter) -> None:
        setattr(self.module, self.name, parameter)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "bias" or value is not None:  # a merge puts back the bias that it found
            super().__setattr__(name, value)

    @property
    def transposed(self) -> bool:
        """Whether the parameter keeps a matrix as (in, out)."""
        return self.weight.ndim == 3 and _is_transposed(self.module)

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes before the matrix: (E,), or () for a parameter of two axes."""
        return tuple(self.weight.shape[:-2])

    @property
    def features(self) -> tuple[int, int]:
        """(in, out)."""
        rows, columns = self.weight.shape[-2:]
        return (rows, columns) if self.transposed else (columns, rows)

    def unfit(self) -> str:
        """Why no adapter can be put on this parameter, or an empty string."""
        weight = self.weight
        if weight.ndim not in (2, 3):
            return f"has {weight.ndim} axes, and 2 or 3 are supported"
        if weight.dtype not in FLOATS or type(weight) is not nn.Parameter:
            return f"is quantised ({str(weight.dtype).removeprefix('torch.')})"
        return ""


def _is_transposed(module: Any) -> bool:
    if hasattr(module, "is_transposed"):
        return bool(module.is_transposed)
    up, down = getattr(module, "gate_up_proj", None), getattr(module, "down_proj", None)
    if not all(isinstance(tensor, Tensor) and tensor.ndim == 3 for tensor in (up, down)):
        return False
    assert up is not None and down is not None
    (_, a, b), (_, c, d) = up.shape, down.shape
    return bool(a == d and b == 2 * c)  # gate and up side by side: the other way round, b == c and a == 2d
