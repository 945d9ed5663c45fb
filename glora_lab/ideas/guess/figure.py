"""Guess and answer side by side, on one axis or among the options, and the same in kind words.

HTML and no plotly: a line with two marks is there at once, and on pages that draw no figures.
"""

from __future__ import annotations

import html
import math

from glora_lab.drawing.theme import FROZEN, RIGHT

from .record import Guessed

CLOSE = 0.05  # of the axis
MOST_TICKS = 9
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# The text is the page's own, and a middle grey where a page has none; both marks keep 3:1 on white and on black.
STYLE = f"""<style>
.glora-guess {{ color: var(--jp-content-font-color1, #757575); line-height: 1.4; max-width: 640px;
  container: glora-guess / inline-size; }}
.glora-guess p {{ margin: 2px 0; line-height: 1.4; }}
.glora-guess .noUi-target, .glora-guess .noUi-connects {{ background: {FROZEN}; }}
.glora-guess .noUi-handle {{ background: var(--jp-content-font-color1, #757575); border: 0; }}
.glora-guess .glora-guess-verdict {{ padding: 2px 6px; }}
.glora-guess-verdict:focus {{ outline: 2px solid {FROZEN}; outline-offset: -2px; }}
.glora-guess-axis {{ position: relative; height: 88px; margin: 0 79px 0 94px; font-size: 12px; }}
.glora-guess-axis span {{ position: absolute; white-space: nowrap; }}
.glora-guess-axis .line {{ left: 0; right: 0; top: 32px; border-top: 2px solid {FROZEN}; }}
.glora-guess-axis .tick {{ top: 33px; height: 6px; border-left: 1px solid {FROZEN}; }}
.glora-guess-axis .number {{ top: 48px; transform: translateX(-50%); }}
.glora-guess-axis .mark {{ top: 17px; border: 8px solid transparent; border-bottom: 0; margin-left: -8px; }}
.glora-guess-axis .answer {{ top: 34px; border: 8px solid transparent; border-top: 0; margin-left: -8px; }}
.glora-guess-axis.bare {{ height: 24px; margin-top: -12px; }}
.glora-guess-axis.bare .line {{ display: none; }}
.glora-guess-axis.bare .tick {{ top: 0; }}
.glora-guess-axis.bare .number {{ top: 5px; }}
@container glora-guess (max-width: 480px) {{
  .glora-guess .widget-hslider .widget-label {{ display: none; }}
  .glora-guess-axis {{ margin-left: 6px; }}
  .glora-guess-axis .number:nth-child(4n + 1) {{ display: none; }}
}}
.glora-guess-choice {{ display: inline-block; margin: 2px 10px 2px 0; padding: 2px 8px;
  border: 2px solid transparent; }}
.glora-waits {{ margin: 8px 0; padding: 6px 10px; border-left: 4px solid {FROZEN}; line-height: 1.4;
  color: var(--jp-content-font-color1, #757575); }}
</style>"""


def guess_in_words(record: Guessed) -> str:
    """What was guessed and what is so, kindly; "" as long as the answer may not be shown."""
    if not record.decided:
        return ""
    guess, so = (said(known, record.unit) for known in (record.value, record.answer))
    if record.answer is None:
        return "" if record.value is None else f"You guessed {guess}. The answer comes below."
    if record.value is None:
        return f"It is {so}."
    if guess.casefold() == so.casefold():
        return f"You guessed {guess}, and so it is."
    if record.between and abs(record.place(record.value) - record.place(record.answer)) <= CLOSE:  # type: ignore[arg-type]
        return f"You guessed {guess}; it is {so}. Close."
    return f"You guessed {guess}; it is {so}. Where a guess is off there is something to learn: see why."


