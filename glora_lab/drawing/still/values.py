"""Plotly's arrays, and its numbers as it writes them."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

TYPES = {"i1": "<i1", "u1": "<u1", "i2": "<i2", "u2": "<u2", "i4": "<i4", "u4": "<u4", "f4": "<f4", "f8": "<f8"}


def values(data: Any) -> list[Any]:
    """A list from a list, or from what plotly packs in base64; nan for None among numbers is left as None."""
    if isinstance(data, dict):
        return list(_unpacked(data).tolist())
    return [] if data is None else list(data)


def grid(data: Any) -> np.ndarray:
    """A heatmap's z, (rows, columns), nan where there is nothing."""
    if isinstance(data, dict):
        return _unpacked(data).astype(float)
    rows = [[math.nan if z is None else float(z) for z in row] for row in data]
    return np.array(rows, dtype=float).reshape(len(rows), -1)


def _unpacked(data: dict[str, Any]) -> np.ndarray:
    shape = [int(n) for n in str(data["shape"]).split(",")] if "shape" in data else [-1]
    return np.frombuffer(base64.b64decode(data["bdata"]), TYPES[data["dtype"]]).reshape(shape)


def each(setting: Any, count: int) -> list[Any]:
    """A setting of a trace's marks, one for each: plotly takes one for all as well."""
    if isinstance(setting, list | tuple | dict):
        found = values(setting)
        return found + [None] * (count - len(found))
    return [setting] * count


def number(value: float, form: str = "") -> str:
    """A number on an axis: 0.05, 200, 20k, 3M."""
    if form and form != "d":
        kept = f"#{form}" if form.endswith("g") else form  # as d3 writes them, zeros at the end kept
        return f"{value:{kept}}".removesuffix(".").replace("-", "−")
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{letter}".replace("-", "−")
    return f"{value + 0.0:.4g}".replace("-", "−")
