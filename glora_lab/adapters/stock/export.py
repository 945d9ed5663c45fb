"""Adapters for plain PEFT, in a process without this library.

`format="peft"` writes the file that stock GLORA or GRALORA would have written itself, its buffers of zeros for
paths that are off among it, so that it loads there without a warning. `format="lora"` writes a plain LoRA (see
as_lora.py), which everything that reads LoRA reads. Both refuse before they write.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import peft
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, get_peft_model_state_dict
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters.files import PREFIX
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.targets import choose
from glora_lab.adapters.view import adapted_layers
from glora_lab.arguments import A_MODEL, check_choice, check_kind, check_positive_int, check_text, refuse
from glora_lab.folders import folder_named, replacing
from glora_lab.ideas.export.record import ExportReport, LayerExport

from .as_lora import LoraFactors, lora_factors
from .translate import in_stock_words

FORMATS = ("peft", "lora")


def export_peft(
    model: nn.Module,
    path: str | os.PathLike[str],
    adapter_name: str = "default",
    *,
    format: str = "peft",
    r: int | None = None,
) -> ExportReport:
    """Write an adapter of this library as a checkpoint that plain PEFT loads with equal outputs.

    Args:
        model: a model that carries it; merged or not, it is left as it is.
        path: the folder, `~` for your home; made if needed. Its old adapter is replaced when the new one is complete.
        adapter_name: which adapter; the folder does not keep the name.
        format: "peft" for PEFT's own GLORA or GRALORA, "lora" for a plain LoRA.
        r: with "lora", the largest rank; None for the rank that ΔW has, so that nothing is lost.

    Returns:
        What was written of each layer, with the relative error of ΔW; 0 for "peft".

    Raises:
        ValueError: where the model carries no such adapter or `path` can name no folder, or for "peft", with every
            setting that PEFT's own cannot express. Nothing is written then.
        OSError: where the folder cannot be written; it is then as it was.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    check_text("adapter_name", adapter_name)
    check_choice("format", format, FORMATS)
    if r is not None:
        check_positive_int("r", r)
        if format != "lora":
            raise refuse("r", r, 'is the rank of a LoRA, and needs format="lora"')
    folder = folder_named("path", path)
    if os.path.isfile(folder):
        raise refuse("path", str(path), "must be a folder, and is a file")
    config, layers = _carried(model, adapter_name)
    write = _peft if format == "peft" else _lora
    stock, tensors, rows = write(config, layers, adapter_name, r)
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    choose(stock, layers, base, (BaseTunerLayer, AuxiliaryTrainingWrapper))
    _write(folder, stock, {**_beside(model, adapter_name), **tensors}, base)
    return ExportReport(format, folder, rows)


def _carried(model: nn.Module, adapter: str) -> tuple[Any, dict[str, Any]]:
    """The adapter's configuration, and the layers that it changes, by name."""
    configs: Mapping[str, PeftConfig] = getattr(model, "peft_config", {})
    config: Any = configs.get(adapter)
    if not issubclass(type(config), LabConfig):
        ours = [name for name, one in configs.items() if isinstance(one, LabConfig)]
        raise refuse("adapter_name", adapter, f"is no adapter of this library; there are: {', '.join(ours) or 'none'}")
    if config.bias != "none" and not PEFT_ASKS_THE_TUNER:
        raise refuse("bias", config.bias, "is not saved by this PEFT; 0.21 does")
    if config.target_parameters:
        rule = "is what neither PEFT's GLORA and GRALORA nor this export can express"
        raise refuse("target_parameters", sorted(config.target_parameters), rule)
    layers = {
        name: layer
        for name, layer in adapted_layers(model).items()
        if isinstance(layer, LabLayer) and layer.carries(adapter)
    }
    for name, layer in layers.items():
        if layer.factor(adapter) != 1:
            rule = f"in layer {name!r} is not saved with an adapter: bring the configured one back by `unscale_layer()`"
            raise refuse("scale", layer.factor(adapter), rule)
    changed = {name: layer for name, layer in layers.items() if layer.contributes(adapter)}
    # a layer whose paths are all off is left out, unless its bias trains
    return config, changed if changed and config.bias == "none" else layers


