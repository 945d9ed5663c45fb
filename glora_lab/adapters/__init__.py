"""GLoRA and GraLoRA as PEFT tuners. Importing this enters our types into PEFT's tables."""

from .glora import GloraLayer, GloraLinear
from .glora_config import GloraConfig
from .glora_model import GloraModel
from .interop import load_adapter

__all__ = ["GloraConfig", "GloraLayer", "GloraLinear", "GloraModel", "load_adapter"]
