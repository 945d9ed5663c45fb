"""GraLoRA's blocks added up: in a grid of the same k, block by block.

`cat` puts the ranks of each block side by side, and those of a hybrid's LoRA. `svd` cuts the whole of Σ wᵢ ΔWᵢ, hybrids
included, into the grid of the first adapter, and brings every block to svd_rank/k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from glora_lab.adapters.tuner.weighted import Request, Sums, check_one_rank, combined, prevailing, truncated, wide
from glora_lab.arguments import refuse

GENERAL = ("gralora_A_general.weight", "gralora_B_general.weight")


def weighted_blocks(name: str, layer: Any, request: Request) -> Sums:
    """The sum's tensors on one layer.

    Raises:
        ValueError: where its adapters cannot be added up in the way that was asked for.
    """
    return _by_svd(name, layer, request) if request.how == "svd" else _by_factors(name, layer, request)


def _by_factors(name: str, layer: Any, request: Request) -> Sums:
    parts = request.parts(layer)
    ks = sorted({layer.gralora_k[adapter] for adapter, _ in parts})
    if len(ks) > 1:
        rule = f"must be the same in layer {name!r} for combination_type={request.how!r}; 'svd' makes one grid of them"
        raise refuse("gralora_k", ks, rule)
    if request.how == "linear":
        ranks = sorted({(layer.r[adapter], layer.hybrid_r[adapter]) for adapter, _ in parts})
        listed = [f"{r} (hybrid_r {h})" if any(h for _, h in ranks) else r for r, h in ranks]
        check_one_rank(name, listed)
    k, grids, generals = ks[0], [], []
    for adapter, weight in parts:
        weight *= layer.scaling[adapter]
        a, b = (wide(factor) for factor in layer.blocks(adapter))
        grids.append((weight, b.unflatten(1, (k, -1)), a.unflatten(-1, (k, -1))))  # (m, n, s, o), (n, i, m, s)
        if adapter in layer.gralora_A_general:
            a, b = (wide(factor) for factor in layer.general(adapter))
            generals.append((weight, b, a))
    b, a = combined(request, grids, (2, 3))
    sums = {"gralora_A": a.flatten(2), "gralora_B": b.flatten(1, 2)}
    if generals:
        sums |= dict(zip(reversed(GENERAL), combined(request, generals, (1, 0)), strict=True))
    return sums


def _by_svd(name: str, layer: Any, request: Request) -> Sums:
    parts = request.parts(layer)
    k = layer.gralora_k[parts[0][0]]
    most = max(layer.r[adapter] + layer.hybrid_r[adapter] for adapter, _ in parts)
    rank = request.rank or k * -(-most // k)
    if rank % k:
        raise refuse("svd_rank", rank, f"must be divisible by `gralora_k` (={k}) of layer {name!r}")
    dtype = torch.promote_types(layer.innermost.weight.dtype, torch.float32)
    delta = torch.stack([weight * layer.weight_delta(adapter, dtype).detach() for adapter, weight in parts]).sum(0)
    blocks = delta.unflatten(1, (k, -1)).unflatten(0, (k, -1)).transpose(1, 2)  # (m, n, o, i)
    up, down = truncated(blocks, rank // k, request.driver)  # (m, n, o, s), (m, n, s, i)
    return {
        "gralora_A": down.permute(1, 3, 0, 2).flatten(2),  # (n, i, m·s)
        "gralora_B": up.transpose(-1, -2).flatten(1, 2),  # (m, n·s, o)
    }


def config_of_blocks(request: Request, layers: Mapping[str, Any], sums: Mapping[str, Sums]) -> Any:
    """The first adapter's configuration with the grids and ranks of the sums, and no scaling."""
    sizes = {name: (one["gralora_A"].shape[2], one["gralora_A"].shape[0]) for name, one in sums.items()}
    (r, k), others = prevailing(sizes)
    # one hybrid_r holds for all layers, and zeros fill up those that an adapter left alone
    hybrid = max((len(one[GENERAL[0]]) for one in sums.values() if GENERAL[0] in one), default=0)
    return dataclasses.replace(
        request.first,
        r=r,
        gralora_k=k,
        hybrid_r=hybrid,
        alpha=r + hybrid,
        use_rslora=False,
        rank_pattern={name: own for name, (own, _) in others.items() if own != r},
        alpha_pattern={name: own + hybrid for name, (own, _) in others.items() if own != r},
        k_pattern={name: own for name, (_, own) in others.items() if own != k},
    )
