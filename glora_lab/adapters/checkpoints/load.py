"""Adapters from disk: ours and stock PEFT's, read into this library's classes."""

from __future__ import annotations

import os
from os import PathLike

from peft import PeftConfig, PeftModel, mapping
from torch import nn

from glora_lab.adapters.files import read_type
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.adapters.own.config import DeltaConfig
from glora_lab.adapters.registry import LabPeftType
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.arguments import A_MODEL, check_kind, check_text, refuse
from glora_lab.folders import folder_named

OURS: dict[str, type[LabConfig]] = {
    "GLORA": GloraConfig,
    LabPeftType.GLORA_LAB: GloraConfig,
    "GRALORA": GraloraConfig,
    LabPeftType.GRALORA_LAB: GraloraConfig,
    LabPeftType.DELTA_LAB: DeltaConfig,
}


def load_adapter(model: nn.Module, path: str | PathLike[str], adapter_name: str = "default") -> PeftModel:
    """Put a saved adapter on `model`, ready for inference.

    Args:
        model: the base model, as it was when the adapter was trained. It is changed in place, as PEFT does.
        path: a folder that `save_pretrained` wrote, by this library or by stock PEFT; `~` for your home. A stock
            GLORA or GRALORA checkpoint becomes ours; any other type is loaded as PEFT loads it.
        adapter_name: the name the adapter gets.

    Returns:
        PEFT's model around `model`, in evaluation mode, with that adapter active and frozen.

    Raises:
        ValueError: where `path` holds no adapter, or for one of ours or of stock GLORA and GRALORA, a file that is
            damaged, is of a newer version or does not fit; the model is then as it was.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    check_text("adapter_name", adapter_name)
    folder = folder_named("path", path)
    peft_type = read_type(folder) if os.path.isdir(folder) else _type_on_the_hub(folder)
    config_class: type[PeftConfig] = OURS.get(peft_type) or mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]  # type: ignore[index]
    return PeftModel.from_pretrained(
        model, folder, adapter_name=adapter_name, config=config_class.from_pretrained(folder)
    )


def _type_on_the_hub(name: str) -> str:
    """What is no folder here may be a name on the hub, of which PEFT knows."""
    try:
        return str(PeftConfig._get_peft_type(name))
    except (ValueError, OSError) as error:
        raise refuse("path", name, "must be a folder that `save_pretrained` wrote, and is none here") from error
