"""Layouts and styles, each once in a panel: ipywidgets makes one of each for every widget, half of all there are.

Every widget is a model in the page, opened, kept and asked for again at each reload. Most layouts and many styles are
equal, so the widgets of one panel share them. What is shared cannot be changed, for that would change every widget that
has it: a widget whose look changes is given a `Layout` of its own, or a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import ipywidgets as widgets


class Fixed(widgets.Widget):
    """Before Layout or a style among the bases: nothing can be set once it is shared."""

    fixed = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self.fixed and name in self.keys:
            kind = "layout" if isinstance(self, widgets.Layout) else "style"
            raise AttributeError(
                f"`{name}` (={value!r}) must not be set on a {kind} that several widgets share: give the widget one of "
                f"its own, as in widget.{kind} = {{{name!r}: {value!r}}}"
            )
        super().__setattr__(name, value)


class Looks:
    """The layouts and styles that a panel's widgets share, by kind and settings."""

    def __init__(self) -> None:
        self._made: dict[tuple[type, tuple[tuple[str, Any], ...]], Fixed] = {}

    def of(self, kind: type[widgets.Widget], settings: Mapping[str, Any]) -> widgets.Widget:
        key = kind, tuple(sorted(settings.items()))
        if key not in self._made:
            self._made[key] = _fixed(kind)(**settings)
            self._made[key].fixed = True
        return self._made[key]

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Widgets that are made in the block share these."""
        token = LOOKS.set(self)
        try:
            yield
        finally:
            LOOKS.reset(token)

    def close(self) -> None:
        for look in self._made.values():
            look.close()
        self._made.clear()


LOOKS: ContextVar[Looks | None] = ContextVar("the looks of the panel that makes widgets", default=None)


class Frugal(widgets.Widget):
    """Before a widget among the bases: in a panel its layout and style, where they are none or a dict, are shared."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        looks = LOOKS.get()
        for name in ("layout", "style"):
            asked = settings.get(name, {})
            if looks is not None and hasattr(type(self), name) and isinstance(asked, dict):
                settings[name] = looks.of(getattr(type(self), name).klass, asked)
        super().__init__(*args, **settings)


FIXED: dict[type[widgets.Widget], type[Fixed]] = {}


def _fixed(kind: type[widgets.Widget]) -> type[Fixed]:
    if kind not in FIXED:
        FIXED[kind] = type(f"Shared{kind.__name__}", (Fixed, kind), {})
    return FIXED[kind]
