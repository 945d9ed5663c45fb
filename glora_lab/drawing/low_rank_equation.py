"""The equation of LoRA and of GraLoRA as HTML, in the method's colour, with the numbers in force below it.

It takes the place of GLoRA's five-path equation where one of these two is chosen. LoRA adds one product to the
weight; GraLoRA adds a product of its own to each of k×k blocks (and, as a hybrid, LoRA's beside them).
"""

from __future__ import annotations

from glora_lab.arguments import check_choice, check_count, check_positive_int

from .checked import checked
from .equation import W0, W_EFF
from .formula_line import noted, set_line, sign, still, symbol
from .inks import ink
from .theme import METHOD_COLORS

_WEIGHT = f"{still(W_EFF)}{sign('=')}{still(W0)}{sign('+')}"
_BLOCK = "B<sub>mn</sub> A<sub>mn</sub><sup style='line-height:0'>T</sup>"


@checked
def low_rank_equation(method: str, *, r: int, scaling: float, k: int = 1, hybrid_r: int = 0) -> str:
    """W_eff = W0 + alpha/r · B A for "LoRA", W0 + alpha/r · [B_mn A_mnᵀ] for "GraLoRA" (arXiv 2505.20355), as an HTML
    fragment.

    Args:
        method: "LoRA" or "GraLoRA".
        r: the rank; GraLoRA's blocks have r/k each.
        scaling: alpha/r, or alpha/(r + hybrid_r), as it is in force.
        k: GraLoRA's blocks per side.
        hybrid_r: rank of the LoRA beside GraLoRA's blocks.
    """
    _check(method, r, k, hybrid_r)
    color = METHOD_COLORS[method]
    lit = f"border-bottom:3px solid {color}"

    def product_of(letters: str, note: str, says: str) -> str:
        shown = symbol(f'<b style="color:{ink(color)}">{letters}</b>', "B A", says)
        return noted(f"[ {shown} ]" if letters == _BLOCK else shown, note, look=lit)

    over = "α/(r + h)" if hybrid_r else "α/r"
    fraction = noted(symbol(over, over, f"{over} says how much of it is added: {scaling:g} times."), f"{scaling:g}")
    if method == "LoRA":
        product = product_of("B A", f"rank {r}", f"B A is one product of two thin matrices, of rank {r}.")
    else:
        blocks = f"{k} × {k} blocks of rank {_share(r, k)}"
        product = product_of(_BLOCK, blocks, f"Each block of the change has a product of its own: {blocks}.")
    if hybrid_r:
        general = product_of("B A", f"rank {hybrid_r}", f"B A is a LoRA beside the blocks, of rank {hybrid_r}.")
        product = f"{still('(')}{product}{sign('+')}{general}{still(')')}"
    said = describe_low_rank_equation(method, r=r, scaling=scaling, k=k, hybrid_r=hybrid_r)
    times = sign("·")
    return f'<div class="glora-equation">{set_line([f"{_WEIGHT}{fraction}{times}{product}"], said)}</div>'


def own_equation(name: str) -> str:
    """W_eff = W0 + ΔW of a method that its reader has written."""
    delta = noted(symbol("ΔW", "ΔW", f"ΔW is what {name}.delta makes of its tensors."), f"of {name}")
    return f'<div class="glora-equation">{set_line([f"{_WEIGHT}{delta}"], f"{name}: W_eff = W0 + ΔW.")}</div>'


@checked
def describe_low_rank_equation(method: str, *, r: int, scaling: float, k: int = 1, hybrid_r: int = 0) -> str:
    """The same equation in one sentence, with the number that the product is scaled by and its rank.

    Args:
        method, r, scaling, k, hybrid_r: as `low_rank_equation` takes them.
    """
    _check(method, r, k, hybrid_r)
    if method == "LoRA":
        return f"LoRA: W_eff = W0 + {scaling:g} · B A, a product of rank {r}."
    beside = f", and a LoRA of rank {hybrid_r} beside them" if hybrid_r else ""
    return f"GraLoRA: W_eff = W0 + {scaling:g} · {k} × {k} blocks B_mn A_mnᵀ of rank {_share(r, k)} each{beside}."


def _check(method: str, r: int, k: int, hybrid_r: int) -> None:
    check_choice("method", method, ("LoRA", "GraLoRA"))
    check_positive_int("r", r)
    check_positive_int("k", k)
    check_count("hybrid_r", hybrid_r)


def _share(r: int, k: int) -> str:
    """r/k; left as a fraction where k does not divide r, which no GraLoRA can have."""
    return f"{r}/{k}" if r % k else str(r // k)
