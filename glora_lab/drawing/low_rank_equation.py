"""The equation of LoRA and of GraLoRA as HTML, in the method's colour, with the numbers in force below it.

It takes the place of GLoRA's five-path equation where one of these two is chosen. LoRA adds one product to the
weight; GraLoRA adds a product of its own to each of k×k blocks (and, as a hybrid, LoRA's beside them).
"""

from __future__ import annotations

from .formula_line import noted, set_line, sign, still
from .theme import METHOD_COLORS

_WEIGHT = f"{still('W<sub>eff</sub>')}{sign('=')}{still('W<sub>0</sub>')}{sign('+')}"
_BLOCK = "B<sub>mn</sub> A<sub>mn</sub><sup style='line-height:0'>T</sup>"


def low_rank_equation(method: str, *, r: int, scaling: float, k: int = 1, hybrid_r: int = 0) -> str:
    """W_eff = W0 + alpha/r · B A for "LoRA", W0 + alpha/r · [B_mn A_mnᵀ] for "GraLoRA", as an HTML fragment.

    Args:
        method: "LoRA" or "GraLoRA".
        r: the rank; GraLoRA's blocks have r/k each.
        scaling: alpha/r, or alpha/(r + hybrid_r), as it is in force.
        k: GraLoRA's blocks per side.
        hybrid_r: rank of the LoRA beside GraLoRA's blocks.
    """
    color = METHOD_COLORS[method]
    lit = f"border-bottom:3px solid {color}"
    letters = f'<b style="color:{color}">{{}}</b>'
    times = sign("·")
    fraction = noted("α/(r + h)" if hybrid_r else "α/r", f"{scaling:g}", title="how much of it is added")
    if method == "LoRA":
        product = noted(letters.format("B A"), f"rank {r}", look=lit, title=f"B A is one product of rank {r}")
    else:
        blocks = f"{k} × {k} blocks of rank {_share(r, k)}"
        product = noted(f"[ {letters.format(_BLOCK)} ]", blocks, look=lit, title=f"[B A] stands for {blocks}")
    if hybrid_r:
        general = noted(letters.format("B A"), f"rank {hybrid_r}", look=lit, title="a LoRA beside the blocks")
        product = f"{still('(')}{product}{sign('+')}{general}{still(')')}"
    said = describe_low_rank_equation(method, r=r, scaling=scaling, k=k, hybrid_r=hybrid_r)
    return f'<div class="glora-equation">{set_line([f"{_WEIGHT}{fraction}{times}{product}"], said)}</div>'


def own_equation(name: str) -> str:
    """W_eff = W0 + ΔW of a method that its reader has written."""
    delta = noted("ΔW", f"of {name}", title=f"what {name}.delta makes of its tensors")
    return f'<div class="glora-equation">{set_line([f"{_WEIGHT}{delta}"], f"{name}: W_eff = W0 + ΔW.")}</div>'


def describe_low_rank_equation(method: str, *, r: int, scaling: float, k: int = 1, hybrid_r: int = 0) -> str:
    """The same in one sentence."""
    if method == "LoRA":
        return f"LoRA: W_eff = W0 + {scaling:g} · B A, a product of rank {r}."
    beside = f", and a LoRA of rank {hybrid_r} beside them" if hybrid_r else ""
    return f"GraLoRA: W_eff = W0 + {scaling:g} · {k} × {k} blocks B_mn A_mnᵀ of rank {_share(r, k)} each{beside}."


def _share(r: int, k: int) -> str:
    """r/k; left as a fraction where k does not divide r, which no GraLoRA can have."""
    return f"{r}/{k}" if r % k else str(r // k)
