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


_OF_LEAVES: WeakKeyDictionary[nn.Module, tuple[Any, Verdict]] = WeakKeyDictionary()
_OF_CLASSES: WeakKeyDictionary[type, dict[Any, Verdict]] = WeakKeyDictionary()


def keeps_forward(leaf: nn.Module) -> bool:
    """Whether a call of this layer is one of the two forwards that are known here."""
    return class_keeps_forward(type(leaf)) and _put_on(leaf) is None


def class_keeps_forward(kind: type[nn.Module]) -> bool:
    """Whether layers of this class are, unless one has been given another forward."""
    return kind in SUPPORTED or (kind.forward in FORWARDS and kind.__call__ is nn.Module.__call__)


def kind_of(leaf: nn.Module) -> Kind:
    """What this layer computes; while torch.compile traces, what it does at that moment."""
    if torch.compiler.is_compiling():
        return Kind[_in_a_graph(leaf)]
    return verdict(leaf).kind


def verdict(leaf: nn.Module) -> Verdict:
    """What this layer computes, and why it is none to adapt."""
    if keeps_forward(leaf):
        return Verdict(Kind.LINEAR)
    put_on, cls = _put_on(leaf), type(leaf)
    token, (known_token, known) = (cls, _weakly(put_on)), _OF_LEAVES.get(leaf, (None, None))
    if known is not None and known_token == token:
        return known
    traits = None if put_on else _traits(leaf)
    found = None if traits is None else _OF_CLASSES.setdefault(cls, {}).get(traits)
    if found is None:
        found = _asked(leaf, put_on)
    if found is None:  # no data yet: taken for what most are, and asked again when there is
        return Verdict(Kind.LINEAR)
    if traits is not None:
        _OF_CLASSES[cls][traits] = found
    _OF_LEAVES[leaf] = token, found
    return found


def in_words(leaf: nn.Module) -> str:
    """Whose forward it is."""
    return f"a forward put on this {type(leaf).__name__}" if _put_on(leaf) else f"{type(leaf).__name__}.forward"


@torch.compiler.assume_constant_result
def _in_a_graph(leaf: nn.Module) -> str:
    return verdict(leaf).kind.name


def _put_on(leaf: nn.Module) -> Callable[..., Any] | None:
    """The forward that this one instance was given, if any; accelerate's hooks call the one of before."""
    forward = vars(leaf).get("forward")
    if isinstance(forward, functools.partial) and forward.func.__module__ == "accelerate.hooks":
        forward = vars(leaf).get("_old_forward")
    own = isinstance(forward, MethodType) and forward.__self__ is leaf and forward.__func__ is type(leaf).forward
    return None if own else forward


def _weakly(forward: Callable[..., Any] | None) -> Any:
    """What stands for a forward where it is remembered: it may hold its layer, which would then never be freed."""
    try:
        return weakref.ref(forward)
    except TypeError:  # there is none, or it is of a kind that cannot be held so
        return forward


def _traits(leaf: nn.Module) -> Any:
    """What the forward of a class can depend on, where that is no more than settings; else None."""
    if leaf._modules or leaf._buffers or leaf._parameters.keys() != {"weight", "bias"}:
        return None
    settings = {name: value for name, value in vars(leaf).items() if name not in _OF_MODULES}
    if not all(isinstance(value, bool | int | float | str | None) for value in settings.values()):
        return None
    tensors = (leaf._parameters["weight"], leaf._parameters["bias"])
    shapes = tuple(None if t is None else (t.shape, t.dtype, t.device.type) for t in tensors)
    return tuple(sorted(settings.items())), shapes


_OF_MODULES = vars(nn.Linear(1, 1)).keys()


def _asked(leaf: nn.Module, put_on: Callable[..., Any] | None) -> Verdict | None:
    """What the forward answers to a few rows; None where it cannot yet, for want of data."""
    weight = leaf._parameters.get("weight")
    if put_on is not None or weight is None:
        return _answer(leaf, put_on or leaf.forward)
    wide = torch.promote_types(weight.dtype, torch.float32)  # where it can, for a sharper comparison
    for dtype in dict.fromkeys((wide, weight.dtype)):
        twin = _with_random_values(leaf, dtype)
        found = _answer(twin, functools.partial(type(leaf).forward, twin))
        if found is not None and found.kind is not Kind.OTHER:
            break
    return found


def _with_random_values(leaf: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The layer with another weight and bias, which stand for any: its own may be zeros, or yet to come."""
    twin = type(leaf).__new__(type(leaf))
    twin.__dict__.update(vars(leaf))
    twin.__dict__["_parameters"] = values = dict(leaf._parameters)
    weight, bias = leaf._parameters["weight"], leaf._parameters.get("bias")
    assert weight is not None
    device = "cpu" if weight.is_meta else weight.device
    generator = torch.Generator().manual_seed(1)
    p, q = (torch.randn(size, generator=generator).to(device, dtype) for size in weight.shape)
    values["weight"] = nn.Parameter(torch.outer(p, q / len(q) ** 0.5), requires_grad=False)
    if bias is not None:
        values["bias"] = nn.Parameter(torch.randn(len(bias), generator=generator).to(device, dtype), False)
    return twin


def _answer(leaf: nn.Module, forward: Callable[..., Any]) -> Verdict | None:
    weight, bias = cast(Tensor, leaf.weight), cast("Tensor | None", leaf.bias)
    w0 = weight.T if isinstance(leaf, Conv1D) else weight
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(SIZES), w0.shape[1], generator=generator) * torch.tensor(SIZES)[:, None]
    x = x.to(weight.device, weight.dtype)
    with torch.no_grad(), _undisturbed(leaf):
        try:
            y = forward(x)
        except Exception as error:  # whatever a stranger's forward raises: it has no answer
            if any(tensor.is_meta for tensor in (*leaf.parameters(), *leaf.buffers())):
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
def _undisturbed(leaf: nn.Module) -> Iterator[None]:
    """Within, the layer is in evaluation mode; after, its mode and its buffers are as they were."""
    modes = [(module, module.training) for module in leaf.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in leaf.buffers() if not buffer.is_meta]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, value in buffers:
            buffer.copy_(value)
