"""What the methods' formulas share: the sum of terms, and the first values of factors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# init_weights=False: root mean square of what a term adds, relative to what it acts on
EXAMPLE_SIZE = 0.1


@torch.no_grad()
def kaiming(factors: Tensor) -> None:
    """As LoRA draws its A, (r, in), for each matrix of (…, r, in)."""
    for matrix in factors.flatten(0, -3) if factors.ndim > 2 else [factors]:
        nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))


def add(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], start=terms[0])
