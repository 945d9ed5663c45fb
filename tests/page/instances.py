"""All widgets that are open, by model id, under whichever ipywidgets is here."""

from __future__ import annotations

import ipywidgets as widgets

try:
    from ipywidgets.widgets.widget import _instances
except ImportError:  # ipywidgets 7
    _instances = widgets.Widget.widgets

INSTANCES: dict[str, widgets.Widget] = _instances
