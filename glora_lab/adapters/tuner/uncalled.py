"""Finding out, while the model runs, that the module around an adapted layer never calls it.

Such a module takes the weight to a kernel or a function of its own (WavLM's attention, a state-space model's dt_proj),
and an adapter on it has no effect, gets no gradient, and changes the output when it is merged. No configuration tells.
So each module that holds adapted layers is looked at during its first pass in training and its first in evaluation:
which of them it calls, and of which it takes the weight instead. The hooks that do it go after that pass. A module that
did not run (layerdrop, an expert without tokens) is no evidence, nor is what torch.compile traces.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from glora_lab.arguments import some

from .places import Place

MODES = {True: "training", False: "evaluation"}


@dataclass
class Sight:
    """What was seen of one layer, by mode: True for training."""

    watch: Watch | None = None
    seen: set[bool] = field(default_factory=set)
    called: set[bool] = field(default_factory=set)
    read: set[bool] = field(default_factory=set)  # its weight was taken, and it was not called
    looking: bool = False
    read_now: bool = False


class WatchedLayer(BaseTunerLayer):
    """A layer that notes, while it is looked at, that its weight is taken."""

    layer_name: str
    sight: Sight
    place: Place | None  # None for a layer that no tuner put anywhere

    @property
    def weight(self) -> Tensor:
        if self.sight.looking and not torch.compiler.is_compiling():
            self.sight.read_now = True
        innermost: Any = self.get_base_layer()  # torch.compile follows no property of a parent class
        return cast(Tensor, innermost.qweight if hasattr(innermost, "qweight") else innermost.weight)

    def train(self, mode: bool = True) -> Any:
        """As any module's; the first pass in either mode is looked at."""
        nn.Module.train(cast(nn.Module, self), mode)
        watch = self.sight.watch
        if watch is not None and self.place is not None and mode not in self.sight.seen:
            watch.arm(self.place)
        return self

    def check_called(self) -> None:
        """Refuse to merge where the layer was found never to be called."""
        if self.sight.read and not self.sight.called:
            raise ValueError(
                f"Layer {self.layer_name!r} has never been called: the module around it computes from its weight, "
                "where the adapter has no effect, and merging would change the output. Unload it, or leave it out of "
                "`target_modules`."
            )


class Watch:
    """Held by hooks on the modules around adapted layers, and by these layers; says each thing once."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], list[str]] = {}  # class of the module around, own name → layers
        self.said: set[tuple[str, str]] = set()

    def add(self, layer: WatchedLayer) -> None:
        """Look at this layer from now on; no-op for one that is looked at already."""
        parent = None if layer.place is None or layer.sight.watch is not None else layer.place.module()
        if parent is not None and layer.place is not None:
            layer.sight.watch = self
            self.names.setdefault((type(parent).__name__, layer.place.name), []).append(layer.layer_name)
            self.arm(layer.place)

    def arm(self, place: Place) -> None:
        """Hooks for one pass of the module at that place."""
        parent = place.module()
        if parent is None or torch.compiler.is_compiling():
            return
        if not any(_is_watch(hook) for hook in parent._forward_hooks.values()):
            parent.register_forward_pre_hook(self.begin)
            parent.register_forward_hook(self.end)

    def begin(self, parent: nn.Module, args: Any) -> None:
        if _is_no_evidence(parent):
            return
        for _, layer in watched(parent):
            if cast(nn.Module, layer).training not in layer.sight.seen:
                layer.sight.looking, layer.sight.read_now = True, False
                hooks = cast(nn.Module, layer)._forward_pre_hooks
                if _note_call not in hooks.values():
                    cast(nn.Module, layer).register_forward_pre_hook(_note_call)

    def end(self, parent: nn.Module, args: Any, output: Any) -> None:
        if _is_no_evidence(parent):
            return
        taken, idle = [], []
        for name, layer in watched(parent):
            sight, training = layer.sight, cast(nn.Module, layer).training
            if not sight.looking:
                continue
            sight.looking = False
            sight.seen.add(training)
            _remove(cast(nn.Module, layer)._forward_pre_hooks, _note_call)
            if training not in sight.called and sight.read_now:
                sight.read.add(training)
                taken.append(name)
            elif not sight.called:
                idle.append(name)
        if all(cast(nn.Module, layer).training in layer.sight.seen for _, layer in watched(parent)):
            disarm(parent)
        self._say(parent, taken, idle)

    def _say(self, parent: nn.Module, taken: list[str], idle: list[str]) -> None:
        kind, mode = type(parent).__name__, MODES[parent.training]
        for names, what, so in (
            (
                taken,
                "computes from the weight of",
                "has no effect, gets no gradient, and merged would change the output",
            ),
            (idle, "ran and left aside", "has had no effect so far"),
        ):
            new = [name for name in names if (kind, name) not in self.said]
            self.said |= {(kind, name) for name in new}
            layers = [layer for name in new for layer in self.names.get((kind, name), [name])]
            if new:
                warnings.warn(
                    f"In {mode}, {kind} {what} {', '.join(new)} and does not call it: an adapter there {so}. This is "
                    f"about {some(layers)}; leave them out of `target_modules` unless that is meant.",
                    RuntimeWarning,
                    stacklevel=3,
                )


def watched(parent: nn.Module) -> Iterator[tuple[str, WatchedLayer]]:
    """Our layers that a module holds, others' over them or not, by the name it has for them."""
    for name, child in parent._modules.items():
        layer: Any = child
        while isinstance(layer, BaseTunerLayer):
            if isinstance(layer, WatchedLayer):
                yield name, layer
            layer = cast(Any, layer).base_layer


def disarm(parent: nn.Module) -> None:
    """Take the hooks of a watch away from a module, and its marks from the layers in it."""
    for hooks in (parent._forward_pre_hooks, parent._forward_hooks):
        for hook in [hook for hook in hooks.values() if _is_watch(hook)]:
            _remove(hooks, hook)


def _note_call(layer: nn.Module, args: Any) -> None:
    if not torch.compiler.is_compiling():
        cast(WatchedLayer, layer).sight.called.add(layer.training)


def _is_watch(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), Watch)


def _is_no_evidence(parent: nn.Module) -> bool:
    """Whether this pass is traced, or one of DataParallel's copies, which share the hooks of the original."""
    return torch.compiler.is_compiling() or getattr(parent, "_is_replica", False)


def _remove(hooks: Any, hook: Any) -> None:
    for key in [key for key, held in hooks.items() if held == hook]:
        hooks.pop(key, None)
