"""A gradient report of a fresh adapter from G alone: before its first step ΔW is zero, and G that of the bare layer."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from torch import Tensor, nn

from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import block_sides

from .measure import check_scaling, report_of
from .measure_first_order import effective_change
from .record import GradientReport

LAYER = "layer"


def fresh_report(
    layer: str, gradient: Tensor, config: PeftConfig, *, scaling: str = "equal decrease", seed: int = 0
) -> GradientReport:
    """G beside what a fresh adapter of this configuration makes of it: `gradient_report` without a model.

    Args:
        layer: what the report calls it.
        gradient: G = ∂L/∂W (out, in), of a layer of a model or made.
        config: of LoRA or GraLoRA, whose first step does not ask for W0; its `target_modules` is not looked at.
        scaling: as for `gradient_report`.
        seed: of the adapter's initial values; the caller's random state is kept.

    Raises:
        ValueError: for an unknown scaling, or a configuration that does not fit G.
    """
    check_scaling(scaling)
    out, into = gradient.shape
    own: Any = copy.deepcopy(config)
    own.target_modules = {LAYER}
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # PEFT's, that the model has no name
        bare = nn.ModuleDict({LAYER: nn.Linear(into, out, bias=False)})
        torch.manual_seed(seed)
        adapted: Any = get_peft_model(bare, own)
    found = adapted.base_model.model[LAYER]
    gradient = gradient.detach().cpu().double()
    change, k = effective_change(found, "default", gradient), block_sides(found, "default")
    return report_of(layer, method_name(own), gradient, change, k=k, scaling=scaling)
