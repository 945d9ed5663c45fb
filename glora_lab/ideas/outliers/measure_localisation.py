"""How far contamination reaches, and what decides it: the sizes of G's columns, block by block.

A fresh adapter of LoRA makes G AᵀA of G, A Gaussian enough: column i becomes itself and a mixture of all the columns in
its block, each weighing 1/√r of its size. GraLoRA mixes within one of k input blocks alone, of an energy ‖G_n‖² that is
smaller, at a rank r/k. So channel i of block n is off by about

    e_i = √(k/r) · ‖G_n‖ / ‖G[:, i]‖

and, the mixture being Gaussian over as many directions d as the block has singular values that count,
(Σλ)² / Σλ² of λ = σ², off by more than L with the probability that χ²_d / d exceeds (L / e_i)². Nothing here is fitted.

With L = 2·√(in/r), as `sensible_limit` has it where r is small, k and r drop out of e_i > L: a channel is off where its
column is smaller than half the root mean square of its block's columns. An outlier makes that large, in its own block
alone; a channel that is weak beside its neighbours is off in a block of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from torch import Tensor

from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.arguments import (
    check_counts,
    check_is,
    check_kind,
    check_positive_int,
    check_positive_number,
    refuse,
)
from glora_lab.ideas.entanglement.measure import sensible_limit
from glora_lab.ideas.entanglement.measure_fresh import fresh_report
from glora_lab.ideas.entanglement.record import GradientReport

from .measure import median, stable_rank
from .measure_controls import CONTROLS, FAR_ABOVE, controlled
from .measure_tokens import LayerTokens
from .record_localisation import ContaminatedShare, ControlledLayer, Localisation

DRAWS = 3


def localisation(
    tokens: Mapping[str, LayerTokens],
    *,
    ranks: Sequence[int] = (16, 64),
    ks: Sequence[int] = (1, 2, 4, 8),
    draws: int = DRAWS,
    made: Mapping[str, Any] | None = None,
) -> Localisation:
    """Of each layer, under each control, how many channels fresh adapters are off for, and what one expects of G.

    It asks of real layers what arXiv 2505.20355 shows on one (Figs 3, 4, 6, 9): an outlier reaches k of the k² blocks.

    Args:
        tokens: layer → its tokens, as `layer_tokens` finds them; layers that have a gradient.
        ranks, ks: of the adapters; k = 1 is LoRA, and each k divides the layers' sides and the ranks.
        draws: of each adapter's initial values, from seed 0 on; the shuffle is that of seed 0.
        made: what the record is to say of itself.

    Raises:
        ValueError: for a k that does not divide a layer's sides or a rank, or a number that is none.
    """
    check_kind("tokens", tokens, Mapping, "must be a dict from a layer to its LayerTokens, as layer_tokens gives it")
    ranks, ks = check_counts("ranks", ranks), check_counts("ks", ks)
    check_positive_int("draws", draws)
    check_is("made", made, Mapping, "must be a dict of what the record is to say of itself")
    rows: list[ContaminatedShare] = []
    layers: list[ControlledLayer] = []
    for layer, found in tokens.items():
        for control in CONTROLS:
            gradient = controlled(found, control)
            sizes = gradient.norm(dim=0)
            far = int((sizes > FAR_ABOVE * median(sizes)).sum())
            layers.append(ControlledLayer(layer, control, len(sizes), far, stable_rank(gradient)))
            rows += [contaminated_share(layer, control, gradient, r=r, k=k, draws=draws) for r in ranks for k in ks]
    return Localisation(tuple(rows), tuple(layers), dict(made or {}))


def contaminated_share(
    layer: str, control: str, gradient: Tensor, *, r: int, k: int, draws: int = DRAWS
) -> ContaminatedShare:
    """One cell of it: G under the control beside `draws` fresh adapters, and what its columns let one expect."""
    limit = sensible_limit(gradient.shape[1], r)
    reports = list(_reports(layer, gradient, r, k, draws))
    shares = [report.deviating(limit) for report in reports]
    inside, outside = zip(*map(_errors, reports), strict=True)
    return ContaminatedShare(
        layer,
        control,
        r,
        k,
        off=fmean(shares),
        low=min(shares),
        high=max(shares),
        expected=expected_share(gradient, k=k, r=r, limit=limit),
        inside=fmean(inside),
        outside=None if k == 1 else fmean(outside),
    )


def _reports(layer: str, gradient: Tensor, r: int, k: int, draws: int) -> Iterator[GradientReport]:
    config: Any = LoraConfig(r=r, lora_alpha=2 * r) if k == 1 else GraloraConfig(r=r, alpha=2 * r, gralora_k=k)
    for seed in range(draws):
        yield fresh_report(layer, gradient, config, seed=seed)


def _errors(report: GradientReport) -> tuple[float, float]:
    """The median error of the blocks in the strongest channel's column of them, and of the others; nan for none."""
    (strongest, _), *_ = report.strongest()
    k = len(report.block_deviation)
    here = np.arange(k) == strongest * k // len(report.deviation)
    inside, outside = report.block_deviation[:, here], report.block_deviation[:, ~here]
    return float(np.median(inside)), float(np.median(outside)) if k > 1 else np.nan


