"""What a run was made on: versions and hardware, as they stand in the record."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy
import peft
import torch
import transformers

import glora_lab


def machine() -> dict[str, str]:
    """The GPU where there is one, else the processor, and what is installed."""
    versions = {module.__name__: str(module.__version__) for module in (glora_lab, torch, transformers, peft, numpy)}
    where = f"GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else processor()
    return {"device": where, "python": platform.python_version(), **versions}


def processor() -> str:
    """Its name where the system tells, else its kind."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
