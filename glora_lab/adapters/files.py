"""An adapter's two files, opened: the one reader behind loading, swapping and X-ray, and the stamp that both bear.

A checkpoint from elsewhere is a stranger's file. Only safetensors are opened (a pickle is a program), the
configuration is JSON, and whatever is wrong with either is one ValueError, whose words do not grow with the file.

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
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import mapping
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glora_lab.folders import unfinished
from glora_lab.wording import few, shown, within

from .registry import LabPeftType

PREFIX = "base_model.model."  # of every tensor's name
LARGEST = 32 << 20  # bytes of a configuration
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
NO_SETTINGS = ("cls", "self")  # PEFT hands settings on by name, and cannot these
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PICKLE = (
    "is a pickle, and reading one runs whatever code it holds; where you trust it, load it with PEFT and save it "
    "again: `save_pretrained` writes safetensors"
)
STAMP = "glora_lab_stamp"
APART = (
    f"{CONFIG_NAME} and {SAFETENSORS_WEIGHTS_NAME} are of two adapters, or of two moments of one: saving was "
    "interrupted, or one file copied without the other. Save the adapter again, or copy both"
)


class Stored(NamedTuple):
    """A tensor as the head of a file describes it: its type as safetensors names it."""

    shape: tuple[int, ...]
    dtype: str


def read_config(path: Path) -> dict[str, Any]:
    """The settings in an adapter_config.json.

    Raises:
        ValueError: where the file is missing, or holds no settings by name.
    """
    try:
        size = path.stat().st_size
        content = json.loads(path.read_text(encoding="utf-8")) if size <= LARGEST else None
    except OSError as error:
        inside = sorted(found.parent.name for found in path.parent.glob(f"*/{CONFIG_NAME}"))
        hint = f"; there is one in {few(inside)}" if inside else ""
        said = f"Can't find '{CONFIG_NAME}' at '{path.parent}'{hint}{unfinished(path.parent)}"
        raise ValueError(within(said)) from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else within(str(error), 200)
        raise ValueError(within(f"{path} is damaged: it is no JSON ({why}). Save the adapter again")) from error
    if size > LARGEST:
        why = f"it has {size:,} bytes, and may have {LARGEST >> 20} MiB"
    elif not isinstance(content, dict):
        why = f"its settings have no names, it is a {type(content).__name__}"
    elif odd := [name for name in NO_SETTINGS if name in content]:
        why = f"no adapter has a setting {odd[0]!r}"
    else:
        return content
    raise ValueError(within(f"{path} is damaged: {why}. Save the adapter again"))


def read_type(folder: str | os.PathLike[str]) -> str:
    """The `peft_type` that the adapter in `folder` was saved as.

    Raises:
        ValueError: where there is no configuration that PEFT or this library could read.
    """
    path = Path(folder) / CONFIG_NAME
    kind = read_config(path).get("peft_type")
    if not isinstance(kind, str) or kind not in mapping.PEFT_TYPE_TO_CONFIG_MAPPING:
        said = f"{path} is no adapter that PEFT or glora_lab knows: its peft_type is {shown(kind)}"
        raise ValueError(within(said))
    return kind


@contextmanager
def opened(folder: str | os.PathLike[str]) -> Iterator[Any]:
    """The safetensors in an adapter's folder."""
    path = Path(folder) / SAFETENSORS_WEIGHTS_NAME
    if not path.is_file():
        pickled = f"; {WEIGHTS_NAME} {PICKLE}" if path.with_name(WEIGHTS_NAME).is_file() else ""
        raise ValueError(within(f"{folder} holds no {SAFETENSORS_WEIGHTS_NAME}{pickled}"))
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        why = within(str(error), 300)
        said = f"{path} is truncated or damaged ({why}). Save the adapter again, or copy it anew"
        raise ValueError(within(said)) from error


def read_head(folder: str | os.PathLike[str]) -> dict[str, Stored]:
    """Name → shape and type of every tensor in an adapter's file, of which a few kilobytes are read.

    Raises:
        ValueError: where the file is missing, truncated or no safetensors file, or belongs to another configuration.
    """
    with opened(folder) as file:
        metadata, head = file.metadata(), {}
        for name in file.keys():  # noqa: SIM118  no mapping
            piece = file.get_slice(name)
            head[name] = Stored(tuple(piece.get_shape()), str(piece.get_dtype()))
    in_config, in_weights = read_config(Path(folder) / CONFIG_NAME).get(STAMP), (metadata or {}).get(STAMP)
    if in_config and in_weights and in_config != in_weights:
        raise ValueError(within(f"{folder}: {APART}"))
    return head


def not_finite(tensors: dict[str, Tensor]) -> list[str]:
    """The names of those that hold NaN or infinity."""
    named = [
        (name, t) for name, t in tensors.items() if t.is_floating_point() and t.device.type != "meta" and t.numel()
    ]
    # one look at all of them: a sum is finite where its parts are, unless it is too large for a number itself
    sums = [tensor.detach().sum(dtype=torch.float32).cpu() for _, tensor in named]
    if not sums or torch.stack(sums).isfinite().all():
        return []
    odd = torch.stack(sums).isfinite().logical_not().nonzero().flatten().tolist()
    return [named[n][0] for n in odd if not named[n][1].isfinite().all()]


def warn_not_finite(names: Collection[str], source: str) -> None:
    if names:
        said = f"{source} has NaN or infinity in {few(names)}: what an adapted layer makes of it is no number"
        warnings.warn(within(said), stacklevel=3)


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
