"""The tensors that a configuration asks for, held against those of a file: one set of rules for loading and X-ray.

Which tensors a layer has, and of what shapes, is the configuration's own plan, from which layers are built as well:
`plan(…).tensors()`. Loading knows all sizes from the model. A file alone tells them by its tensors: until then they are
`Unknown`.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from glora_lab.adapters.files import FLOATS, PREFIX, Stored
from glora_lab.wording import few, shown

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Unknown:
    """The "in" or "out" features of a layer that only the tensors tell, or one of so many equal parts of them."""

    side: str
    parts: int = 1

    def __floordiv__(self, k: int) -> Unknown:
        return Unknown(self.side, self.parts * k)

    def __mod__(self, k: int) -> int:
        return 0  # a tensor of one part tells a multiple

    def __index__(self) -> int:
        return 0  # among numbers whose common divisor is asked: any k divides it

    def __repr__(self) -> str:
        return self.side if self.parts == 1 else f"{self.side}/{self.parts}"


def told(expected: Mapping[str, tuple[Any, ...]], shapes: Shapes) -> dict[str, int]:
    """The sizes of the sides that are unknown, from those tensors that fit in everything else."""
    sizes: dict[str, int] = {}
    for name, must in expected.items():
        pairs = list(zip(must, shapes.get(name, ()), strict=False))
        fits = len(shapes.get(name, ())) == len(must)
        if fits and all(size > 0 if isinstance(asked, Unknown) else size == asked for asked, size in pairs):
            for asked, size in pairs:
                if isinstance(asked, Unknown):
                    sizes.setdefault(asked.side, size * asked.parts)
    return sizes


def keys_by_name(named: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name without prefix → key in the file, from pairs of name and key.

    Raises:
        ValueError: for two tensors of one name.
    """
    keys: dict[str, str] = {}
    for name, key in named:
        if keys.setdefault(name.removeprefix(PREFIX), key) != key:
            raise ValueError(f"there are two tensors for {shown(name.removeprefix(PREFIX))}")
    return keys


def misfits(
    stored: Collection[tuple[str, Stored]],
    expected: Shapes,
    integers: Container[str] = (),
    *,
    any_shape: bool = False,
) -> Iterator[str]:
    """What is said of tensors that are missing, belong to nothing, are not real or of another shape.

    Args:
        integers: names that may have whole numbers. Copied into weights, what is not real would be cut down.
        any_shape: shapes are not looked at.
    """
    names = {name for name, _ in stored}
    if missing := sorted(expected.keys() - names):
        yield f"missing: {few(missing)}"
    if foreign := sorted(names - expected.keys()):
        yield f"of another model or adapter: {few(foreign)}"
    known = [(name, tensor, expected[name]) for name, tensor in stored if name in expected]
    if odd := [f"{name} is in {t.dtype}" for name, t, _ in known if t.dtype not in FLOATS and name not in integers]:
        yield f"that are no real numbers, as weights are: {few(odd)}"
    wrong = [f"{name} is {list(t.shape)} and must be {list(must)}" for name, t, must in known if t.shape != must]
    if wrong and not any_shape:
        yield f"of another shape: {few(wrong)}"
