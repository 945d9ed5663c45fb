"""What GLoRA trains on a layer: a module for each path that is on, and the values that it starts with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from glora_lab.adapters.tuner.terms import EXAMPLE_SIZE, kaiming

from .paths import Shapes


class LowRankPath(nn.Module):
    """Mode `lora`: the matrix Xd @ Xu."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        self.Xd = nn.Parameter(torch.zeros(shapes["Xd"]))  # (rows, r)
        self.Xu = nn.Parameter(torch.zeros(shapes["Xu"]))  # (r, columns)

    def matrix(self, dtype: torch.dtype | None = None) -> Tensor:
        """Xd @ Xu, multiplied in `dtype` where given, so that its rank is not rounded away."""
        xd, xu = self()
        return xd.to(dtype) @ xu.to(dtype) if dtype else xd @ xu

    def forward(self) -> tuple[Tensor, Tensor]:
        """Both factors. A call and no look-up, for accelerate brings offloaded tensors in when a module is called."""
        return self.Xd, self.Xu


class SinglePath(nn.Module):
    """Modes `vector` and `constant`: one tensor that broadcasts."""

    def __init__(self, shapes: Shapes, lead: int = 0) -> None:
        super().__init__()
        self.X = nn.Parameter(torch.zeros(shapes["X"]))
        self.lead = lead

    @property
    def values(self) -> Tensor:
        """(features,) for a vector, (1,) for a constant; of experts, `lead` = 1, the same for each."""
        values: Tensor = self()
        return values.flatten(self.lead)

    def forward(self) -> Tensor:
        return self.X  # asked for by calling, see `LowRankPath`


Path: TypeAlias = LowRankPath | SinglePath
Paths: TypeAlias = Mapping[str, Path]  # by letter; a path that is off is absent


def build_path(shapes: Shapes, lead: int = 0) -> Path:
    """`lead` counts the axes before the matrix: 1 for experts."""
    return LowRankPath(shapes) if "Xd" in shapes else SinglePath(shapes, lead)


def init_path(path: Path, letter: str, form: str, in_features: int, *, no_op: bool) -> None:
    """Kaiming-uniform Xu and zeros elsewhere; without `no_op`, small random values of `EXAMPLE_SIZE`."""
    spread = math.sqrt(3) * EXAMPLE_SIZE  # a uniform on ±spread has standard deviation EXAMPLE_SIZE
    if isinstance(path, LowRankPath):
        kaiming(path.Xu)
        # Xu has variance 1/(3·fan_in): this Xd gives (Xd @ Xu)·x that size, and elementwise A that size per entry
        bound = spread * math.sqrt(3 / path.Xd.shape[-1])
        if letter == "A" and form == "elementwise":
            bound *= math.sqrt(in_features)
        _fill(path.Xd, 0.0 if no_op else bound, alone=path.Xd.numel() == 1)
    else:
        # B adds v·Σx to every output. 2/in makes that twice the mean of x: a third of the base's output where all
        # activations are positive, still 1% of it at 1,024 inputs where they are centred
        alone = path.X.shape[path.lead :].numel() == 1
        _fill(path.X, 0.0 if no_op else spread * (2 / in_features if letter == "B" else 1), alone=alone)


@torch.no_grad()
def _fill(parameter: Tensor, bound: float, *, alone: bool) -> None:
    if not bound:
        nn.init.zeros_(parameter)
        return
    nn.init.uniform_(parameter, -bound, bound)
    if alone:  # one draw may fall anywhere near 0: keep its sign, and give it the usual size
        parameter.copy_(parameter.sign() * bound / math.sqrt(3))
