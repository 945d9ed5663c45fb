"""What merging does to a base: how far its weights are from what they were after cycles of merging and unmerging, and
how much of the adapter's work on the output is rounded away.

Decisions. Each layer is copied and runs by itself, so that a model in float32 can be asked about bfloat16 without a
second model. Base in the precision that is asked for, adapter in its own: so PEFT holds them. Ours and stock PEFT's are
both real layers over the same base with the same tensors; where one of them cannot hold the adapter, the report says
why. Where every bit is as it was one or two cycles before, cycles go round for ever, and whole rounds of them are not
run. The output's error is taken against the same layer in float64 and relative to what the adapter does, for a small
adapter can be lost whole in an output that looks right.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import SUPPORTED
from glora_lab.adapters.stock.twin import lab_twin, stock_twin
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import adapted_layers, carried, find_layer
from glora_lab.arguments import check_choice, check_count, check_positive_int

from .record import OURS, STOCK, LayerMerge, MergeReport

if TYPE_CHECKING:
    from jaxtyping import Float

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
)
INPUTS = 64  # rows of random inputs, of variance 1


def merge_report(
    model: nn.Module,
    *,
    cycles: int = 100,
    dtype: str = "bfloat16",
    layer: str | None = None,
    adapter_name: str | None = None,
    seed: int = 0,
) -> MergeReport:
    """Merge and unmerge each adapted layer `cycles` times, ours and stock PEFT's, with the base in `dtype`.

    Args:
        model: a model that carries LoRA, GLoRA or GraLoRA, ours or stock PEFT's, over nn.Linear or Conv1D, and not
            merged where it is stock's. It is left as it is.
        dtype: "float32", "bfloat16", "float16" or "float64".
        layer: the name of one adapted layer, or an unambiguous end of one; None for all.
        adapter_name: None for the first active adapter. Others on the layer take no part.
        seed: of the inputs on which the output is compared, 64 rows of standard normal numbers; the global generator
            is left as it is.

    Returns:
        Two rows a layer, one where only one of the libraries can hold the adapter. LoRA is stock PEFT's alone, and
        what stock PEFT's GLoRA cannot express is ours.

    Raises:
        ValueError: for a setting that cannot be, a model without the adapter, or a layer whose weight is not there,
            is no matrix of floating point numbers, or has a stock adapter merged into it.
    """
    check_positive_int("cycles", cycles)
    check_choice("dtype", dtype, DTYPES)
    check_count("seed", seed)
    layers = adapted_layers(model) if layer is None else dict([find_layer(model, layer)])
    if not layers:
        raise ValueError(f"`model` (a {type(model).__name__}) must carry an adapter on a layer")
    adapter = next(iter(layers.values())).active_adapters[0] if adapter_name is None else adapter_name
    layers = {name: found for name, found in layers.items() if adapter in carried(found)}
    if not layers:
        raise ValueError(f"`adapter_name` (={adapter!r}) is on no layer of this model that is asked for")
    config = _config(model, adapter)
    rows: list[LayerMerge] = []
    left_out: dict[str, str] = {}
    for name, found in layers.items():
        both, reasons = _both(name, found, config, adapter, DTYPES[dtype])
        left_out |= reasons
        rows += _measured(name, both, adapter, cycles, seed)
    return MergeReport(tuple(rows), dtype, method_name(config).removeprefix("stock "), left_out)


def _config(model: nn.Module, adapter: str) -> Any:
    configs: Mapping[str, PeftConfig] = getattr(model, "peft_config", {})
    if adapter not in configs:
        raise ValueError(f"`model` (a {type(model).__name__}) must be a PeftModel, which holds the configuration")
    return configs[adapter]


def _both(
    name: str, found: BaseTunerLayer, config: Any, adapter: str, dtype: torch.dtype
) -> tuple[dict[str, Any], dict[str, str]]:
    """The layer as each library has it, its base in `dtype`, and why one is missing."""
    _check(name, found)
    both: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for by, twin in ((OURS, lab_twin), (STOCK, stock_twin)):
        try:
            both[by] = _in_precision(twin(found, config, adapter), adapter, dtype)
        except ValueError as refusal:
            reasons[f"{name} ({by})"] = str(refusal)
    return both, reasons


def _check(name: str, found: Any) -> None:
    innermost = found.get_base_layer()
    weight = getattr(innermost, "weight", None)
    if not isinstance(innermost, SUPPORTED) or weight is None or weight.is_meta or not weight.is_floating_point():
        raise ValueError(f"`layer` (={name!r}, a {type(innermost).__name__}) must have a matrix of numbers in memory")
    if isinstance(found.base_layer, BaseTunerLayer):
        raise ValueError(f"`layer` (={name!r}) carries one adapter over another, and its base is no plain weight")
    if found.merged and not isinstance(found, LabLayer):
        raise ValueError(f"`layer` (={name!r}) has an adapter merged, and PEFT keeps no original weight: unmerge first")


def _in_precision(twin: Any, adapter: str, dtype: torch.dtype) -> Any:
    twin.set_adapter([adapter])
    innermost = twin.get_base_layer()
    for parameter in innermost.parameters():
        parameter.data = parameter.data.to(dtype)
    return twin.requires_grad_(False).eval()


@torch.no_grad()
def _measured(name: str, both: Mapping[str, Any], adapter: str, cycles: int, seed: int) -> list[LayerMerge]:
    """One row for each library, against one and the same output in float64."""
    if not both:
        return []
    one = next(iter(both.values()))
    generator, like = torch.Generator().manual_seed(seed), one.get_base_layer().weight
    inputs = torch.randn(INPUTS, one.in_features, generator=generator).to(like.device, like.dtype)
    exact = copy.deepcopy(one).double()
    true, frozen = exact(inputs.double()), exact.get_base_layer()(inputs.double())
    effect = float((true - frozen).norm() / frozen.norm())
    rows = []
    for by, found in both.items():
        before, unmerged = _numbers(found), _error(found(inputs), true, frozen)
        drift, merged = _cycle(found, adapter, cycles, before, inputs)
        changed = float((_numbers(found) != before).double().mean())  # a nan differs from everything
        rows.append(LayerMerge(name, by, drift, changed, effect, unmerged, _error(merged, true, frozen)))
    return rows


def _cycle(
    found: Any, adapter: str, cycles: int, before: Tensor, inputs: Tensor
) -> tuple[Float[np.ndarray, " c"], Tensor]:
    """The drift before and after each cycle, and the output at the first merge."""
    drift, merged, exact, past = [0.0], inputs, before.double(), deque([before], maxlen=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what merging gains is gone again with each cycle
        while len(drift) <= cycles:
            found.merge(adapter_names=[adapter])
            if len(drift) == 1:
                merged = found(inputs)
            found.unmerge()
            now = _numbers(found)
            drift.append(_distance(now, exact))
            if since := next((n for n, then in enumerate(past, 1) if _same_bits(now, then)), 0):
                drift += drift[-since:] * ((cycles + 1 - len(drift)) // since)
            past.appendleft(now)
    return np.array(drift), merged


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Also where these are no numbers."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def _numbers(found: Any) -> Tensor:
    """Weight and bias of the base in one row, as they are."""
    innermost = found.get_base_layer()
    parts = [innermost.weight, *([] if innermost.bias is None else [innermost.bias])]
    return torch.cat([part.detach().flatten() for part in parts])


def _distance(now: Tensor, before: Tensor) -> float:
    off = float((now.double() - before).norm() / before.norm())
    return off if math.isfinite(off) else math.inf


def _error(output: Tensor, true: Tensor, frozen: Tensor) -> float:
    """How far an output is from the true one, relative to what the adapter does; nan where it does nothing."""
    off, effect = float((output.double() - true).norm()), float((true - frozen).norm())
    return off / effect if effect else math.nan
