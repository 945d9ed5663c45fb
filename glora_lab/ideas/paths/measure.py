"""One GLoRA layer taken apart into its terms, as numbers to draw and to assert."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from glora_lab.adapters.glora.paths import PATHS
from glora_lab.adapters.view import chosen_adapter, find_layer, has_paths
from glora_lab.anatomy.size import LARGEST_RANK_ASKED

from .record import PathPicture


def path_picture(model: nn.Module, layer: str, adapter_name: str | None = None) -> PathPicture:
    """The terms of W_eff and b_eff that one adapter has on one layer, from the layer itself.

    W_eff = W0 + W0⊙A + B and b_eff = b0 + b0⊙D + E + W0·C (arXiv 2306.07967, and its authors' code).

    Args:
        model: a model that carries a GLoRA adapter of this library, merged or not.
        layer: the name of an adapted layer, or an unambiguous end of one.
        adapter_name: None for the first active adapter.

    Returns:
        Terms as (out, in) and (out,) arrays in float64; paths that are off or inert are zeros. `rank_w0a` and
        `rank_b` are numerical ranks: singular values above those that rounding alone would leave; None where
        both sides of the layer are above 1,024.

    Raises:
        ValueError: where the layer or the adapter is not there, or the layer carries another method.
    """
    name, found = find_layer(model, layer)
    if not has_paths(found):
        raise ValueError(f"`layer` (={layer!r}) carries {type(found).__module__}, and the five paths are GLoRA's alone")
    adapter = chosen_adapter(found, adapter_name)
    if not found.carries(adapter):
        raise ValueError(f"`adapter_name` (={adapter!r}) is not on this layer, which carries {', '.join(found.plans)}")
    plan = found.plans[adapter]
    with torch.no_grad(), found.original():
        base = found.frozen_base(torch.float64)
        w0, b0 = base.matrix(), base.bias
        w = {p: t.double() for p, t in found.weight_terms(adapter, torch.float64).items()}
        b = {p: t.double() for p, t in found.bias_terms(adapter, torch.float64).items()}
    weight = {p: _array(w.get(p, torch.zeros_like(w0))) for p in "AB"}
    bias = {p: _array(b.get(p, w0.new_zeros(len(w0)))) for p in "CDE"}
    w0_array, b0_array = _array(w0), _array(w0.new_zeros(len(w0)) if b0 is None else b0)
    return PathPicture(
        layer=name,
        form=plan.form,
        modes=dict(plan.asked),
        params={p: plan.params(p) for p in PATHS},
        inert=dict(plan.inert),
        w0=w0_array,
        w0a=weight["A"],
        b=weight["B"],
        w_eff=w0_array + weight["A"] + weight["B"],
        b0=b0_array,
        b0d=bias["D"],
        e=bias["E"],
        w0c=bias["C"],
        b_eff=b0_array + bias["D"] + bias["E"] + bias["C"],
        rank_w0a=_rank(weight["A"]),
        rank_b=_rank(weight["B"]),
    )


def _rank(term: np.ndarray) -> int | None:
    return int(np.linalg.matrix_rank(term)) if min(term.shape) <= LARGEST_RANK_ASKED else None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy().copy()