def expected_deviation(gradient: Tensor, *, k: int, r: int) -> Tensor:
    """e_i (in,), infinite where column i is 0 beside others that are not; √(in/r) where all columns are alike.

    Args:
        gradient: G (out, in).
        k: blocks a side, 1 for LoRA.
        r: the rank of LoRA, whose block of GraLoRA has r/k.

    Raises:
        ValueError: for a k that does not divide both sides of G, or a number that is none.
    """
    sizes, energy = gradient.norm(dim=0), _blocks(gradient, k, r).square().sum((0, 2, 3))  # (i,), (n,)
    off = (k / r * energy).sqrt().repeat_interleave(len(sizes) // k) / sizes
    return torch.where(sizes > 0, off, torch.where(off > 0, torch.inf, 0.0)).nan_to_num(0.0, posinf=torch.inf)


def expected_share(gradient: Tensor, *, k: int, r: int, limit: float) -> float:
    """The share of input channels, 0 to 1, that a fresh adapter is off for under "equal decrease", as G alone lets one
    expect.

    The formula is ours; it stands in `glora_lab.ideas.outliers.measure_localisation`.

    Args:
        gradient: G (out, in).
        k: blocks per side, 1 for LoRA.
        r: the rank of LoRA, of which each block of GraLoRA has r/k.
        limit: how many times its own size a channel's gradient must be off to count.

    Raises:
        ValueError: for a k that does not divide both sides of G, or a number that is none.
    """
    check_positive_number("limit", limit)
    blocks = _blocks(gradient, k, r)
    shorter = blocks if blocks.shape[-2] <= blocks.shape[-1] else blocks.mT
    whole, squares = (each.square().sum((0, 2, 3)) for each in (blocks, shorter @ shorter.mT))  # Σλ and Σλ², (n,)
    directions = torch.where(squares > 0, whole.square() / squares, 1.0).repeat_interleave(gradient.shape[1] // k)
    within = (limit / expected_deviation(gradient, k=k, r=r)).square()  # infinite where nothing is off
    return torch.special.gammaincc(directions / 2, directions / 2 * within.clamp(max=1e6)).mean().item()


def _blocks(gradient: Tensor, k: int, r: int) -> Tensor:
    """(out, in) → (m, n, o, i)."""
    if not isinstance(gradient, Tensor) or gradient.ndim != 2:
        raise refuse("gradient", type(gradient).__name__, "must be a tensor (out, in), as controlled gives one")
    check_positive_int("k", k)
    check_positive_int("r", r)
    out, into = gradient.shape
    if out % k or into % k:
        raise refuse("k", k, f"must divide the {into} inputs and {out} outputs of the layer")
    return gradient.double().reshape(k, out // k, k, into // k).transpose(1, 2)
