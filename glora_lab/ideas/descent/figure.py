"""How the loss falls step by step, and the largest stable step of each method."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Any

import numpy as np

from glora_lab.drawing.picture import Picture, draw, draws
from glora_lab.drawing.theme import LINE, by_name, dashes, listed, method_color, note, plain
from glora_lab.drawing.traces import NAMES, Layout, bars, beside, dashed, line

from .record import Descent, StableStep

CEILING = 1000.0  # times the first loss: what climbs above it leaves the picture
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


@draws(Descent)
def draw_descent(descents: Descent | Mapping[str, Descent]) -> Picture:
    """The loss after each step, one line a descent in its method's colour; those of one method differ in dashes.

    In words: of each descent the optimizer, the learning rate, and the loss at first and at the end.

    Args:
        descents: what `descent` returns; one, or several by name.

    Raises:
        ValueError: where there is none.
    """
    named = _named(descents, Descent, "descents")
    first = max(descent.losses[0] for descent in named.values())
    shown = [_shown(descent.losses, CEILING * first) for descent in named.values()]
    drawn = zip(named.items(), shown, dashes(descent.method for descent in named.values()), strict=True)
    lines = [_line(name, descent, losses, dash) for (name, descent), losses, dash in drawn]
    return draw(
        lines,
        _descent_title(named),
        _descents_in_words(named),
        height=340,
        shapes=[dashed(LINE, xref="paper", x0=0, x1=1, y0=first, y1=first)],
        notes=[note(1.0, log10(first), "the first loss", size=11, anchor=("right", "bottom")) | {"yref": "y"}],
        margin={"t": 84},
        xaxis={"title": "step"},
        yaxis={"title": "loss on the batch", "type": "log", "dtick": 1, "exponentformat": "power"},
    )


def _descents_in_words(named: Mapping[str, Descent]) -> str:
    each = (
        f"{name} with {OPTIMIZERS.get(descent.optimizer, descent.optimizer)} at learning rate {descent.lr:.2g}: "
        f"loss {descent.losses[0]:.3g} at first, {_end(descent)} after {len(descent.losses) - 1} steps"
        for name, descent in named.items()
    )
    return f"{'; '.join(each)}."


@draws(StableStep)
def draw_stable_step(steps: StableStep | Mapping[str, StableStep]) -> Picture:
    """The largest stable learning rate of each as a bar, and how it compares with the first.

    In words: each learning rate, and how many times the first's it is.

    Args:
        steps: what `stable_step` returns; one, or several by name.

    Raises:
        ValueError: where there is none.
    """
    named = _named(steps, StableStep, "steps")
    ratios = _ratios(named)
    rates, names = [step.largest for step in named.values()], [plain(name) for name in named]
    text = [f"{step.largest:.2g} (×{ratios[name]:.2f})" for name, step in named.items()]
    colors = [method_color(step.method) for step in named.values()]
    return draw(
        [bars(rates, names, colors, "%{y}: %{x:.3g}<extra></extra>", orientation="h", text=text)],
        _step_title(named, ratios),
        _steps_in_words(named, ratios),
        height=110 + 44 * len(named),
        margin={"t": 48, "l": 120, "r": 120},
        xaxis={"title": "largest stable learning rate", "rangemode": "tozero", "exponentformat": "power"},
        yaxis={"autorange": "reversed", **NAMES},
    )


def _steps_in_words(named: Mapping[str, StableStep], ratios: Mapping[str, float]) -> str:
    first = next(iter(named))
    times = {name: f", {ratio:.2f} times {first}'s" for name, ratio in ratios.items() if name != first}
    each = (f"{name} {step.largest:.2g}{times.get(name, '')}" for name, step in named.items())
    what = "Largest learning rate at which plain gradient descent never leaves the loss above its start"
    return f"{what}: {'; '.join(each)}."


def _named(given: Any, kind: type, argument: str) -> dict[str, Any]:
    named = by_name(given, kind, str(getattr(given, "method", "")))
    if not named:
        raise ValueError(f"`{argument}` (={named}) must be at least one")
    return named


def _shown(losses: np.ndarray, ceiling: float) -> np.ndarray:
    """A log axis has no place for what is not finite, and one that diverged would press the others flat."""
    return np.where(np.isfinite(losses) & (losses < ceiling), losses, np.nan)


def _line(name: str, descent: Descent, losses: np.ndarray, dash: str) -> Layout:
    says, hover = f"{name}, learning rate {descent.lr:.2g}", f"step %{{x}}: %{{y:.4g}}{beside(name)}"
    return line(np.arange(len(losses)), losses, says, method_color(descent.method), hover, dash=dash)


def _end(descent: Descent) -> str:
    return f"{descent.final:.3g}" if np.isfinite(descent.final) else "not finite"


def _descent_title(named: Mapping[str, Descent]) -> str:
    higher = [plain(name) for name, descent in named.items() if not descent.final <= descent.losses[0]]
    lower = [f"{_end(d)} with {plain(name)}" for name, d in named.items() if d.final <= d.losses[0]]
    if len(lower) > 2 and not higher:
        best, worst = (end(named.items(), key=lambda pair: pair[1].final) for end in (min, max))
        return f"The loss ends between {' and '.join(f'{_end(d)} with {plain(name)}' for name, d in (best, worst))}"
    where = [f"above its start with {listed(higher)}"] if higher else []
    return f"The loss ends {', '.join(where + ([f'at {listed(lower)}'] if lower else []))}"


def _ratios(named: Mapping[str, StableStep]) -> dict[str, float]:
    first = next(iter(named.values())).largest
    return {name: step.largest / first for name, step in named.items()}


def _step_title(named: Mapping[str, StableStep], ratios: Mapping[str, float]) -> str:
    name, first = max(ratios, key=lambda name: ratios[name]), next(iter(named))
    if name == first:
        return f"{plain(first)} takes the largest stable step"
    return f"{plain(name)} takes a stable step {ratios[name]:.2f} times as large as {plain(first)}'s"
