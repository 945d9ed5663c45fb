"""Exercises on what an adapter makes of a weight. Each truth comes from a real layer, and near misses are known."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.view import delta_matrix, find_layer
from glora_lab.ideas.merging.record import STOCK
from glora_lab.measure import block_detail, merge_report, path_budget
from glora_lab.models import load_model

from .exercise import NotYet, exercise, glora_config, matrix, near, several
from .material import FIRST, LAYER, SECOND, adapted, baked_in, found, gralora_layer, two_adapters

LORA_RANK = 4
BLOCK = (1, 2)  # m, output block; n, input block
NEAR_MINUS_ONE = (-0.9, -0.99, -0.995, -0.999, -1.0)


@exercise
def check_lora(answer: Any) -> str:
    """A configuration that is LoRA of rank 4 on a layer: the same parameters, the same functions.

    `answer` is a GloraConfig.
    """
    config: Any = copy.deepcopy(glora_config(answer))
    config.target_modules, config.init_weights = {LAYER}, False
    try:
        config.validate()
        layer = found(adapted(load_model("digits-vit"), config))
    except ValueError as refusal:
        raise NotYet(f"This configuration cannot be put on the layer: {refusal}") from None
    with torch.no_grad():
        before = delta_matrix(layer)
        pushed = layer(torch.zeros(1, layer.in_features)) - layer.base_layer(torch.zeros(1, layer.in_features))
        layer.base_layer.weight.zero_()
        after = delta_matrix(layer)
    if not torch.allclose(before, after):
        raise NotYet("ΔW changes when W0 does. LoRA's ΔW knows nothing of W0: which path multiplies it?")
    if not torch.allclose(pushed, torch.zeros_like(pushed)):
        raise NotYet("An input of zeros gets another answer than before: something moves the bias, and LoRA does not.")
    rank = int(torch.linalg.matrix_rank(before))
    lora = path_budget(load_model("digits-vit"), GloraConfig.only(B="lora", r=LORA_RANK, target_modules=[LAYER]))
    if rank != LORA_RANK:
        raise NotYet(f"ΔW is added and knows nothing of W0, as LoRA's; but its rank is {rank}.")
    if (trained := sum(p.numel() for p in layer.parameters() if p.requires_grad)) != lora.total:
        raise NotYet(
            f"The rank is right, but {trained:,} numbers are trained here, and LoRA's factors have {lora.total:,}."
        )
    return "One path is LoRA, the one that is added without a look at W0. All on `lora` would not be."


@exercise
def check_block_delta(answer: Any) -> str:
    """Block m = 1, n = 2 of ΔW of `gralora_layer()`, from its tensors, its rank, its k and its scaling.

    `answer` is an array (32, 16), of numpy or torch.
    """
    layer, (m, n) = gralora_layer(), BLOCK
    model = nn.ModuleDict({"layer": layer})
    truth = block_detail(model, "layer", m, n).block
    block = matrix(answer, truth.shape)
    if near(block, truth):
        return "Two thin factors of rank r/k, cut out of two tensors: that is all a block is."
    if near(block * layer.scaling["default"], truth):
        raise NotYet("The block is right but for its size: alpha comes in somewhere.")
    if near(block, block_detail(model, "layer", n, m).block):
        raise NotYet("That is a block, but not this one: the output block comes first.")
    a, b = (getattr(layer, f"gralora_{side}")["default"].detach() for side in "AB")  # (k, i, r), (k, r, o)
    whole_rank = (a[n] @ b[m]).T.numpy()
    if near(block, whole_rank) or near(block, layer.scaling["default"] * whole_rank):
        raise NotYet("All r columns are in it. A block has r/k of them: which ones belong to this pair m, n?")
    raise NotYet("The shape is right, the numbers are not. Which columns of A[n] and which rows of B[m] make the pair?")


@exercise
def check_repaired_merge(answer: Any) -> str:
    """The weight with both adapters of `baked_in()` as they should have been merged: together, against the original.

    `answer` is an array (128, 64), of numpy or torch.
    """
    given = baked_in()
    weight = matrix(answer, given.weight.shape)
    model = copy.deepcopy(two_adapters())
    model.merge_adapter([FIRST, SECOND])
    truth = found(model).get_base_layer().weight.detach().numpy()
    w0 = found(two_adapters()).get_base_layer().weight.detach().numpy()
    if near(weight, truth):
        return "Undo the second, undo the first, and add both to what is left: W0 + W0⊙(A1 + A2) + B1 + B2."
    if near(weight, given.weight):
        raise NotYet(
            "That is the weight as you found it. In it the second adapter has multiplied the first one's work."
        )
    if near(weight, w0):
        raise NotYet("You have found the original weight; now both adapters belong in it.")
    if near(weight, w0 * (1 + given.A1) + given.B1):
        raise NotYet("The second adapter is out again; the first is still in it.")
    if near(weight, w0 * (1 + given.A1) * (1 + given.A2) + given.B1 + given.B2):
        raise NotYet("Almost: A1 and A2 still multiply each other. Both should see W0 itself.")
    raise NotYet("Not this one. Go backwards: which formula did the second merge use, and on which weight?")


@exercise
def check_lost_bases(answer: Any) -> str:
    """Of A = −0.9, −0.99, −0.995, −0.999, −1: those with which stock PEFT loses a base in bfloat16 to inf or nan.

    `answer` is a list of them.
    """
    values = several(answer, "the values of A")
    chosen = {_offered(value) if isinstance(value, int | float) else None for value in values}
    if None in chosen:
        raise NotYet(f"Please choose from {', '.join(map(str, NEAR_MINUS_ONE))}.")
    truth = {a for a in NEAR_MINUS_ONE if _is_lost(a)}
    if chosen == truth:
        return "bfloat16 keeps 8 bits of a number, so all that is nearer to −1 than to its neighbour above is −1."
    if truth - chosen and not chosen - truth:
        raise NotYet("More are lost. Before it divides, PEFT writes A in bfloat16: what is it then?")
    if chosen - truth and not truth - chosen:
        raise NotYet(
            "At least one of these bases drifts, and stays a number. How many values has bfloat16 between −1 and −0.99?"
        )
    raise NotYet("Some of these survive, and some that are lost are missing. Try `torch.tensor(a).bfloat16()`.")


def _offered(value: float) -> float | None:
    """The value of A that is meant, float32's −0.999 included."""
    return next((a for a in NEAR_MINUS_ONE if abs(a - value) < 1e-6), None) if abs(value) < 2 else None


def _is_lost(a: float) -> bool:
    modes = {"config_A_B": "constant", "config_C": "none", "config_D_E": "none"}
    model = adapted(load_model("digits-vit"), GloraConfig(**modes, target_modules=[LAYER]))  # type: ignore[arg-type]
    find_layer(model, LAYER)[1].glora_A["default"].X.data.fill_(a)  # type: ignore[attr-defined]
    return merge_report(model, cycles=1, dtype="bfloat16").lost_at(STOCK) is not None