def draw_guess(record: Guessed) -> str:
    """The axis, or the options, as HTML: before the guess its ticks alone, then the guess, then the answer as well."""
    words = guess_in_words(record)
    picture = _axis(record) if record.between else _choices(record) if record.options and words else ""
    shown = f'<div aria-hidden="true">{picture}</div>' if picture else ""
    sentence = f'<p role="status" tabindex="-1" class="glora-guess-verdict">{html.escape(words)}</p>' if words else ""
    return shown + sentence


def said(value: float | str | None, unit: str = "") -> str:
    """A number as people read it, with its unit: 20,971,520; 23.4%; 2·10⁻⁷. A text as it is."""
    if not isinstance(value, float | int):
        return str(value)
    size = abs(value)
    if size >= 1000 or value == round(value):
        text = f"{value:,.0f}"
    elif size >= 1e-3:
        text = f"{value:.3g}"
    else:
        power = math.floor(math.log10(size))
        text = f"{value / 10**power:.2g}·10{str(power).translate(SUPERSCRIPT)}"
    return f"{text}{unit}" if unit == "%" else f"{text} {unit}".rstrip()


def ticks(record: Guessed) -> list[float]:
    """Round numbers on the axis, at most nine: powers of ten where it is logarithmic."""
    assert record.between is not None, "a question without an axis"
    low, high = record.between
    if record.log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        every = math.ceil((last - first + 1) / MOST_TICKS)
        return [10.0**power for power in range(first, last + 1, every)]
    rough = (high - low) / (MOST_TICKS - 1)
    scale = 10 ** math.floor(math.log10(rough))
    step = next(scale * times for times in (1, 2, 5, 10) if scale * times >= rough * (1 - 1e-9))
    if float(low).is_integer() and float(high).is_integer():
        step = max(1.0, step)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(record: Guessed) -> str:
    parts = ['<span class="line"></span>']
    for tick in ticks(record):
        left = f"left:{record.place(tick):.2%}"
        parts += [
            f'<span class="tick" style="{left}"></span>',
            f'<span class="number" style="{left}">{_short(tick)}</span>',
        ]
    if record.decided:
        if isinstance(record.value, float | int):
            label = f"your guess: {said(record.value, record.unit)}"
            parts += _mark(record, record.value, label, "mark", f"border-top:13px solid {FROZEN}", -2)
        if isinstance(record.answer, float | int):
            label = f"it is {said(record.answer, record.unit)}"
            parts += _mark(record, record.answer, f"<b>{label}</b>", "answer", f"border-bottom:13px solid {RIGHT}", 66)
    bare = "" if record.decided else " bare"  # the slider above it is the line
    return f'<div class="glora-guess-axis{bare}">{"".join(parts)}</div>'


def _mark(record: Guessed, number: float, label: str, kind: str, look: str, top: int) -> list[str]:
    """A triangle at the number, its label beside it: an edge of the axis is one of the label's too."""
    at = record.place(number)
    return [
        f'<span class="{kind}" style="left:{at:.2%};{look}"></span>',
        f'<span style="left:{at:.2%};top:{top}px;transform:translateX(-{at:.2%})">{label}</span>',
    ]


def _choices(record: Guessed) -> str:
    shown = []
    for option in record.options:
        notes, look = [], ""
        if option == record.value:
            notes, look = ["your guess"], f"border:2px dashed {FROZEN}"
        if option == record.answer:
            notes, look = [*notes, "✓ so it is"], f"border:2px solid {RIGHT}"
        note = f" ({', '.join(notes)})" if notes else ""
        shown.append(f'<span class="glora-guess-choice" style="{look}">{html.escape(option)}{note}</span>')
    return "".join(shown)


def _short(tick: float) -> str:
    for size, letter in ((1e9, " B"), (1e6, " M"), (1e4, "")):
        if abs(tick) >= size:
            return f"{tick / size:,.3g}{letter}" if letter else f"{tick:,.0f}"
    if 0 < abs(tick) < 1e-3:
        return said(tick).removeprefix("1·")
    return f"{tick:.4g}"
