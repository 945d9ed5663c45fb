"""What the layer beneath an adapter computes, and so whether its weight may be read and written, or only asked.

Most layers are x·W0ᵀ + b0. An `nn.Linear` need not be: its class may have a forward of its own, and so may one
instance. Such a forward is asked once, beside `F.linear`: Falcon's layers differ in nothing but the last digits and
are linear layers like any other, a fake-quantised one is a function whose weight means something else, and a router
that answers with a tuple is neither.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from types import MethodType
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

SUPPORTED = (nn.Linear, Conv1D)
FORWARDS = (nn.Linear.forward, Conv1D.forward)
SIZES = (0.0, 1.0, 30.0, 0.03)  # of the rows that a forward is asked for: one that saturates is found out
ROUNDINGS = 4  # by which sums in another order may differ


class Kind(Enum):
    LINEAR = "x·W0ᵀ + b0, of its own weight and bias"
    FUNCTION = "(…, in) → (…, out) in a way of its own"
    OTHER = "neither"


class Verdict(NamedTuple):
    kind: Kind
    why: str = ""  # of OTHER: what it answered


_OF_LAYERS: WeakKeyDictionary[nn.Module, tuple[Any, Verdict]] = WeakKeyDictionary()
_OF_CLASSES: WeakKeyDictionary[type, dict[Any, Verdict]] = WeakKeyDictionary()


def keeps_forward(layer: nn.Module) -> bool:
    """Whether a call of this layer is one of the two forwards that are known here."""
    return class_keeps_forward(type(layer)) and _put_on(layer) is None


def class_keeps_forward(kind: type[nn.Module]) -> bool:
    """Whether layers of this class are, unless one has been given another forward."""
    return kind in SUPPORTED or (kind.forward in FORWARDS and kind.__call__ is nn.Module.__call__)


def kind_of(layer: nn.Module) -> Kind:
    """What this layer computes; while torch.compile traces, what it does at that moment."""
    if torch.compiler.is_compiling():
        return Kind[_in_a_graph(layer)]
    return verdict(layer).kind


def verdict(layer: nn.Module) -> Verdict:
    """What this layer computes, and why it is none to adapt."""
    if keeps_forward(layer):
        return Verdict(Kind.LINEAR)
    put_on, cls = _put_on(layer), type(layer)
    token, (known_token, known) = (cls, _weakly(put_on)), _OF_LAYERS.get(layer, (None, None))
    if known is not None and known_token == token:
        return known
    traits = None if put_on else _traits(layer)
    found = None if traits is None else _OF_CLASSES.setdefault(cls, {}).get(traits)
    if found is None:
        found = _asked(layer, put_on)
    if found is None:  # no data yet: taken for what most are, and asked again when there is
        return Verdict(Kind.LINEAR)
    if traits is not None:
        _OF_CLASSES[cls][traits] = found
    _OF_LAYERS[layer] = token, found
    return found


def in_words(layer: nn.Module) -> str:
    """Whose forward it is."""
    return f"a forward put on this {type(layer).__name__}" if _put_on(layer) else f"{type(layer).__name__}.forward"


@torch.compiler.assume_constant_result
def _in_a_graph(layer: nn.Module) -> str:
    return verdict(layer).kind.name


def _put_on(layer: nn.Module) -> Callable[..., Any] | None:
    """The forward that this one instance was given, if any; accelerate's hooks call the one of before."""
    forward = vars(layer).get("forward")
    if isinstance(forward, functools.partial) and forward.func.__module__ == "accelerate.hooks":
        forward = vars(layer).get("_old_forward")
    own = isinstance(forward, MethodType) and forward.__self__ is layer and forward.__func__ is type(layer).forward
    return None if own else forward


def _weakly(forward: Callable[..., Any] | None) -> Any:
    """What stands for a forward where it is remembered: it may hold its layer, which would then never be freed."""
    try:
        return weakref.ref(forward)
    except TypeError:  # there is none, or it is of a kind that cannot be held so
        return forward


