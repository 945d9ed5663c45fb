"""What a method is called in prose, by the type that PEFT keeps of it."""

from __future__ import annotations

from typing import Any

METHODS = {
    "LORA": "LoRA",
    "GLORA": "stock GLoRA",
    "GLORA_LAB": "GLoRA",
    "GRALORA": "stock GraLoRA",
    "GRALORA_LAB": "GraLoRA",
}


def method_name(peft_type: Any) -> str:
    """ "LoRA", "stock GLoRA", …: what readers call an adapter type; its own name where it is none of ours or PEFT's."""
    kind = str(getattr(peft_type, "value", peft_type))
    return METHODS.get(kind, kind)
