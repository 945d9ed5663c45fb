"""What a method is called in prose, by its configuration."""

from __future__ import annotations

from typing import Any

from .config import LabConfig

STOCK = {"LORA": "LoRA", "GLORA": "stock GLoRA", "GRALORA": "stock GraLoRA"}


def method_name(config: Any) -> str:
    """ "LoRA", "stock GLoRA", …: what readers call the method; PEFT's type where it is none of these."""
    if isinstance(config, LabConfig):
        return config.method
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    return STOCK.get(kind, kind)
