"""An adapter's two files, opened: the one reader behind loading, swapping and X-ray.

A checkpoint from elsewhere is a stranger's file. Only safetensors are opened (a pickle is a program), the
configuration is JSON, and whatever is wrong with either is one ValueError, whose words do not grow with the file.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator
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

from .stamp import APART, apart

PREFIX = "base_model.model."  # of every tensor's name
LARGEST = 32 << 20  # bytes of a configuration
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
NO_SETTINGS = ("cls", "self")  # PEFT hands settings on by name, and cannot these


class Stored(NamedTuple):
    """A tensor as the head of a file describes it: its type as safetensors names it."""

    shape: tuple[int, ...]
    dtype: str


class Unreadable(ValueError):
    """Files that are no adapter. `rule` says of the folder what it must hold."""

    def __init__(self, said: str, rule: str) -> None:
        super().__init__(within(said))
        self.rule = rule


def read_config(path: Path) -> dict[str, Any]:
    """The settings in an adapter_config.json.

    Raises:
        ValueError: where the file is missing, or holds no settings by name.
    """
    try:
        if path.stat().st_size > LARGEST:
            rule = f"must hold an {CONFIG_NAME} of at most {LARGEST >> 20} MiB"
            raise Unreadable(f"{path} is damaged: it has {path.stat().st_size:,} bytes", rule)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        said = f"Can't find '{CONFIG_NAME}' at '{path.parent}'{unfinished(path.parent)}"
        raise Unreadable(said, f"must hold an {CONFIG_NAME}") from error
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else within(str(error), 200)
        rule = f"must hold an {CONFIG_NAME} in JSON, but {why}"
        raise Unreadable(f"{path} is damaged: it is no JSON ({why}). Save the adapter again", rule) from error
    kind = type(content).__name__
    if not isinstance(content, dict):
        rule = f"must hold an {CONFIG_NAME} with settings by name, not a {kind}"
        raise Unreadable(f"{path} is damaged: its settings have no names, it is a {kind}. Save the adapter again", rule)
    for name in NO_SETTINGS:
        if name in content:
            rule = f"must hold an {CONFIG_NAME} of an adapter, and none has a setting {name!r}"
            raise Unreadable(f"{path} is damaged: no adapter has a setting {name!r}", rule)
    return content


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
        pickled = (Path(folder) / WEIGHTS_NAME).is_file()
        other = f". {WEIGHTS_NAME} is a pickle, which is not read: save it again from PEFT" if pickled else ""
        said = f"{folder} holds no {SAFETENSORS_WEIGHTS_NAME}{other}"
        raise Unreadable(said, f"must hold {SAFETENSORS_WEIGHTS_NAME}{other}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        why = within(str(error), 300)
        rule = f"must hold whole safetensors: {SAFETENSORS_WEIGHTS_NAME} is cut off, damaged or foreign ({why})"
        said = f"{path} is truncated or damaged ({why}). Save the adapter again, or copy it anew"
        raise Unreadable(said, rule) from error


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
    if apart(read_config(Path(folder) / CONFIG_NAME), metadata):
        raise Unreadable(f"{folder}: {APART}", f"must hold files that belong together: {APART}")
    return head


def no_reals(head: dict[str, Stored], names: Iterable[str]) -> list[str]:
    """Those of these tensors whose numbers are not real: copied into weights, they would be cut down."""
    return [f"{name} is in {head[name].dtype}" for name in names if head[name].dtype not in FLOATS]


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
