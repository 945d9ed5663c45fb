"""A panel asked for a list of settings: pictures behind a slider that move where nothing runs.

Decisions. Every frame is what the panel shows when it is set so, computed by the layers beneath it, and kept as a still
picture (SVG) and its words. The pictures lie in the page itself with thirty lines of script, so the page asks nobody
for anything and needs neither a kernel nor plotly. A frame is cut into its elements and each element is kept once:
frames that differ in their bars share their axes. Where scripts are taken out, as on GitHub, the frame that the panel
stood at is what is left, an image, and "k = 4" of its slider.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from glora_lab.arguments import refuse
from glora_lab.drawing.picture import Picture
from glora_lab.folders import replacing

from .figure_slot import FIGURE_LOOK, plain_figure
from .state import HEAD, Settable
from .still_image import Stills, image_of_script, stills

HERE = Path(__file__)
LARGEST = 1_500_000  # bytes of a sweep in a page
MOST_SLIDERS = 2
ELEMENT = re.compile(r"(?=<)")


@dataclass(frozen=True)
class Shown:
    """One picture of a frame: its SVGs, its words, and as HTML the formula above it, where it has one."""

    stills: Stills
    words: str
    formula: str = ""


@dataclass(frozen=True)
class Sweep:
    """What a panel shows at each of its settings, and a page of it: `html`, `save`, or by itself in a cell.

    Attributes:
        panel: the panel's name.
        sliders: name → what its places are called, in their order.
        frames: for each place of the first slider all of the second; the pictures from the top down.
        start: the frame that is seen first.
    """

    panel: str
    sliders: Mapping[str, tuple[str, ...]]
    frames: tuple[tuple[Shown, ...], ...]
    start: int

    @cached_property
    def html(self) -> str:
        """The pictures with their sliders as a part of a page, which needs nothing else."""
        data = _kept_once(self.frames)
        name = f"sweep-{sha256(data.encode()).hexdigest()[:12]}"
        parts = {
            "name": name,
            "panel": html.escape(self.panel),
            "sliders": "".join(self._slider(n, name) for n in range(len(self.sliders))),
            "pictures": "".join(_first(shown) for shown in self.frames[self.start]),
            "data": data.replace("</", "<\\/"),
            "look": FIGURE_LOOK,
        }
        page = HERE.with_suffix(".html").read_text(encoding="utf-8")
        return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)

    def save(self, file: str | Path) -> Path:
        """Write a whole page that holds this and nothing else, and say where."""
        path = Path(file).expanduser()
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.panel)}</title>'
        page += f'<meta name="viewport" content="width=device-width">{self.html}</html>'
        with replacing(path.parent) as beside:
            (beside / path.name).write_text(page, encoding="utf-8")
        return path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        shown = self.frames[self.start]
        return {"text/html": self.html, "text/plain": "\n".join(picture.words for picture in shown)}

    def _slider(self, n: int, name: str) -> str:
        slider, labels = list(self.sliders.items())[n]
        at = self.start // math.prod(len(others) for others in list(self.sliders.values())[n + 1 :]) % len(labels)
        told = html.escape(json.dumps(labels), quote=True)
        return (
            f'<label for="{name}-{n}">{html.escape(slider)}</label><span> = </span><input hidden id="{name}-{n}" '
            f'type="range" min="0" '
            f'max="{len(labels) - 1}" step="1" value="{at}" data-labels="{told}" '
            f'aria-valuetext="{html.escape(labels[at], quote=True)}"> <output>{html.escape(labels[at])}</output> '
        )


def sweep(panel: Settable, **settings: Sequence[Any] | Mapping[str, Mapping[str, Any]]) -> Sweep:
    """What a panel shows at each of these values of one or two of its settings, to be moved without a kernel.

    Args:
        panel: stays as it is; another like it is made, set, and closed again.
        settings: names that its `state` has, with at least two values each: `sweep(BlockPanel(), k=[1, 2, 4, 8])`. Or a
            slider of your own, each place of which sets several:
            `sweep(PathPanel(), paths={"A alone": {"A": "lora", "B": "none"}, "B alone": {"A": "none", "B": "lora"}})`.

    Returns:
        All frames. Where the panel stands at one of them, that is seen first, else the first.

    Raises:
        ValueError: for a setting that the panel does not have or cannot be set to, for a frame without a picture, and
            for more than 1.5 MB: it says how many frames would fit.
    """
    _check(panel, settings)
    sliders = {name: _places(name, values) for name, values in settings.items()}
    asked = [
        {k: v for place in places for k, v in place.items()}
        for places in product(*(p.values() for p in sliders.values()))
    ]
    with _twin(panel) as twin:
        frames = tuple(_frame(twin, panel, values) for values in asked)
    start = next((n for n, values in enumerate(asked) if _stands_at(panel, values)), 0)
    found = Sweep(type(panel).__name__, {name: tuple(places) for name, places in sliders.items()}, frames, start)
    size = len(found.html.encode())
    if size > LARGEST:
        fit = int(len(frames) * LARGEST / size)
        rule = f"makes {len(frames)} frames of {size / 1e6:.1f} MB, over {LARGEST / 1e6:.1f} MB: about {fit} fit"
        raise refuse(" × ".join(settings), list(settings.values()), rule)
    return found


def moved(panel: Settable) -> Sweep | None:
    """The panel with the slider that it names in `moves`; None where fewer than two frames can be."""
    *_, found = [None, *moving(panel)]
    return found


def moving(panel: Settable) -> Generator[Sweep | None]:
    """One step a frame, the last of which has it. Of a panel that follows a training it is the run, step by step."""
    film = getattr(panel, "film", None)
    if film is not None and len(film.frames) > 1:
        steps = tuple(map(str, film.frames))
        yield Sweep(type(panel).__name__, {"step": steps}, tuple(map(_shown, film.frames.values())), len(steps) - 1)
    if not panel.moves or getattr(panel, "session", None) is not None:
        return
    ((slider, values),) = panel.moves.items()
    places = _places(slider, values)
    if not any(_stands_at(panel, place) for place in places.values()):
        here = {"as it is": {}} if isinstance(values, Mapping) else _places(slider, [panel.state[slider]])
        places = {**here, **places}
    made = {}
    with _twin(panel) as twin:
        for label, place in places.items():
            with suppress(ValueError):  # what cannot be beside the other settings has no frame
                made[label] = _frame(twin, panel, place)
            yield None
    if len(made) > 1:
        start = next((n for n, label in enumerate(made) if _stands_at(panel, places[label])), 0)
        yield Sweep(type(panel).__name__, {slider: tuple(made)}, tuple(made.values()), start)


def _places(name: str, values: Sequence[Any] | Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What each place of a slider is called → what is set there."""
    if isinstance(values, Mapping):
        return dict(values)
    return {_label(value): {name: value} for value in values}


