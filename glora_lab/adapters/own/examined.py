"""A method of one's own, tried out on a layer's sizes before any model is touched.

It is run in float64 with tensors of its own making, at its start and a little beside it, so that what would be found
out in the middle of training is said at once: a wrong shape, a tensor that gets no gradient, a start that is not zero.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters.tuner.factors import Blocks
from glora_lab.arguments import refuse

from .method import DeltaMethod, made

LARGEST = 1 << 22  # entries of a W0 that is made up; of larger ones only the sizes are tried out, on the meta device
BESIDE = 0.1  # how far beside its start a method is looked at
CLOSE = 1e-8  # relative, of two ways to one thing in float64
ASKED = ("init", "delta", "forward", "bias_delta", "blocks")
GIVEN = ("w0", "b0", "x", "name", "tensor", "self")


class Examined(NamedTuple):
    """What was found: the method as the layers ask it, the shapes of its tensors, and whether ΔW depends on W0."""

    method: DeltaMethod
    trained: dict[str, tuple[int, ...]]
    fixed: dict[str, tuple[int, ...]]
    asked: dict[str, frozenset[str] | None]  # function → the names of its arguments, None where it takes any
    reads_base: bool = True

    @property
    def asks_base_to_start(self) -> bool:
        """Whether the first values are made from W0."""
        return "w0" in (self.asked["init"] or ())

    def ask(self, what: str, *given: Any, **tensors: Any) -> Any:
        """A function of the method, with those of the tensors that it asks for."""
        names = self.asked[what]
        return getattr(self.method, what)(
            *given, **(tensors if names is None else {n: tensors[n] for n in names if n in tensors})
        )

    def dtype_of(self, tensors: Mapping[str, Tensor]) -> torch.dtype:
        """The precision that the trained tensors have."""
        return next(tensors[name].dtype for name in self.trained)

    def forward(self, x: Tensor, w0: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """x·ΔWᵀ, in the method's own way where it has one."""
        own: Tensor | None = self.ask("forward", x, w0, **tensors)
        return F.linear(x, self.ask("delta", w0, **tensors)) if own is None else own

    @property
    def has_bias(self) -> bool:
        """Whether the method adds to the bias."""
        return type(self.method).bias_delta is not DeltaMethod.bias_delta


