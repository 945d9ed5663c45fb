"""The singular values of ΔW, in float64 and without ΔW where it is a product of factors, and how many of them count."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from glora_lab.adapters.view import chosen_adapter, find_layer
from glora_lab.anatomy.anatomy import Anatomy, dissect
from glora_lab.anatomy.core import as_matrix
from glora_lab.anatomy.live_source import live_source
from glora_lab.anatomy.size import LARGEST_RANK_ASKED

from .record_spectrum import Spectrum


def delta_spectrum(model: nn.Module, layer: str, adapter_name: str | None = None) -> Spectrum:
    """The singular values of what one adapter adds to one layer's weight.

    Args:
        model: a model that carries LoRA, GLoRA or GraLoRA, ours or stock PEFT's, trained or fresh.
        layer: the name of an adapted layer, or an unambiguous end of one.
        adapter_name: None for the first active adapter.

    Returns:
        Singular values in float64, in the weight's own unit, and their effective rank (see `Spectrum`). A ΔW that
        is a product of factors has as many as these leave room for: r, GraLoRA k·r, with a hybrid k·(r + hybrid_r).

    Raises:
        ValueError: where the layer or the adapter is not there, ΔW is no matrix that `delta_matrix` knows, or it is
            neither a product of factors nor small enough: GLoRA's W0⊙A or DoRA, both sides above 1,024.
    """
    name, found = find_layer(model, layer)
    adapter = chosen_adapter(found, adapter_name)
    with torch.no_grad(), live_source(name, found, adapter) as source:
        spectrum = spectrum_of(dissect(source))
    if spectrum is None:
        raise ValueError(
            f"`layer` (={name!r}) must be smaller for its spectrum: ΔW is {source.shape[0]} × {source.shape[1]} and no "
            f"product of small factors, and singular values are asked up to {LARGEST_RANK_ASKED:,} on the smaller side"
        )
    return spectrum


def spectrum_of(anatomy: Anatomy) -> Spectrum | None:
    """The spectrum of the terms that are known, None where even the core is larger than what is asked."""
    matrix = as_matrix(anatomy.core)
    if min(matrix.shape) > LARGEST_RANK_ASKED:
        return None
    values = torch.linalg.svdvals(matrix).cpu().numpy()
    return Spectrum(anatomy.layer, values, effective_rank(values))


def effective_rank(singular_values: np.ndarray) -> float:
    """exp of the entropy of σ/Σσ: r for r equal singular values, near 1 where one outweighs all; 0 where all are zero.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, definition 1. It counts directions by their size,
    where the rank counts all that are not zero.
    """
    total = singular_values.sum()
    if not total:
        return 0.0
    shares = singular_values[singular_values > 0] / total
    shares = shares[shares > 0]  # a division may underflow
    return float(np.exp(-(shares * np.log(shares)).sum()))
