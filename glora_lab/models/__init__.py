"""Pretrained models: the one that ships here, any other of transformers, and bare architectures."""

from glora_lab.models.architectures import ARCHITECTURES, architecture, meta_model
from glora_lab.models.load import SHIPPED, load_model

# The share of upright digits it never saw (load_task("digits").test) that digits-vit reads right.
DIGITS_VIT_ACCURACY = 0.993

__all__ = ["ARCHITECTURES", "DIGITS_VIT_ACCURACY", "SHIPPED", "architecture", "load_model", "meta_model"]
