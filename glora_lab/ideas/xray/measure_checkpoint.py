"""An adapter's folder, read without a model and without running anything that is in it.

A checkpoint from elsewhere is a stranger's file. Only safetensors are opened (a pickle is a program), the
configuration is JSON, and everything is compared before a number is read: names, shapes and what the configuration
says. Tensors are then read one layer at a time, so that an adapter of a large model takes no more memory than one
layer of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft.utils import CONFIG_NAME as CONFIG
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS
from torch import nn

from glora_lab import arguments
from glora_lab.adapters.base.frozen import SUPPORTED, FrozenBase, features, frozen_base
from glora_lab.adapters.files import FLOATS, Unreadable, opened, read_config, read_head
from glora_lab.adapters.tuner.targets import PATTERNS, check_matching
from glora_lab.anatomy.anatomy import Source
from glora_lab.folders import folder_named, unfinished
from glora_lab.wording import few, shown

from .measure_checkpoint_layout import IN, OUT, Fit, Layout, layout_of

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PICKLE = (
    "is a pickle, and reading one runs whatever code it holds; where you trust it, load it with PEFT and save it "
    "again: `save_pretrained` writes safetensors"
)
TENSOR = re.compile(
    r"(?:base_model\.model\.)?(?P<layer>.+?)\.(?P<tensor>(?:"
    r"lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|glora_[A-E]|gralora_[AB]|gralora_[AB]_general)"
    r"(?:\.[A-Za-z]+)?)"
)

Shape = tuple[int, ...]


class Checkpoint:
    """An adapter on disk whose names, shapes and configuration have been found to fit each other.

    `others` names what belongs to no ΔW (a head that was trained whole, biases), `notes` say what a reader has to know.
    """

    def __init__(self, path: str | PathLike[str], base_model: nn.Module | None = None) -> None:
        """Open and check.

        Raises:
            ValueError: where this is no adapter that can be read, or none that fits `base_model`.
        """
        self.folder, self._base_model = _folder(Path(folder_named("path", path))), base_model
        with _asked(self.folder):
            self.config = read_config(self.folder / CONFIG)
        try:
            self._layout: Layout = layout_of(self.config)
        except (ValueError, TypeError, OverflowError) as error:  # an integer may be too large for a float
            raise refused(self.folder, f"must have a configuration that fits: {error}") from error
        self.others: list[str] = []
        self.notes = self._layout.notes
        self._layers = self._read_header()
        self._check_patterns()
        if not self._layers:
            raise refused(self.folder, f"must hold the {self.method} that its configuration names, and holds none")
        self._fits = {layer: self._fit(layer, shapes) for layer, shapes in self._layers.items()}

    @property
    def method(self) -> str:
        return self._layout.method

    def sources(self) -> Iterator[Source]:
        """Each layer in turn, read as it is asked for."""
        with _asked(self.folder), opened(self.folder) as file:
            for layer, tensors in self._layers.items():
                fit = self._fits[layer]
                yield Source(
                    layer,
                    self.method,
                    {name: file.get_tensor(key) for name, (key, _) in tensors.items() if not name.endswith(".zeros")},
                    r=fit.r,
                    shape=fit.shape,
                    scaling=fit.scaling,
                    form=fit.form,
                    base=self._base(layer),
                )

    def _read_header(self) -> dict[str, dict[str, tuple[str, Shape]]]:
        """Layer → tensor → its key in the file and its shape, in the order of the layers' names."""
        layers: dict[str, dict[str, tuple[str, Shape]]] = {}
        with _asked(self.folder):
            head = read_head(self.folder)
        for key, (shape, dtype) in head.items():
            match = TENSOR.fullmatch(key)
            if match is None or not match["tensor"].startswith(self._layout.prefix):
                if re.search(r"\.(lora|glora|gralora)_", key):
                    raise refused(self.folder, f"has a tensor {shown(key)}, and a {self.method} has none of that name")
                self.others.append(key)
                continue
            if dtype not in FLOATS:
                raise refused(self.folder, f"has {shown(key)} in {dtype}, and weights are real numbers")
            found = layers.setdefault(match["layer"], {})
            if match["tensor"] in found:
                layer = shown(match["layer"])
                raise refused(self.folder, f"has two tensors for {match['tensor']} of layer {layer}")
            found[match["tensor"]] = key, shape
        return {layer: layers[layer] for layer in sorted(layers, key=_in_order)}

    def _check_patterns(self) -> None:
        """The names are the file's own as well: however long, and however many."""
        patterns = SimpleNamespace(**{name: self.config.get(name) for name in PATTERNS})
        try:
            check_matching(patterns, self._layers)
        except ValueError as error:
            raise refused(self.folder, f"must have a configuration that fits: {error}") from error

    def _fit(self, layer: str, tensors: Mapping[str, tuple[str, Shape]]) -> Fit:
        innermost = self._innermost(layer)
        into, out = (None, None) if innermost is None else features(innermost)
        known = {side: size for side, size in ((OUT, out), (IN, into)) if size is not None}
        has_bias = None if innermost is None else innermost.bias is not None
        try:
            return self._layout.fit(layer, {name: shape for name, (_, shape) in tensors.items()}, known, has_bias)
        except (ValueError, OverflowError, re.error) as error:  # PEFT puts a pattern into a larger one
            raise refused(self.folder, f"must fit its configuration: layer {shown(layer)} {error}") from error

    def _innermost(self, layer: str) -> Any:
        """The layer in the base model, None without one."""
        if self._base_model is None:
            return None
        try:
            innermost = self._base_model.get_submodule(layer)
        except AttributeError:
            raise refused(self.folder, f"must fit `base_model`, which has no layer {shown(layer)}") from None
        if isinstance(innermost, SUPPORTED):
            return innermost
        if self.method == "LoRA":
            return None  # needs nothing of it
        raise refused(self.folder, f"must fit `base_model`, where layer {shown(layer)} is a {type(innermost).__name__}")

    def _base(self, layer: str) -> FrozenBase | None:
        innermost = self._innermost(layer) if self.method == "GLoRA" else None
        return None if innermost is None else frozen_base(innermost, innermost, torch.float64)


def refused(path: Path, rule: str) -> ValueError:
    return arguments.refuse("path", str(path), rule)


def _folder(path: Path) -> Path:
    if path.suffix in PICKLES:
        raise refused(path, PICKLE)
    folder = path.parent if path.name == WEIGHTS else path
    if not folder.is_dir():
        raise refused(path, "must be a folder on this machine that `save_pretrained` wrote")
    if not (folder / CONFIG).is_file():
        inside = sorted(found.parent.name for found in folder.glob(f"*/{CONFIG}"))
        hint = f"; there is one in {few(inside)}" if inside else ""
        raise refused(path, f"must hold an {CONFIG}{hint}{unfinished(folder)}")
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        raise refused(path, f"must hold {WEIGHTS}; {pickles[0]} {PICKLE}" if pickles else f"must hold {WEIGHTS}")
    return folder


@contextmanager
def _asked(folder: Path) -> Iterator[None]:
    """What is wrong with the files, said of the folder that was asked for."""
    try:
        yield
    except Unreadable as error:
        raise refused(folder, error.rule) from error


def _in_order(layer: str) -> list[tuple[int, int | str]]:
    """So that layer 2 comes before layer 10."""
    return [(0, int(word)) if word.isdecimal() and len(word) < 10 else (1, word) for word in layer.split(".")]
