"""One stamp on an adapter's two files, so that a configuration is not read beside another adapter's weights.

Files that are saved together take their places together (glora_lab/folders.py), and may still be copied one
without the other: a configuration beside other weights, whose names and shapes may well fit. The stamp is in the
configuration and in the weights' metadata, follows from the content of both, and is missed by nobody: a file that
another program has written anew, without it, is taken as it is. PEFT's own configurations get none, for PEFT warns
of a setting that it does not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

from .registry import LabPeftType

STAMP = "glora_lab_stamp"
APART = (
    f"{CONFIG_NAME} and {SAFETENSORS_WEIGHTS_NAME} are of two adapters, or of two moments of one: saving was "
    "interrupted, or one file copied without the other. Save the adapter again, or copy both"
)


def stamp_pairs(folder: Path) -> None:
    """Write a stamp into every pair of files of this library in `folder` and below."""
    for weights in folder.rglob(SAFETENSORS_WEIGHTS_NAME):
        config = weights.with_name(CONFIG_NAME)
        content = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        if content.get("peft_type") in {*LabPeftType}:
            stamp = hashlib.sha256(weights.read_bytes() + config.read_bytes()).hexdigest()[:16]
            _put_into_weights(weights, stamp)
            text = json.dumps({**content, STAMP: stamp}, indent=2)  # not sorted: of patterns, the first that matches
            config.write_text(text, encoding="utf-8")


def apart(config: Mapping[str, Any], metadata: Mapping[str, str] | None) -> bool:
    """Whether a configuration and the weights with this metadata were not saved together: their stamps differ."""
    in_config, in_weights = config.get(STAMP), (metadata or {}).get(STAMP)
    return bool(in_config and in_weights) and in_config != in_weights


def _put_into_weights(path: Path, stamp: str) -> None:
    """Into the metadata of a safetensors file: eight bytes of length, a head in JSON, and the tensors, which stay."""
    stamped = path.with_suffix(".stamped")
    with path.open("rb") as old, stamped.open("wb") as new:
        head = json.loads(old.read(int.from_bytes(old.read(8), "little")))
        head["__metadata__"] = {**head.get("__metadata__", {}), STAMP: stamp}
        text = json.dumps(head, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new)
    os.replace(stamped, path)
