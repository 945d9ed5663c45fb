"""Pretrained models: those that ship here and any other of transformers; bare architectures; a synthetic layer."""

from .architectures import ARCHITECTURES, architecture, meta_model
from .load import SHIPPED, load_model
from .outlier_layer import OUTLIER_LAYER, amplified, outlier_layer

#: The share of upright digits it never saw (`load_task("digits").test`) that digits-vit reads right.
DIGITS_VIT_ACCURACY = 0.993
#: The share of bytes of notes it never read (`load_task("text").test`) that bytes-llama finds the most likely.
BYTES_LLAMA_ACCURACY = 0.529

__all__ = [
    "ARCHITECTURES",
    "BYTES_LLAMA_ACCURACY",
    "DIGITS_VIT_ACCURACY",
    "OUTLIER_LAYER",
    "SHIPPED",
    "amplified",
    "architecture",
    "load_model",
    "meta_model",
    "outlier_layer",
]
