"""Closing a widget with all that belongs to it.

A widget stays in ipywidgets' registry, and with it whatever its handlers hold, until it is closed, and closing a box
closes the box alone: its children, and the layout and the style that every widget makes for itself, stay for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import ipywidgets as widgets


def tree(root: widgets.Widget) -> list[widgets.Widget]:
    """The widget and all widgets that its traits and attributes hold, shown at present or not, each once.

    Children, layout, style, the two ends of a link; a list or dict of widgets among the attributes.
    """
    found: dict[int, widgets.Widget] = {}
    waiting = [root]
    while waiting:
        widget = waiting.pop()
        if id(widget) not in found:
            found[id(widget)] = widget
            waiting.extend(_held(widget))
    return list(found.values())


def close_all(root: widgets.Widget) -> None:
    """Close the widget and every widget in it, the innermost first; what a panel's widgets share stays open."""
    for widget in reversed(tree(root)):
        if not getattr(widget, "fixed", False):
            widget.close()


def replace_children(box: widgets.Box, children: Sequence[widgets.Widget]) -> None:
    """The box shows these from now on; what it showed before, and shows no more, is closed."""
    gone = [child for child in box.children if child not in children]
    box.children = tuple(children)
    for child in gone:
        close_all(child)


def _held(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    traits = [getattr(widget, name) for name in widget.keys]
    attributes = [value for name, value in vars(widget).items() if not name.startswith("_trait_")]
    for value in traits + attributes:
        parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else (value,)
        yield from (part for part in parts if isinstance(part, widgets.Widget))
