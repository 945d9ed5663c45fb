"""GraLoRA's formula on plain tensors: ΔW as a k×k grid of low-rank blocks.

    ΔW[m, n] = B_mn A_mnᵀ,  m the output block, n the input block, each of rank s = r/k

A is (k, i, r): A[n] holds the A_mn of input block n side by side, one for each m. B is (k, r, o): B[m] holds the
B_mnᵀ of output block m above each other, one for each n. Here i = in/k and o = out/k. Source: arXiv 2505.20355;
the layout is that of PEFT's `tuners/gralora`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from glora_lab.adapters.tuner.terms import EXAMPLE_SIZE


class Factors(nn.ParameterDict):
    """Adapter name → factor, under the names that PEFT gives it. Asked for by calling: `factors(name)`.

    A call and no look-up, because accelerate brings offloaded tensors in when a module is called. PEFT looks
    them up, finds tensors on the meta device, and its adapter is lost without a word.
    """

    __call__ = nn.Module.__call__  # ParameterDict's own refuses

    def forward(self, adapter_name: str) -> Tensor:
        return self[adapter_name]


class Factor(nn.Module):
    """One matrix, as `weight`; asked for by calling, see `Factors`."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))

    def forward(self) -> Tensor:
        return self.weight


def block_output(x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """scaling · ΔW·x: (..., in), (k, i, r), (k, r, o) → (t, k, o), where t is all of x's rows.

    The last two axes are out in order; they are left apart, for the result is a transposed view, and adding it
    to a (t, k, o) view of the base's output saves one pass over the outputs.
    """
    k, i, r = a.shape
    h = torch.bmm(x.reshape(-1, k, i).transpose(0, 1), a)  # (n, t, m·s)
    t = h.shape[1]
    # contiguous, not reshape: for s = 1 that is a view, which bmm takes apart matrix by matrix
    h = h.mul_(scaling).view(k, t, k, r // k).permute(2, 1, 0, 3).contiguous().view(k, t, r)  # (m, t, n·s)
    return torch.bmm(h, b).transpose(0, 1)  # (t, m, o)


def block_factors(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(…, k, i, r), (…, k, r, o) → B_mn as (…, m, n, o, s) and A_mn as (…, m, n, i, s), views of the parameters."""
    k, r = a.shape[-3], a.shape[-1]
    return b.unflatten(-2, (k, r // k)).transpose(-1, -2), a.unflatten(-1, (k, r // k)).movedim(-2, -4)


def block_delta(a: Tensor, b: Tensor) -> Tensor:
    """ΔW as (…, out, in), for scaling 1: the einsum `iajs,jiso->joia`, in no more time."""
    b_mn, a_mn = block_factors(a, b)
    blocks = (b_mn @ a_mn.transpose(-1, -2)).transpose(-3, -2)  # (…, m, n, o, i) → (…, m, o, n, i)
    k, o, _, i = blocks.shape[-4:]
    return blocks.reshape(*blocks.shape[:-4], k * o, k * i)


@torch.no_grad()
def init_blocks(a: Tensor, b: Tensor, *, no_op: bool, rank: int, scaling: float) -> None:
    """Kaiming-uniform A, a block at a time as LoRA draws its own, and B zero; without `no_op` B is small and random."""
    for block in a.flatten(0, -3):  # (k, i, r), or for experts (E·k, i, r)
        block.copy_(nn.init.kaiming_uniform_(block.new_empty(block.shape[::-1]), a=math.sqrt(5)).T)
    init_outer(b, no_op=no_op, rank=rank, scaling=scaling)


@torch.no_grad()
def init_outer(b: Tensor, *, no_op: bool, rank: int, scaling: float) -> None:
    """Zeros, or values for which the whole of ΔW·x (`rank` = r + hybrid_r) has about `EXAMPLE_SIZE` of x's size."""
    if no_op:
        nn.init.zeros_(b)
        return
    # a latent value has a third of x's variance; a uniform on ±bound has the variance bound²/3
    bound = 3 * EXAMPLE_SIZE / (math.sqrt(rank) * scaling)
    nn.init.uniform_(b, -bound, bound)
