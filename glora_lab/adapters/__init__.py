"""GLoRA and GraLoRA as PEFT tuners. Importing this enters our types into PEFT's tables."""

from glora_lab.adapters.checkpoints.load import load_adapter
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.glora.layer import GloraLayer, GloraLinear
from glora_lab.adapters.glora.model import GloraModel
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.adapters.gralora.layer import GraloraLayer, GraloraLinear
from glora_lab.adapters.gralora.model import GraloraModel
from glora_lab.adapters.own.config import DeltaConfig
from glora_lab.adapters.own.layer import DeltaLayer, DeltaLinear
from glora_lab.adapters.own.method import DeltaMethod
from glora_lab.adapters.own.model import DeltaModel
from glora_lab.adapters.stock.export import export_peft
from glora_lab.adapters.stock.use_in_peft import use_in_peft
from glora_lab.adapters.tuner.config import LabConfig

from . import optimizers as optimizers  # PEFT's optimizers for LoRA meet our adapters there
from .checkpoints import hotswap as hotswap  # PEFT swaps our adapters through it
from .checkpoints import peft_hooks as peft_hooks  # PEFT saves and loads our adapters through it

__all__ = [
    "DeltaConfig",
    "DeltaLayer",
    "DeltaLinear",
    "DeltaMethod",
    "DeltaModel",
    "GloraConfig",
    "GloraLayer",
    "GloraLinear",
    "GloraModel",
    "GraloraConfig",
    "GraloraLayer",
    "GraloraLinear",
    "GraloraModel",
    "LabConfig",
    "export_peft",
    "load_adapter",
    "use_in_peft",
]
