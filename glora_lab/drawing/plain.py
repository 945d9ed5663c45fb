"""A figure as the JSON that plotly's script draws, from traces and a layout as the library writes them.

Decisions. plotly's own way there builds an object for each setting and checks it, which takes more than half of a
moved slider's time in the kernel. The library's figures are written once and tested, each against what plotly makes
of it; what plotly's objects would add on the way is added here. Arrays are packed as plotly 6 packs them.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import plotly
import plotly.graph_objects as go

from .theme import TEMPLATE

PACKS = int(plotly.__version__.split(".")[0]) >= 6
FIRST_AXIS, FIRST = re.compile(r"^([xy]axis)1$"), re.compile(r"^([xy])1\b")  # plotly calls it xaxis, and x
NAMING = ("xaxis", "yaxis", "xref", "yref", "anchor", "overlaying", "scaleanchor", "matches")
NARROWED = {"i8": ("i1", "i2", "i4"), "u8": ("u1", "u2", "u4")}
PACKED = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


def plain(traces: list[dict[str, Any]], layout: Mapping[str, Any]) -> dict[str, Any]:
    """Traces and layout, of numpy arrays and plain values, as JSON's: `{"data": …, "layout": …}`."""
    told = {key: value for key, value in layout.items() if key != "template" and value not in ([], ())}
    return {"data": [_value(trace) for trace in traces], "layout": {**_value(told), "template": _template()}}


@cache
def _template() -> dict[str, Any]:
    found: dict[str, Any] = TEMPLATE.to_plotly_json()
    return found


def _value(given: Any, name: str = "") -> Any:
    if isinstance(given, np.ndarray):
        return _array(given)
    if isinstance(given, Mapping):
        return {FIRST_AXIS.sub(r"\1", key): _value(value, key) for key, value in given.items() if value is not None}
    if isinstance(given, str):
        return _text(given, name)
    if isinstance(given, list | tuple | range):
        return [_value(one) for one in given]
    if isinstance(given, np.generic):
        given = given.item()
    return None if isinstance(given, float) and not math.isfinite(given) else given


def _text(given: str, name: str) -> Any:
    """What a text stands for where plotly takes one for short."""
    if name == "title":
        return {"text": given}
    if name == "colorscale":
        return _scale(given)
    return FIRST.sub(r"\1", given) if name in NAMING else given


@cache
def _scale(name: str) -> list[list[Any]]:
    return [list(stop) for stop in go.layout.Coloraxis(colorscale=name).colorscale]


def _array(given: np.ndarray) -> Any:
    kind = given.dtype.str.lstrip("<|=")
    if kind in NARROWED and given.size:  # a page has no integers of eight bytes
        low, high = int(given.min()), int(given.max())
        fits = (one for one in NARROWED[kind] if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
        kind = next(fits, "")
    if not PACKS or not given.size or kind not in PACKED:
        return _value(given.tolist())
    packed = base64.b64encode(np.ascontiguousarray(given, dtype=kind).tobytes()).decode()
    shape = {"shape": ", ".join(map(str, given.shape))} if given.ndim > 1 else {}
    return {"dtype": kind, "bdata": packed, **shape}