def _asked(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names of the arguments; None where any is taken."""
    parameters = inspect.signature(function).parameters.values()
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return None if anything else frozenset(one.name for one in parameters)


def initial(facts: Examined, w0: Tensor | None, **like: Any) -> dict[str, Tensor]:
    """The trained tensors as `init` fills them; `like` says in which precision and where."""
    tensors = {name: torch.empty(shape, **like) for name, shape in facts.trained.items()}
    with torch.no_grad():
        facts.method._last = [*tensors][-1]
        for name, tensor in tensors.items():
            facts.method.init(name, tensor, **({"w0": w0} if facts.asks_base_to_start else {}))
    return tensors


@functools.lru_cache(maxsize=256)
def examined(kind: type[DeltaMethod], settings: tuple[tuple[str, Any], ...], out: int, in_: int, r: int) -> Examined:
    """The method with these settings on a layer of `in_` → `out` features at rank `r`.

    Raises:
        ValueError: naming what the method gave and what was expected of it.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.inference_mode(False):
        return _Trial(kind, dict(settings), out, in_, r).run()


def outlined(kind: type[DeltaMethod], settings: dict[str, Any], out: int, in_: int, r: int) -> Examined:
    """The names and shapes alone, with nothing tried out.

    Raises:
        ValueError: where there are none for these sizes.
    """
    with torch.random.fork_rng(devices=[]):
        return _Trial(kind, settings, out, in_, r).outline()


class _Trial:
    def __init__(self, kind: type[DeltaMethod], settings: dict[str, Any], out: int, in_: int, r: int) -> None:
        self.name, self.sizes, self.shape = kind.__name__, (out, in_, r), (out, in_)
        self.method = made(kind, settings, r=r)
        self.like: dict[str, Any] = {"dtype": torch.float64, "device": "meta" if out * in_ > LARGEST else "cpu"}
        self.counts = self.like["device"] == "cpu"  # whether there are numbers to look at

    def run(self) -> Examined:
        torch.manual_seed(0)
        facts = self.outline()
        self._check_asked(facts)
        w0, b0 = torch.randn(self.shape, **self.like), torch.randn(self.shape[0], **self.like)
        start = self._said("init", None, lambda: initial(facts, w0, **self.like))
        if self.counts:
            self._check_start(facts, w0, b0, start)
        beside = {name: tensor + BESIDE * torch.randn_like(tensor) for name, tensor in start.items()}
        self._check_gradients(facts, w0, b0, beside)
        if not self.counts:
            return facts
        self._check_ways(facts, w0, beside)
        there, elsewhere = (self._delta(facts, base, beside) for base in (w0, 2 * w0 + 1))
        return facts._replace(reads_base=not torch.equal(there, elsewhere))

    def outline(self) -> Examined:
        trained, self.fixed = self._shapes(), self._fixed()
        held = {name: tuple(tensor.shape) for name, tensor in self.fixed.items()}
        if both := trained.keys() & held.keys():
            raise self.refuse("fixed", min(both), "is the name of a trained tensor as well: each needs one of its own")
        return Examined(self.method, trained, held, {what: _asked(getattr(self.method, what)) for what in ASKED})

    def refuse(self, what: str, value: Any, rule: str) -> ValueError:
        out, in_, r = self.sizes
        return refuse(f"{self.name}.{what}", value, f"{rule} (for out={out}, in_={in_}, r={r})")

    def _said(self, what: str, value: Any, call: Callable[[], Any]) -> Any:
        """What the reader's own code gives, or a refusal with what it raised."""
        try:
            return call()
        except Exception as error:
            said = f"must work in the precision of what it is given, and raises {type(error).__name__}: {error}"
            raise self.refuse(what, value, said) from error

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        expected = 'must return a dict of names and shapes, {"u": (out, r), ...}, each of positive integers'
        shapes = self._said("shapes", None, lambda: self.method.shapes(*self.sizes))
        if not isinstance(shapes, Mapping) or not shapes:
            raise self.refuse("shapes", shapes, expected)
        for name, shape in shapes.items():
            self._check_name("shapes", name)
            whole = isinstance(shape, tuple | list) and shape and all(type(n) is int and n > 0 for n in shape)
            if not whole:
                raise self.refuse("shapes", {name: shape}, expected)
        return {name: tuple(shape) for name, shape in shapes.items()}

    def _fixed(self) -> dict[str, Tensor]:
        fixed = self._said("fixed", None, lambda: self.method.fixed(*self.sizes))
        if not isinstance(fixed, Mapping) or not all(isinstance(tensor, Tensor) for tensor in fixed.values()):
            raise self.refuse("fixed", fixed, "must return a dict of names and tensors")
        for name in fixed:
            self._check_name("fixed", name)
        wide = {n: t.detach().to(self.like["device"]) for n, t in fixed.items()}
        return {n: t.double() if t.is_floating_point() else t for n, t in wide.items()}

    def _check_name(self, what: str, name: Any) -> None:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise self.refuse(what, name, "must have names that Python takes for an argument, as 'u'")
        if name in GIVEN or hasattr(nn.Module(), name):
            raise self.refuse(what, name, "must name its tensors otherwise: this name has a meaning already")

    def _check_asked(self, facts: Examined) -> None:
        """Every argument must be a tensor of the method's, or what it is given besides."""
        for what, given in (("delta", 1), ("forward", 2), ("bias_delta", 1), ("blocks", 0)):
            parameters = [*inspect.signature(getattr(self.method, what)).parameters.values()][given:]
            for one in parameters:
                known = one.name in facts.trained or one.name in facts.fixed
                if not known and one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                    names = ", ".join([*facts.trained, *facts.fixed])
                    raise self.refuse(what, one.name, f"asks for a tensor that is not there; there are: {names}")

    def _delta(self, facts: Examined, w0: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return self._tensor("delta", self.shape, lambda: facts.ask("delta", w0, **tensors, **self.fixed))

    def _tensor(self, what: str, shape: tuple[int, ...], call: Callable[[], Any]) -> Tensor:
        value = self._said(what, None, call)
        if not isinstance(value, Tensor):
            raise self.refuse(what, value, f"must return a tensor of shape {shape}, not a {type(value).__name__}")
        if tuple(value.shape) != shape:
            raise self.refuse(what, tuple(value.shape), f"must return a tensor of shape {shape}")
        if value.dtype != torch.float64:
            raise self.refuse(what, value.dtype, "must return the precision that it is given, here torch.float64")
        return value

    def _both(self, facts: Examined, w0: Tensor, b0: Tensor, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """ΔW, and Δb where there is one."""
        delta = self._delta(facts, w0, tensors)
        if not facts.has_bias:
            return [delta]
        shape, named = self.shape[:1], {**tensors, **self.fixed}
        if self._said("bias_delta", None, lambda: facts.ask("bias_delta", None, **named)) is not None:
            self._tensor("bias_delta", shape, lambda: facts.ask("bias_delta", None, **named))
        return [delta, self._tensor("bias_delta", shape, lambda: facts.ask("bias_delta", b0, **named))]

    def _check_start(self, facts: Examined, w0: Tensor, b0: Tensor, start: Mapping[str, Tensor]) -> None:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
        added = self._both(facts, w0, b0, leaves)
        if not all(term.isfinite().all() for term in added):
            raise self.refuse("delta", float("nan"), "must be finite at the start")
        off = max(float(term.detach().abs().max()) for term in added)
        if self.method.starts_at_zero and off > CLOSE:
            rule = (
                "must be 0 at the start, so that a fresh adapter changes nothing, and is up to this: let `init` fill "
                "one factor with zeros (by default the one that `shapes` names last), or say `starts_at_zero = False`"
            )
            raise self.refuse("delta", float(f"{off:.3g}"), rule)
        if not any(term.requires_grad for term in added):
            return  # which is said where gradients are looked at
        gradients = _gradients(added, leaves)
        odd = [n for n, g in gradients.items() if g is not None and not g.isfinite().all()]
        if odd:
            raise self.refuse("delta", odd[0], "must have a finite gradient at the start, and has none in this tensor")
        if not any(g is not None and g.any() for g in gradients.values()):
            rule = "must have a gradient at the start that is not 0 in every tensor, or no step of training leads away"
            raise self.refuse("delta", 0, f"{rule}: let `init` leave a factor random")

    def _check_gradients(self, facts: Examined, w0: Tensor, b0: Tensor, beside: Mapping[str, Tensor]) -> None:
        leaves = {name: tensor.requires_grad_() for name, tensor in beside.items()}
        added = [term for term in self._both(facts, w0, b0, leaves) if term.requires_grad]
        gradients = _gradients(added, leaves) if added else dict.fromkeys(leaves)
        if without := [name for name, gradient in gradients.items() if gradient is None]:
            rule = "must be differentiable in every trained tensor, and this one gets no gradient: use it, undetached"
            raise self.refuse("delta", ", ".join(without), rule)

    def _check_ways(self, facts: Examined, w0: Tensor, beside: Mapping[str, Tensor]) -> None:
        """A forward pass and blocks of the method's own give what ΔW gives."""
        named, delta = {**beside, **self.fixed}, self._delta(facts, w0, beside)
        if type(self.method).forward is not DeltaMethod.forward:
            x = torch.randn(2, 3, self.shape[1], **self.like)
            shape = (2, 3, self.shape[0])
            own = self._tensor("forward", shape, lambda: facts.ask("forward", x, w0, **named))
            self._check_close("forward", own, F.linear(x, delta), "must give x·ΔWᵀ with the ΔW that `delta` gives")
        found = self._said("blocks", None, lambda: facts.ask("blocks", **named))
        if found is not None:
            whole = self._said("blocks", None, lambda: Blocks(*found).matrix())
            self._check_close("blocks", whole, delta, "must give the factors (k, k, out/k, s), (k, k, in/k, s) of ΔW")

    def _check_close(self, what: str, one: Tensor, other: Tensor, rule: str) -> None:
        if one.shape != other.shape:
            raise self.refuse(what, tuple(one.shape), rule)
        off = float((one - other).detach().abs().max())
        if not off <= CLOSE * max(1.0, float(other.detach().abs().max())):
            raise self.refuse(what, float(f"{off:.3g}"), f"{rule}, and is off by this")


def _gradients(added: list[Tensor], leaves: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    total = sum((term * torch.randn_like(term)).sum() for term in added)
    found = torch.autograd.grad(total, [*leaves.values()], allow_unused=True)  # type: ignore[arg-type]
    return dict(zip(leaves, found, strict=True))
