"""The GLoRA equation as HTML: each path in its colour, lit where it is on, dimmed if off, struck if inert.

It stands above every GLoRA picture. Under each term stands its mode, so that the formula is also the legend
of the figure below it; the same content is a sentence for those who cannot see it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping

from .formula_line import CLEAR, noted, set_line, sign, still
from .theme import PATH_COLORS, PATHS, listed

# Terms as (path or None, HTML): W₀ stands for itself, the others belong to a path.
_W0, _B0 = "W<sub>0</sub>", "b<sub>0</sub>"
_LETTER = {path: f'<b style="color:{color}">{path}</b>' for path, color in PATH_COLORS.items()}
_PLAIN_TERMS = {"A": "W0⊙A", "B": "B", "C": "W0·C", "D": "b0⊙D", "E": "E"}


def equation(modes: Mapping[str, str], inert: Mapping[str, str] | None = None, form: str = "elementwise") -> str:
    """W_eff = W0 + W0⊙A + B and b_eff = b0 + b0⊙D + E + W0·C as an HTML fragment.

    Args:
        modes: path → mode; a path that is missing counts as "none".
        inert: path → reason, for paths that are asked for and can do nothing; they are struck.
        form: "elementwise" writes W0⊙A, "product" writes W0·A.
    """
    inert = dict(inert or {})
    times = "·" if form == "product" else "⊙"
    terms = {
        "A": f"{_W0}{times}{_LETTER['A']}",
        "B": _LETTER["B"],
        "C": f"{_W0}·{_LETTER['C']}",
        "D": f"{_B0}⊙{_LETTER['D']}",
        "E": _LETTER["E"],
    }
    shown = {path: _term(path, terms[path], modes.get(path, "none"), inert.get(path, "")) for path in PATHS}
    plus = sign("+")
    weight = f"{still('W<sub>eff</sub>')}{sign('=')}{still(_W0)}{plus}{shown['A']}{plus}{shown['B']}"
    bias = f"{still('b<sub>eff</sub>')}{sign('=')}{still(_B0)}{plus}{shown['D']}{plus}{shown['E']}{plus}{shown['C']}"
    reasons = "".join(
        f'<div style="font-size:.85em;line-height:1.5">{_LETTER[path]} is inert: {html.escape(inert[path])}.</div>'
        for path in PATHS
        if path in inert
    )
    line = set_line([weight, bias], describe_equation(modes, inert, form))
    return f'<div class="glora-equation">{line}{reasons}</div>'


def describe_equation(
    modes: Mapping[str, str], inert: Mapping[str, str] | None = None, form: str = "elementwise"
) -> str:
    """The same in one sentence: which terms are there, which are off, which are inert and why."""
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


def _term(path: str, term: str, mode: str, reason: str) -> str:
    """One term over its mode. Dimming is never the only sign: the line below says off or inert."""
    color = PATH_COLORS[path]
    if reason:
        title, note, look = (f"{path} is inert: {reason}", "inert", f"opacity:.6;text-decoration:line-through;{CLEAR}")
    elif mode == "none":
        title, note, look = f"{path} is off", "off", f"opacity:.45;{CLEAR}"
    else:
        title, note, look = f"{path} is on: {mode}", mode, f"border-bottom:3px solid {color}"
    state = "inert" if reason else "off" if mode == "none" else "on"
    return noted(term, note, look=look, title=title, data_path=path, data_state=state)
