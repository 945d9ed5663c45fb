"""The GLoRA equation as HTML: each path in its colour, underlined where it is on, grey if off, struck if inert.

It stands above every GLoRA picture. Under each term stands its mode, so that the formula is also the legend
of the figure below it; the same content is a sentence for those who cannot see it. Each symbol explains itself.
"""

from __future__ import annotations

import html
from collections.abc import Mapping

from glora_lab.arguments import check_choice

from .checked import checked
from .formula_line import CLEAR, noted, set_line, sign, still, symbol
from .inks import ink
from .theme import FROZEN, PATH_COLORS, PATHS, listed

MODES, FORMS = ("lora", "vector", "constant", "none"), ("elementwise", "product")
PATH_SAYS = {
    "A": "Path A scales the frozen weight, each entry by its own share.",
    "B": "Path B adds to the weight, as LoRA does.",
    "C": "Path C adds to the bias, through the frozen weight: W0·C.",
    "D": "Path D scales the frozen bias, each channel by its own share.",
    "E": "Path E adds to the bias.",
}
W0 = symbol("W<sub>0</sub>", "W0", "W0 is the pretrained weight, which stays frozen.")
W_EFF = symbol(
    "W<sub>eff</sub>", "W_eff", "W_eff is the weight that the layer works with: W0 and all that is added to it."
)
_B0 = symbol("b<sub>0</sub>", "b0", "b0 is the pretrained bias, which stays frozen.")
_B_EFF = symbol(
    "b<sub>eff</sub>", "b_eff", "b_eff is the bias that the layer works with: b0 and all that is added to it."
)
_BY_ENTRY = symbol("⊙", "times, entry by entry", "⊙ multiplies entry by entry.")
_PRODUCT = symbol("·", "times", "· is the matrix product.")
_PLAIN_TERMS = {"A": "W0⊙A", "B": "B", "C": "W0·C", "D": "b0⊙D", "E": "E"}


@checked
def equation(modes: Mapping[str, str], inert: Mapping[str, str] | None = None, form: str = "elementwise") -> str:
    """W_eff = W0 + W0⊙A + B and b_eff = b0 + b0⊙D + E + W0·C (arXiv 2306.07967) as an HTML fragment.

    Args:
        modes: path → mode; a path that is missing counts as "none".
        inert: path → reason, for paths that are asked for and can do nothing; they are struck.
        form: "elementwise" writes W0⊙A, "product" writes W0·A.
    """
    _check(modes, form)
    inert = dict(inert or {})
    before = {"A": W0 + (_PRODUCT if form == "product" else _BY_ENTRY), "C": W0 + _PRODUCT, "D": _B0 + _BY_ENTRY}
    shown = {path: _term(path, before.get(path, ""), modes.get(path, "none"), inert.get(path, "")) for path in PATHS}
    plus = sign("+")
    weight = f"{still(W_EFF)}{sign('=')}{still(W0)}{plus}{shown['A']}{plus}{shown['B']}"
    bias = f"{still(_B_EFF)}{sign('=')}{still(_B0)}{plus}{shown['D']}{plus}{shown['E']}{plus}{shown['C']}"
    reasons = "".join(
        f'<div style="font-size:.85em;line-height:1.5"><b>{path}</b> is inert: {html.escape(inert[path])}.</div>'
        for path in PATHS
        if path in inert
    )
    line = set_line([weight, bias], describe_equation(modes, inert, form))
    return f'<div class="glora-equation">{line}{reasons}</div>'


@checked
def describe_equation(
    modes: Mapping[str, str], inert: Mapping[str, str] | None = None, form: str = "elementwise"
) -> str:
    """W_eff and b_eff in one sentence: which terms are there, which are off, which are inert and why.

    Args:
        modes, inert, form: as `equation` takes them.
    """
    _check(modes, form)
    inert = dict(inert or {})
    names = {**_PLAIN_TERMS, "A": "W0·A" if form == "product" else "W0⊙A"}
    on = [path for path in PATHS if modes.get(path, "none") != "none" and path not in inert]
    weight = " + ".join(["W0", *(names[path] for path in "AB" if path in on)])
    bias = " + ".join(["b0", *(names[path] for path in "DEC" if path in on)])
    parts = [f"W_eff = {weight}; b_eff = {bias}"]
    if on:
        parts.append(", ".join(f"{path} {modes[path]}" for path in on))
    off = [path for path in PATHS if path not in on and path not in inert]
    if off:
        parts.append(f"{listed(off)} off")
    parts += [f"{path} inert: {inert[path]}" for path in PATHS if path in inert]
    return ". ".join(parts) + "."


def _check(modes: Mapping[str, str], form: str) -> None:
    for path, mode in modes.items():
        check_choice("modes", path, PATHS)
        check_choice(f"modes[{path!r}]", mode, MODES)
    check_choice("form", form, FORMS)


def _term(path: str, before: str, mode: str, reason: str) -> str:
    """One term over its mode. Grey is never the only sign: the line below says off or inert."""
    state = "inert" if reason else "off" if mode == "none" else "on"
    color = ink(PATH_COLORS[path] if state == "on" else FROZEN)
    says = {"inert": f"It is inert: {reason}.", "off": "It is off.", "on": f"It is on: {mode}."}[state]
    letter = symbol(f"<b>{path}</b>", path, f"{PATH_SAYS[path]} {says}", f"color:{color}")
    look = {
        "inert": f"color:{color};text-decoration:line-through;{CLEAR}",
        "off": f"color:{color};{CLEAR}",
        "on": f"border-bottom:3px solid {PATH_COLORS[path]}",
    }[state]
    return noted(before + letter, mode if state == "on" else state, look=look, data_path=path, data_state=state)
