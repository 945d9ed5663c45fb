"""What all checks share: an answer is read kindly, and a check never raises in the reader's cell.

A check returns why the answer is right, or raises `NotYet` with a hint; the decorator makes a `Verdict` of either.
Anything else that is raised is a fault of ours: it is said as that, and kept in `errors`, which the notebook's last
cell looks at.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from glora_lab.adapters import GloraConfig
from glora_lab.records import Verdict

if TYPE_CHECKING:
    from jaxtyping import Float

ATOL = 1e-4  # of arrays: what float32 leaves of numbers of size 1
#: What a check stumbled over by itself, in order; the last cell of the lesson looks at it.
errors: list[Exception] = []


class NotYet(Exception):
    """An answer that is wrong, or cannot be read; its text is the hint."""


def exercise(check: Callable[[Any], str]) -> Callable[[Any], Verdict]:
    """A check as the notebook calls it: any answer in, a verdict out."""

    @wraps(check)
    def checked(answer: Any) -> Verdict:
        if answer is ... or answer is None:
            return Verdict(False, "Put your answer in place of the three dots, and run the cell again.", False)
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")  # a configuration to try may well have inert paths
                return Verdict(True, check(answer))
        except NotYet as hint:
            return Verdict(False, str(hint))
        except Exception as error:
            errors.append(error)
            return Verdict(False, f"The check itself stumbled over this answer ({type(error).__name__}: {error}).")

    checked.__annotations__ = {**check.__annotations__, "return": Verdict}
    checked.__signature__ = inspect.signature(check).replace(return_annotation="Verdict")  # type: ignore[attr-defined]
    return checked


def whole_number(answer: Any, what: str = "the answer") -> int:
    """An integer, also one that numpy or torch holds, or a float that is one."""
    value = (
        answer.item() if isinstance(answer, np.ndarray | np.generic | torch.Tensor) and _size(answer) == 1 else answer
    )
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise NotYet(f"Please write {what} as one whole number; this is {_shown(answer)}.")
    return int(value)


def numbers_by_name(answer: Any, names: Iterable[str]) -> dict[str, int]:
    """A dict with a whole number for each of these names."""
    names = list(names)
    if not isinstance(answer, Mapping):
        raise NotYet(f"Please write a dict with a number for each of {', '.join(names)}; this is {_shown(answer)}.")
    in_any_case = {name.lower(): name for name in names}
    answer = {in_any_case.get(str(name).lower(), name): value for name, value in answer.items()}
    missing, more = [n for n in names if n not in answer], [str(n) for n in answer if n not in names]
    if missing or more:
        said = [
            f"missing: {', '.join(missing)}" if missing else "",
            f"not asked for: {', '.join(more)}" if more else "",
        ]
        raise NotYet(f"The dict needs exactly {', '.join(names)} ({'; '.join(filter(None, said))}).")
    return {name: whole_number(answer[name], f"the value of {name!r}") for name in names}


def several(answer: Any, what: str) -> list[Any]:
    """A list, tuple, set, range or array as a list; a text is its letters."""
    if isinstance(answer, Mapping) or not isinstance(answer, Iterable):
        raise NotYet(f"Please write {what}, in a list; this is {_shown(answer)}.")
    if isinstance(answer, np.ndarray | torch.Tensor) and answer.ndim == 0:
        raise NotYet(f"Please write {what}, in a list; this is one value.")
    return [
        item.item() if isinstance(item, np.generic | torch.Tensor) and _size(item) == 1 else item for item in answer
    ]


def matrix(answer: Any, shape: tuple[int, int]) -> Float[np.ndarray, "o i"]:
    """An array of this shape, from numpy or torch."""
    try:
        found = np.asarray(answer.detach().cpu().double() if isinstance(answer, torch.Tensor) else answer, dtype=float)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise NotYet(f"Please give an array of numbers; this is {_shown(answer)}.") from None
    if found.shape == shape[::-1] != shape:
        raise NotYet(f"The shape is {found.shape}: it lies on its side. Rows are output channels.")
    if found.shape != shape:
        raise NotYet(f"The shape is {found.shape}; count the output and the input channels that it should have.")
    if not np.isfinite(found).all():
        raise NotYet("Some entries are no finite numbers: is there a division by zero?")
    return found


def glora_config(answer: Any) -> GloraConfig:
    """One of our GLoRA configurations."""
    if not isinstance(answer, GloraConfig):
        raise NotYet(f"Please give a glora_lab.GloraConfig; this is {_shown(answer)}.")
    return answer


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two arrays of one shape are the same to rounding."""
    return bool(np.allclose(found, wanted, rtol=1e-4, atol=ATOL * max(1.0, math.sqrt(np.square(wanted).mean()))))


def _size(value: Any) -> int:
    return value.numel() if isinstance(value, torch.Tensor) else value.size


def _shown(answer: Any) -> str:
    kind, home = type(answer).__name__, type(answer).__module__.partition(".")[0]
    if not isinstance(answer, int | float | str | bool) or (isinstance(answer, int) and abs(answer) > 10**30):
        return f"of type {kind}" if home == "builtins" else f"of type {home}.{kind}"
    return f"{answer!r} ({kind})" if len(repr(answer)) < 40 else f"of type {kind}"
