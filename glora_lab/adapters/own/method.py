"""DeltaMethod: an adapter method in one class, which says what tensors it has and what they add to a weight.

    class OuterProduct(DeltaMethod):          # ΔW = u·v
        def shapes(self, out, in_, r): return {"u": (out, r), "v": (r, in_)}
        def delta(self, w0, u, v): return u @ v

    model = peft.get_peft_model(base, OuterProduct.config(r=8, target_modules=["query", "value"]))

Everything else follows from these two: training, merging, saving, mixed batches and every instrument. A class attribute
that is a number, a word or a flag is a setting of the method: `alpha = 16` is given as `config(alpha=32)` and read as
`self.alpha`; `self.r` is the rank that the layer has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from glora_lab.arguments import check_flag, check_number, refuse

if TYPE_CHECKING:
    from .config import DeltaConfig

# name → class, of those defined in this process: what a file's configuration names is looked up here and nowhere else
DEFINED: dict[str, type[DeltaMethod]] = {}


class DeltaMethod:
    """Base of a method of one's own. `shapes` and `delta` must be written, the rest may be.

    Each is given the tensors by name, those that it asks for: `delta(self, w0, u, v)`, or all of them as `**tensors`.
    A class is found by its name when an adapter is loaded, so it has to be defined before.
    """

    starts_at_zero: ClassVar[bool] = True  # False: what `init` gives may change the model from the start
    r: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        DEFINED[cls.__name__] = cls  # a cell that is run again defines the method anew

    def shapes(self, out: int, in_: int, r: int) -> dict[str, tuple[int, ...]]:
        """The trained tensors of a layer of `in_` → `out` features at rank `r`: name → shape."""
        raise NotImplementedError(f"{type(self).__name__} must define shapes(self, out, in_, r)")

    def delta(self, w0: Tensor, *args: Any, **tensors: Any) -> Tensor:
        """ΔW (out, in), differentiable in every trained tensor. `w0` is the frozen weight (out, in), in the tensors'
        precision."""
        raise NotImplementedError(f"{type(self).__name__} must define delta(self, w0, **tensors)")

    def init(self, name: str, tensor: Tensor, *args: Any, **kwargs: Any) -> None:
        """Fill a trained tensor in place; one that asks for `w0` as well gets the frozen weight.

        By default the tensor that `shapes` names last is zero, and the others are drawn as LoRA draws its A (a vector
        with the variance 1/n), so that a product of them starts as a no-op.
        """
        if name == self._last:
            nn.init.zeros_(tensor)
        elif tensor.ndim > 1:
            nn.init.kaiming_uniform_(tensor, a=math.sqrt(5))
        else:
            nn.init.normal_(tensor, std=tensor.numel() ** -0.5)

    def fixed(self, out: int, in_: int, r: int) -> dict[str, Tensor]:
        """Tensors that are not trained, as VeRA's random matrices: name → tensor. They are saved with the adapter."""
        return {}

    def bias_delta(self, b0: Tensor | None, *args: Any, **tensors: Any) -> Tensor | None:
        """What is added to the bias `b0`, (out,), which is None for a layer without one; None for nothing."""
        return None

    def forward(self, x: Tensor, w0: Tensor, *args: Any, **tensors: Any) -> Tensor | None:
        """x·ΔWᵀ for x (…, in), where there is a quicker way than through ΔW: it has to give the same."""
        return None

    def blocks(self, *args: Any, **tensors: Any) -> tuple[Tensor, Tensor] | None:
        """For a ΔW of k×k blocks B[m, n] @ A[m, n]ᵀ the two: (k, k, out/k, s) and (k, k, in/k, s)."""
        return None

    _last: str = ""

    @classmethod
    def config(cls, **settings: Any) -> DeltaConfig:
        """The configuration for `peft.get_peft_model`: PEFT's settings (`r`, `target_modules`) and the method's own.

        Raises:
            ValueError: for a setting that is neither, or a bad one, with its name, its value and the rule.
        """
        from .config import DeltaConfig  # which looks methods up here

        own = {name: settings.pop(name) for name in cls.settings() if name in settings}
        if unknown := settings.keys() - {field.name for field in fields(DeltaConfig)}:
            name = min(unknown)
            known = ", ".join(map(repr, cls.settings())) or "none"
            rule = (
                f"is no setting that every method has, nor one of {cls.__name__}, whose own are its class attributes: "
            )
            raise refuse(name, settings[name], f"{rule}{known}")
        return DeltaConfig(delta_method=cls, settings=own, **settings)

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """The method's own settings and their defaults: class attributes that are numbers, words or flags."""
        own = [kind for kind in reversed(cls.__mro__) if issubclass(kind, DeltaMethod) and kind is not DeltaMethod]
        held = {name: value for kind in own for name, value in vars(kind).items()}
        plain = {n: v for n, v in held.items() if isinstance(v, bool | int | float | str) and not n.startswith("_")}
        return {name: value for name, value in plain.items() if not hasattr(DeltaMethod, name)}


def method_called(name: Any) -> type[DeltaMethod]:
    """The class of that name, or the class that is given.

    Raises:
        ValueError: where none is defined; nothing is imported or run to find one.
    """
    if isinstance(name, type) and issubclass(name, DeltaMethod) and name is not DeltaMethod:
        return name
    if not isinstance(name, str) or name not in DEFINED:
        known = ", ".join(DEFINED) or "none"
        rule = f"must name a DeltaMethod that is defined here (there are: {known}): run the code that defines it first"
        raise refuse("delta_method", name, rule)
    return DEFINED[name]


def made(kind: type[DeltaMethod], settings: Mapping[str, Any], **others: Any) -> DeltaMethod:
    """The method with these settings in force."""
    method = kind()
    vars(method).update(settings, **others)
    return method


def check_setting(kind: type[DeltaMethod], name: str, value: Any) -> None:
    """Refuse a value of another sort than the default's."""
    default = kind.settings().get(name)
    if default is None:
        own = ", ".join(map(repr, kind.settings())) or "none"
        raise refuse("settings", name, f"is no setting of {kind.__name__}; its own are: {own}")
    if isinstance(default, bool):
        check_flag(name, value)
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise refuse(name, value, "must be a word")
    else:
        check_number(name, value)