def _traits(layer: nn.Module) -> Any:
    """What the forward of a class can depend on, where that is no more than settings; else None."""
    if layer._modules or layer._buffers or layer._parameters.keys() != {"weight", "bias"}:
        return None
    settings = {name: value for name, value in vars(layer).items() if name not in _OF_MODULES}
    if not all(isinstance(value, bool | int | float | str | None) for value in settings.values()):
        return None
    tensors = (layer._parameters["weight"], layer._parameters["bias"])
    shapes = tuple(None if t is None else (t.shape, t.dtype, t.device.type) for t in tensors)
    return tuple(sorted(settings.items())), shapes


_OF_MODULES = vars(nn.Linear(1, 1)).keys()


def _asked(layer: nn.Module, put_on: Callable[..., Any] | None) -> Verdict | None:
    """What the forward answers to a few rows; None where it cannot yet, for want of data."""
    weight = layer._parameters.get("weight")
    if put_on is not None or weight is None:
        return _answer(layer, put_on or layer.forward)
    wide = torch.promote_types(weight.dtype, torch.float32)  # where it can, for a sharper comparison
    for dtype in dict.fromkeys((wide, weight.dtype)):
        twin = _with_random_values(layer, dtype)
        found = _answer(twin, functools.partial(type(layer).forward, twin))
        if found is not None and found.kind is not Kind.OTHER:
            break
    return found


def _with_random_values(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The layer with another weight and bias, which stand for any: its own may be zeros, or yet to come."""
    twin = type(layer).__new__(type(layer))
    twin.__dict__.update(vars(layer))
    twin.__dict__["_parameters"] = values = dict(layer._parameters)
    weight, bias = layer._parameters["weight"], layer._parameters.get("bias")
    assert weight is not None
    device = "cpu" if weight.is_meta else weight.device
    generator = torch.Generator().manual_seed(1)
    p, q = (torch.randn(size, generator=generator).to(device, dtype) for size in weight.shape)
    values["weight"] = nn.Parameter(torch.outer(p, q / len(q) ** 0.5), requires_grad=False)
    if bias is not None:
        values["bias"] = nn.Parameter(torch.randn(len(bias), generator=generator).to(device, dtype), False)
    return twin


def _answer(layer: nn.Module, forward: Callable[..., Any]) -> Verdict | None:
    weight, bias = cast(Tensor, layer.weight), cast("Tensor | None", layer.bias)
    w0 = weight.T if isinstance(layer, Conv1D) else weight
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(SIZES), w0.shape[1], generator=generator) * torch.tensor(SIZES)[:, None]
    x = x.to(weight.device, weight.dtype)
    with torch.no_grad(), _undisturbed(layer):
        try:
            y = forward(x)
        except Exception as error:  # whatever a stranger's forward raises: it has no answer
            if any(tensor.is_meta for tensor in (*layer.parameters(), *layer.buffers())):
                return None
            return Verdict(Kind.OTHER, f"fails on (rows, in) with {type(error).__name__}: {str(error)[:100]}")
        if not isinstance(y, Tensor):
            return Verdict(Kind.OTHER, f"returns a {type(y).__name__}")
        if y.shape != (len(x), len(w0)):
            return Verdict(Kind.OTHER, f"returns {tuple(y.shape)} for {tuple(x.shape)}")
        return None if y.is_meta else _compared(y, x, w0, bias)


def _compared(y: Tensor, x: Tensor, w0: Tensor, bias: Tensor | None) -> Verdict | None:
    """Whether this is F.linear's answer, to within the rounding of its precision."""
    rounding, wide = torch.finfo(w0.dtype).eps, torch.promote_types(w0.dtype, torch.float32)
    x, w0, y, bias = x.to(wide), w0.to(wide), y.to(wide), None if bias is None else bias.to(wide)
    expected = F.linear(x, w0, bias)
    if not expected.isfinite().all() or not w0.any():  # a weight that is yet to be filled
        return None
    size = F.linear(x.abs(), w0.abs(), None if bias is None else bias.abs())
    return Verdict(Kind.LINEAR if ((y - expected).abs() <= ROUNDINGS * rounding * size).all() else Kind.FUNCTION)


@contextmanager
def _undisturbed(layer: nn.Module) -> Iterator[None]:
    """Within, the layer is in evaluation mode; after, its mode and its buffers are as they were."""
    modes = [(module, module.training) for module in layer.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in layer.buffers() if not buffer.is_meta]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, value in buffers:
            buffer.copy_(value)
