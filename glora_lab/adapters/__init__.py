"""GLoRA and GraLoRA as PEFT tuners. Importing this enters our types into PEFT's tables."""

from . import hotswap as hotswap  # PEFT swaps our adapters through it
from . import optimizers as optimizers  # PEFT's optimizers for LoRA meet our adapters there
from . import peft_model as peft_model  # PEFT saves and loads our adapters through it
from .export import export_peft
from .glora import GloraLayer, GloraLinear
from .glora_config import GloraConfig
from .glora_model import GloraModel
from .gralora import GraloraLayer, GraloraLinear
from .gralora_config import GraloraConfig
from .gralora_model import GraloraModel
from .interop import load_adapter
from .stock_entries import use_in_peft

__all__ = [
    "GloraConfig",
    "GloraLayer",
    "GloraLinear",
    "GloraModel",
    "GraloraConfig",
    "GraloraLayer",
    "GraloraLinear",
    "GraloraModel",
    "export_peft",
    "load_adapter",
    "use_in_peft",
]
