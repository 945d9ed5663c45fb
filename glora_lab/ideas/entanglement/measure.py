"""Gradient entanglement: which change of W an adapter makes of the gradient that full fine-tuning would follow.

With G = ∂L/∂W, a step of full fine-tuning moves W along −G. A step of the adapter's parameters p moves it, to first
order, along −J Jᵀ G, where J is the Jacobian of ΔW(p): G·AᵀA + BBᵀ·G for LoRA, the same block by block for GraLoRA
(arXiv 2505.20355, section 2), and for GLoRA whatever its terms make of it.

Decisions. G is found from what goes into the layer and what comes back to it, not from `weight.grad`: GLoRA multiplies
W0, so its ∂L/∂W0 is another matrix than ∂L/∂W. The paper draws deviations and gives no formula: ours is here, in
`gradient_report`. The model is asked in evaluation mode, for a report must not depend on a draw of dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import block_sides, chosen_adapter, delta_matrix, find_layer
from glora_lab.anatomy.batch import Batch, Loss, loss_of
from glora_lab.arguments import check_key, check_positive_int
from glora_lab.ideas.blocks.measure import cut

from .measure_first_order import effective_change, weight_gradient
from .record import LIMIT, GradientReport

FAR_ABOVE = 5.0  # an outlier's gradient, in medians; without one the largest of 256 Gaussian channels has 1.4

# convention → the factor by which J Jᵀ G is multiplied before it is compared with G
SCALINGS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = MappingProxyType(
    {
        "as is": lambda full, effective: 1.0,
        "equal decrease": lambda full, effective: _ratio((full * full).sum(), (full * effective).sum()),
        "equal size": lambda full, effective: _ratio(float(np.linalg.norm(full)), float(np.linalg.norm(effective))),
    }
)


def gradient_report(
    model: nn.Module,
    batch: Batch,
    layer: str,
    *,
    loss: Loss | None = None,
    scaling: str = "equal decrease",
    adapter_name: str | None = None,
) -> GradientReport:
    """G = ∂L/∂W of one layer beside J Jᵀ G, what its adapter makes of it, in float64.

    J is the Jacobian of ΔW: for LoRA J Jᵀ G is G·AᵀA + BBᵀ·G, for GraLoRA the same block by block (arXiv 2505.20355,
    section 2). The paper draws deviations (Figs 3, 4, 6 and 9) and gives no formula; the one below is ours.

    Args:
        model: a model that carries LoRA, GLoRA or GraLoRA, ours or stock PEFT's. It is left as it was.
        batch: the model's keyword arguments as a dict, the loss being its output's, or a tuple (inputs, targets).
        layer: the name of an adapted layer, or an unambiguous end of one. One that runs more than once adds up.
        loss: `loss(outputs, targets)` for a tuple; mean squared error by default.
        scaling: what J Jᵀ G, which depends on alpha, r and the initialisation, is multiplied by for the deviation:
            "as is", 1, so that alpha counts; "equal decrease", ‖G‖²/⟨G, J Jᵀ G⟩, for which a step of either lowers
            the loss alike to first order; "equal size", ‖G‖/‖J Jᵀ G‖. Norms are Frobenius's.
        adapter_name: None for the first active adapter. Its frozen parameters do not move, unless all are frozen;
            nor does the norm that DoRA divides by, which PEFT takes for a constant.

    Returns:
        `full` G and `effective` J Jᵀ G, unscaled, as (out, in). `deviation[i]` is the relative error of column i,
        ‖factor·(J Jᵀ G)[:, i] − G[:, i]‖ / ‖G[:, i]‖ (in,), 0 where both are 0 and infinite where G's alone is;
        `block_deviation[m, n]` is the median, over the channels of input block n, of that error within the rows of
        output block m. `outliers` are the input channels whose ‖G[:, i]‖ is above five times the median of those
        that are not 0. Even without an outlier the error of a fresh adapter is about √(in/r) under "equal decrease",
        whatever k: a threshold says something only above that, see `sensible_limit`.

    Raises:
        ValueError: where layer, adapter, scaling or batch cannot work, or the batch does not reach the layer.
    """
    check_scaling(scaling)
    name, found = find_layer(model, layer)
    adapter = chosen_adapter(found, adapter_name)
    with torch.no_grad():
        delta_matrix(found, adapter)  # refuses what has no ΔW, before the model runs
    gradient = weight_gradient(model, found, name, lambda: loss_of(model, batch, loss))
    effective = effective_change(found, adapter, gradient)
    k = block_sides(found, adapter)
    return report_of(name, _method(model, adapter, found), gradient, effective, k=k, scaling=scaling)


def report_of(
    layer: str, method: str, gradient: Tensor, change: Tensor, *, k: int, scaling: str = "equal decrease"
) -> GradientReport:
    """G and J Jᵀ G, each (out, in) in float64, as a report of `k` blocks a side."""
    full, effective = (t.cpu().numpy() for t in (gradient, change))
    factor = float(SCALINGS[scaling](full, effective))
    difference = factor * effective - full
    report = GradientReport(
        layer=layer,
        method=method,
        full=full,
        effective=effective,
        deviation=_relative(difference, full),
        block_deviation=np.median(_relative(cut(difference, k), cut(full, k)), axis=-1),
        scaling=scaling,
        factor=factor,
    )
    far = tuple(i for i, prominence in report.strongest(len(full[0])) if prominence > FAR_ABOVE)
    return replace(report, outliers=far)


def check_scaling(scaling: str) -> None:
    check_key("scaling", scaling, SCALINGS, "must be one of")


def usual_deviation(in_features: int, r: int) -> float:
    """√(in/r): how far off every channel is under "equal decrease" with a fresh adapter of rank r and no outlier.

    Raises ValueError for an `r` that is no rank.
    """
    check_positive_int("in_features", in_features)
    check_positive_int("r", r)
    return math.sqrt(in_features / r)


def sensible_limit(in_features: int, r: int, *, scaling: str = "equal decrease") -> float:
    """How far off a channel must be before that says something: 3 times, or more where r is small.

    Under "equal decrease" a fresh adapter of rank r is √(in/r) off without any outlier; the limit is twice that where
    that is more than 3. The rule is ours.

    Args:
        in_features: the layer's input channels.
        r: the adapter's rank.
        scaling: the convention, as in `gradient_report`; another than "equal decrease" has the limit 3.

    Raises:
        ValueError: for an `r` that is no rank.
    """
    check_scaling(scaling)
    usual = usual_deviation(in_features, r)
    return max(LIMIT, 2 * usual) if scaling == "equal decrease" else LIMIT


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else 1.0  # nothing to scale: J Jᵀ G is zero


def _relative(difference: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Norms over the last axis but one, divided: (..., out, in) → (..., in)."""
    off, size = np.linalg.norm(difference, axis=-2), np.linalg.norm(full, axis=-2)
    return np.divide(off, size, out=np.where(off > 0, np.inf, 0.0), where=size > 0)


def _method(model: nn.Module, adapter: str, layer: Any) -> str:
    config = getattr(model, "peft_config", {}).get(adapter)
    return type(layer).__name__ if config is None else method_name(config)