Written = tuple[Any, dict[str, Tensor], tuple[LayerExport, ...]]


def _peft(config: Any, layers: dict[str, Any], adapter: str, _: int | None) -> Written:
    stock, reasons = in_stock_words(config, layers, adapter)
    if reasons:
        listed = "".join(f"\n  {reason}" for reason in reasons)
        raise ValueError(
            f"PEFT's own {config.stock_type()} cannot express this adapter, and nothing was written:{listed}\n"
            'format="lora" writes it as a plain LoRA.'
        )
    tensors = {}
    for name, layer in layers.items():
        for tensor, value in layer.stock_tensors(adapter).items():
            tensors[f"{PREFIX}{name}.{tensor}"] = value
    return stock, tensors, tuple(LayerExport(name, None, 0.0) for name in layers)


def _lora(config: Any, layers: dict[str, Any], adapter: str, r: int | None) -> Written:
    made = {name: lora_factors(layer, adapter, r) for name, layer in layers.items()}
    factors = {name: one for name, (one, _) in made.items()}
    biased = any(one.bias is not None for one in factors.values())
    tensors: dict[str, Tensor] = {}
    for name, one in factors.items():
        start = f"{PREFIX}{name}.lora_"
        tensors |= {f"{start}A.weight": one.down, f"{start}B.weight": one.up}
        if biased:
            tensors[f"{start}B.bias"] = one.up.new_zeros(len(one.up)) if one.bias is None else one.bias
    stock = _lora_config(config, layers, factors, biased)
    return stock, tensors, tuple(LayerExport(name, one.rank, error) for name, (one, error) in made.items())


def _lora_config(config: Any, layers: dict[str, Any], factors: dict[str, LoraFactors], biased: bool) -> peft.LoraConfig:
    (rank, alpha), _ = Counter((one.rank, one.alpha) for one in factors.values()).most_common(1)[0]
    names = {name: f"^{name.replace('.', chr(92) + '.')}" for name in factors}  # PEFT reads them as patterns
    return peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        rank_pattern={names[name]: one.rank for name, one in factors.items() if one.rank != rank},
        alpha_pattern={names[name]: one.alpha for name, one in factors.items() if one.alpha != alpha},
        lora_dropout=config.dropout,
        lora_bias=biased,
        bias="lora_only" if config.bias.endswith("_only") else config.bias,
        fan_in_fan_out=all(isinstance(layer.innermost, Conv1D) for layer in layers.values()),
        **{name: getattr(config, name) for name in ("target_modules", "modules_to_save", "exclude_modules")},
        **{name: getattr(config, name) for name in ("layers_to_transform", "layers_pattern", "task_type", "revision")},
        base_model_name_or_path=config.base_model_name_or_path,
    )


def _beside(model: nn.Module, adapter: str) -> dict[str, Tensor]:
    """What is saved with the adapter and is none of its paths: whole modules, biases, resized embeddings."""
    every = get_peft_model_state_dict(model, adapter_name=adapter)
    named = {name if name.startswith(PREFIX) else PREFIX + name: tensor for name, tensor in every.items()}
    own = tuple(
        f"{PREFIX}{name}.{container}."
        for name, layer in adapted_layers(model).items()
        if isinstance(layer, LabLayer)
        for container in layer.adapter_layer_names
    )
    return {name: tensor for name, tensor in named.items() if not f"{name}.".startswith(own)}


def _write(path: str, config: PeftConfig, tensors: dict[str, Tensor], base: nn.Module) -> None:
    config.inference_mode = True
    config.base_model_name_or_path = config.base_model_name_or_path or base.__dict__.get("name_or_path") or None
    found = {"base_model_class": type(base).__name__, "parent_library": type(base).__module__}
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}  # nothing shared
    with replacing(path, CONFIG_NAME) as folder:
        save_file(plain, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
        config.save_pretrained(str(folder), auto_mapping_dict=None if config.task_type else found)
