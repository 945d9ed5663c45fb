"""An adapter seen through: how much it adds to each layer, in how many directions, and by which path or block."""

from __future__ import annotations

from os import PathLike, fspath

import torch
from torch import nn

from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.view import adapted_layers, carried
from glora_lab.anatomy.anatomy import NAN, Anatomy, Source, dissect
from glora_lab.anatomy.live_source import live_source
from glora_lab.arguments import A_MODEL, check_is

from .measure_checkpoint import Checkpoint
from .measure_spectrum import spectrum_of
from .record import XrayLayer, XrayReport


def xray(
    path_or_model: str | PathLike[str] | nn.Module,
    base_model: nn.Module | None = None,
    *,
    adapter_name: str | None = None,
) -> XrayReport:
    """Every layer of a LoRA, GLoRA or GraLoRA adapter, ours or stock PEFT's, from disk or from a model.

    Args:
        path_or_model: a folder that `save_pretrained` wrote (an adapter_config.json and safetensors, of which nothing
            is executed), or a model that carries the adapter.
        base_model: the plain model beneath an adapter from disk. GLoRA's A, C and D multiply W0 and b0: without it
            they are `unknown` and left out of `norm` and `spectrum`, unless they are zero.
        adapter_name: which adapter of a model; None for the first active one.

    Returns:
        One row per layer, in float64, with norms in the weight's own unit, the spectrum as in `delta_spectrum` (None
        for a GLoRA or DoRA layer with both sides above 1,024), and the norms per path or block.

    Raises:
        ValueError: where the folder holds no such adapter, is damaged, or fits neither its configuration nor
            `base_model`; for a pickle; for a model without adapter, or with layers whose ΔW is no matrix.
    """
    check_is("base_model", base_model, nn.Module, A_MODEL)
    with torch.no_grad():
        if isinstance(path_or_model, nn.Module):
            if base_model is not None:
                raise ValueError("`base_model` must be left out for a model, which has its base in it")
            return _of_model(path_or_model, adapter_name)
        if not isinstance(path_or_model, str | PathLike) or not fspath(path_or_model):
            raise ValueError(f"`path_or_model` (={path_or_model!r}) must be an adapter's folder or a model")
        if adapter_name is not None:
            raise ValueError(
                f"`adapter_name` (={adapter_name!r}) must be left out for a folder, which holds one adapter"
            )
        return _of_folder(path_or_model, base_model)


def _of_folder(path: str | PathLike[str], base_model: nn.Module | None) -> XrayReport:
    checkpoint = Checkpoint(path, base_model)
    return XrayReport(
        rows=tuple(_row(source, dissect(source)) for source in checkpoint.sources()),
        method=checkpoint.method,
        source=str(path),
        base_name=str(checkpoint.config.get("base_model_name_or_path") or ""),
        others=tuple(checkpoint.others),
        notes=tuple(checkpoint.notes),
    )


def _of_model(model: nn.Module, adapter_name: str | None) -> XrayReport:
    layers = adapted_layers(model, parameters=True)
    if not layers:
        raise ValueError(f"`path_or_model` (a {type(model).__name__}) must be a model that carries an adapter")
    adapter = next(iter(layers.values())).active_adapters[0] if adapter_name is None else adapter_name
    names = sorted({name for layer in layers.values() for name in carried(layer)})
    if adapter not in names:
        raise ValueError(f"`adapter_name` (={adapter!r}) is not on this model; there are: {', '.join(names)}")
    rows, methods, varied = [], [], 0
    for name, layer in layers.items():
        if adapter in carried(layer):
            with live_source(name, layer, adapter) as source:
                anatomy = dissect(source)
                rows.append(_row(source, anatomy))
                methods.append(source.method)
                varied += not anatomy.factored and not isinstance(layer, LabLayer) and source.method == "LoRA"
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return XrayReport(
        rows=tuple(rows),
        method=" and ".join(dict.fromkeys(methods)),
        source=f"adapter {adapter!r} in memory",
        base_name=getattr(getattr(model, "config", None), "name_or_path", "") or type(base).__name__,
        others=tuple(name for name, _ in model.named_parameters() if f".modules_to_save.{adapter}." in name),
        notes=(f"In {varied} layers LoRA is DoRA, and ΔW is that of the whole weight.",) if varied else (),
    )


def _row(source: Source, anatomy: Anatomy) -> XrayLayer:
    out, into = source.shape
    nothing_known = bool(set("AB") & set(anatomy.unknown)) and not anatomy.core.any()
    return XrayLayer(
        layer=source.layer,
        shape=(out or 0, into or 0),
        r=source.r,
        params=source.params,
        norm=NAN if nothing_known else anatomy.core.norm().item(),
        spectrum=None if nothing_known else spectrum_of(anatomy),
        parts=anatomy.parts,
        block_norms=anatomy.core.norm(dim=(2, 3)).cpu().numpy() if len(anatomy.core) > 1 else None,
        unknown=anatomy.unknown,
    )