def _label(value: Any) -> str:
    """A value as a reader has it: 20,000 of a limit, 0.005 of a rate."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}" if value == round(value) or value >= 1000 else f"{value:g}"
    return str(value)


def _stands_at(panel: Settable, place: Mapping[str, Any]) -> bool:
    now = panel.state
    return all(now[name] == value for name, value in place.items())


@contextmanager
def _twin(panel: Settable) -> Iterator[Settable]:
    """Another panel like this one, of which no page hears."""
    with _unheard():
        twin = type(panel).from_state(panel.state, **panel._own)
    try:
        yield twin
    finally:
        twin.close()


@contextmanager
def _unheard() -> Iterator[None]:
    """Widgets that are made here are told to no page; ipywidgets 7, as in Colab, tells of them by other means."""
    if find_spec("comm") is None:
        yield
        return
    import comm

    usual = comm.create_comm
    comm.create_comm = comm.DummyComm
    try:
        yield
    finally:
        comm.create_comm = usual


def _check(panel: Settable, settings: Mapping[str, Any]) -> None:
    if not isinstance(panel, Settable):
        raise refuse("panel", panel, "must be a panel")
    if not 1 <= len(settings) <= MOST_SLIDERS:
        raise refuse("settings", sorted(settings), f"must be one or {MOST_SLIDERS} of the panel's settings")
    can_be_set = [name for name in panel.state if name not in HEAD]
    for name, values in settings.items():
        if isinstance(values, str) or not isinstance(values, Sequence | Mapping) or len(values) < 2:
            raise refuse(name, values, "must be a list of at least two values")
        for place in _places(name, values).values():
            for one in place if isinstance(place, Mapping) else [name]:
                if one not in can_be_set:
                    listed = ", ".join(can_be_set)
                    raise refuse(one, values, f"is no setting of {type(panel).__name__}, which has {listed}")


def _frame(twin: Settable, panel: Settable, values: Mapping[str, Any]) -> tuple[Shown, ...]:
    """What the twin shows at these values, all else as the panel has it, as far as that goes with them."""
    others = {name: value for name, value in panel.state.items() if name not in HEAD}
    refused = twin._steps.put({**others, **values})
    refused = {name: why for name, why in refused.items() if name in values}
    if refused or twin.problem:
        name, why = next(iter(refused.items()), (" and ".join(values), twin.problem))
        raise refuse(name, values.get(name, list(values.values())), why)
    shown = [place.picture for place in twin.pictured()]
    if not shown:
        raise refuse("panel", type(panel).__name__, f"shows no picture at {dict(values)}")
    return _shown(shown)


def _shown(pictures: Iterable[Picture]) -> tuple[Shown, ...]:
    return tuple(Shown(stills(plain_figure(one)), one.words, one.formula) for one in pictures)


def _kept_once(frames: Iterable[Iterable[Shown]]) -> str:
    """JSON: every element that a frame is made of once, and each frame as numbers of them."""
    numbers: dict[str, int] = {}

    def numbered(svg: str) -> list[int | list[int]]:
        return _runs([numbers.setdefault(element, len(numbers)) for element in ELEMENT.split(svg) if element])

    told = [
        [
            {"svgs": [numbered(svg) for svg in shown.stills], "words": shown.words, "formula": shown.formula}
            for shown in frame
        ]
        for frame in frames
    ]
    return json.dumps({"elements": list(numbers), "frames": told}, ensure_ascii=False, separators=(",", ":"))


def _runs(told: list[int]) -> list[int | list[int]]:
    """Numbers that follow one another as the first and the last of them."""
    ends = [n for n in range(1, len(told)) if told[n] != told[n - 1] + 1]
    runs = [told[a:b] for a, b in pairwise([0, *ends, len(told)])]
    return [run[0] if len(run) == 1 else [run[0], run[-1]] for run in runs]


def _first(shown: Shown) -> str:
    """The picture as a page without scripts has it."""
    return (
        f'<div class="glora-frame"><div>{shown.formula}</div><div class="glora-wide" tabindex="0">'
        f"{image_of_script(shown.stills, shown.words)}</div>"
        f'<p class="glora-says">{html.escape(shown.words)}</p></div>'
    )
