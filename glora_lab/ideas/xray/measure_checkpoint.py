"""An adapter's folder, read without a model and without running anything that is in it.

Everything is compared before a number is read, by the rules by which an adapter is loaded: names, shapes and what the
configuration says (adapters/checkpoints/expected.py). Tensors are then read one layer at a time, so that an adapter of
a large model takes no more memory than one layer of it.
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

from glora_lab.adapters.base.frozen import SUPPORTED, FrozenBase, features, frozen_base
from glora_lab.adapters.checkpoints.expected import Unknown, keys_by_name, misfits, told
from glora_lab.adapters.files import PICKLE, PICKLES, Stored, opened, read_config, read_head
from glora_lab.adapters.tuner.targets import PATTERNS, check_matching
from glora_lab.anatomy.anatomy import Source
from glora_lab.arguments import refuse
from glora_lab.folders import folder_named
from glora_lab.wording import shown

from .measure_checkpoint_layout import layout_of

ADAPTERS = re.compile(r"\.(lora|glora|gralora)_|\.delta_tensors\.")


class Checkpoint:
    """An adapter on disk whose names, shapes and configuration have been found to fit each other.

    `others` names what belongs to no ΔW (a head that was trained whole, biases), `notes` say what a reader has to know.
    """

    def __init__(self, path: str | PathLike[str], base_model: nn.Module | None = None) -> None:
        """Open and check.

        Raises:
            ValueError: where this is no adapter that can be read, or none that fits `base_model`.
        """
        self.folder, self._base_model = _folder(Path(folder_named("path_or_model", path))), base_model
        with self._asked():
            self.config = read_config(self.folder / CONFIG)
            self._layout = layout_of(self.config)
            self.method, self.notes = self._layout.method, self._layout.notes
            self.others: list[str] = []
            head = read_head(self.folder)
            self._layers = self._sorted(keys_by_name((key, key) for key in head))  # layer → its tensors → their keys
            # the names are the file's own as well: however long, and however many
            check_matching(SimpleNamespace(**{name: self.config.get(name) for name in PATTERNS}), self._layers)
            self._fits = self._fit(head)

    def sources(self) -> Iterator[Source]:
        """Each layer in turn, read as it is asked for."""
        with self._asked(), opened(self.folder) as file:
            for layer, keys in self._layers.items():
                plan, sizes = self._fits[layer]
                tensors = {name: file.get_tensor(key) for name, key in keys.items() if not name.endswith(".zeros")}
                fixed = getattr(plan, "fixed", ())  # of a method of one's own
                yield Source(
                    layer,
                    self.method,
                    tensors,
                    params=sum(tensor.numel() for name, tensor in tensors.items() if name not in fixed),
                    r=plan.r,
                    shape=(sizes.get("out"), sizes.get("in")),
                    scaling=plan.scaling,
                    form=getattr(plan, "form", "elementwise"),  # GLoRA's
                    base=self._base(layer),
                    config=self._layout.config,
                )

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """What is wrong with the files, said of the folder that was asked for."""
        try:
            yield
        except (ValueError, TypeError, OverflowError, re.error) as error:  # an integer may be too large for a float
            raise refuse(
                "path_or_model", str(self.folder), f"must hold an adapter that fits and can be read: {error}"
            ) from error

    def _sorted(self, keys: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """In the order of the layers' names."""
        layers: dict[str, dict[str, str]] = {}
        for name, key in keys.items():
            layer, found, tensor = name.rpartition(f".{self._layout.prefix}")
            if found and tensor.startswith("magnitude_vector"):
                raise ValueError(f"layer {shown(layer)} has a magnitude, as in DoRA, and its configuration has not")
            if found:
                layers.setdefault(layer, {})[self._layout.prefix + tensor] = key
            elif ADAPTERS.search(name):
                raise ValueError(f"it has a tensor {shown(key)}, and a {self.method} has none of that name")
            else:
                self.others.append(key)
        if not layers:
            raise ValueError(f"it holds no {self.method}, which its configuration names")
        return {layer: layers[layer] for layer in sorted(layers, key=_in_order)}

    def _fit(self, head: Mapping[str, Stored]) -> dict[str, tuple[Any, dict[str, int]]]:
        """Layer → its plan and the sizes that are known of it, where all tensors are as they must be."""
        fits, stored = {}, []
        expected: dict[str, tuple[int, ...]] = {}
        for layer, keys in self._layers.items():
            innermost = self._innermost(layer)
            sizes = {} if innermost is None else dict(zip(("in", "out"), features(innermost), strict=True))
            has_bias = None if innermost is None else innermost.bias is not None
            shapes = {name: head[key].shape for name, key in keys.items()}
            _, unknown = self._asked_of(layer, shapes, sizes, has_bias)
            sizes = told(unknown, shapes) | sizes
            plan, must = self._asked_of(layer, shapes, sizes, has_bias)
            fits[layer] = plan, sizes
            expected |= {f"{layer}.{name}": shape for name, shape in must.items()}
            idle = {
                name for name in keys if name.endswith(".zeros")
            } - must.keys()  # stock PEFT's, of paths that are off
            stored += [(f"{layer}.{name}", head[key]) for name, key in keys.items() if name not in idle]
        if faults := [*misfits(stored, expected)]:
            base = "" if self._base_model is None else " and `base_model`"
            raise ValueError(f"{WEIGHTS} does not fit {CONFIG}{base}. Tensors {'; '.join(faults)}")
        return fits

    def _asked_of(
        self, layer: str, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int], has_bias: bool | None
    ) -> tuple[Any, dict[str, tuple[Any, ...]]]:
        """The plan of a layer, and the tensors that it asks for; a size that is not known is an `Unknown`."""
        into, out = sizes.get("in", Unknown("in")), sizes.get("out", Unknown("out"))
        names = {name for name in shapes if not name.endswith(".zeros")}
        plans = self._layout.plans(layer, into, out, (True, False) if has_bias is None else (has_bias,))
        plan, tensors = min(plans, key=lambda one: len(one[1].keys() ^ names))
        zeros = {"glora_A.zeros": (out, into)} if len(shapes.get("glora_A.zeros", ())) == 2 else {}
        return plan, {**tensors, **zeros}

    def _innermost(self, layer: str) -> Any:
        """The layer in the base model, None without one."""
        if self._base_model is None:
            return None
        try:
            innermost = self._base_model.get_submodule(layer)
        except AttributeError:
            raise ValueError(f"`base_model` has no layer {shown(layer)}") from None
        if isinstance(innermost, SUPPORTED):
            return innermost
        if self.method == "LoRA":
            return None  # needs nothing of it
        raise ValueError(f"in `base_model` layer {shown(layer)} is a {type(innermost).__name__}")

    def _base(self, layer: str) -> FrozenBase | None:
        innermost = self._innermost(layer) if self.method == "GLoRA" or self._layout.config else None
        return None if innermost is None else frozen_base(innermost, innermost, torch.float64)


def _folder(path: Path) -> Path:
    if path.suffix in PICKLES:
        raise refuse("path_or_model", str(path), PICKLE)
    folder = path.parent if path.name == WEIGHTS else path
    if not folder.is_dir():
        raise refuse("path_or_model", str(path), "must be a folder on this machine that `save_pretrained` wrote")
    return folder


def _in_order(layer: str) -> list[tuple[int, int | str]]:
    """So that layer 2 comes before layer 10."""
    return [(0, int(word)) if word.isdecimal() and len(word) < 10 else (1, word) for word in layer.split(".")]
