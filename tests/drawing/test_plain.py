"""A figure's JSON without plotly's objects: the same as with them, for every panel, and JSON in any case."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from glora_lab import panels
from glora_lab.drawing.picture import Picture, draw
from glora_lab.drawing.still.values import TYPES, _unpacked

PANELS = [getattr(panels, name) for name in panels.__all__ if name.endswith("Panel") and name != "Panel"]


def told(plain: Any) -> Any:
    """A figure's JSON as a page reads it, arrays unpacked."""
    return _read(json.loads(json.dumps(plain, allow_nan=False)))


def as_plotly_says(figure: go.Figure) -> Any:
    return _read(json.loads(figure.to_json()))


def _read(value: Any) -> Any:
    if isinstance(value, dict) and {"dtype", "bdata"} <= value.keys():
        return _read(_unpacked(value).tolist())
    if isinstance(value, dict):
        return {key: _read(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_read(one) for one in value]
    return None if isinstance(value, float) and value != value else value


@pytest.mark.parametrize("kind", PANELS, ids=lambda kind: kind.__name__)
def test_a_page_is_given_what_plotly_would_make(kind: type[panels.Panel]) -> None:
    panel = kind()
    pictures = [place.picture for place in panel.pictured()]
    assert pictures or kind is panels.XrayPanel  # it waits for a model of the reader's
    for picture in pictures:
        assert told(picture.plain()) == as_plotly_says(picture.figure)
    panel.close()


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, 300, -2]),
        np.array([[0, 255]]),
        np.array([[0, 255]], np.uint64),
        np.array([7, 8], np.int32),
        np.array([2**40, 1]),
        np.array([0.5, np.nan], np.float32),
        np.array([[0.1, 0.2], [0.3, 0.4]]),
        np.array(["a", "b"]),
        np.array([True, False]),
        np.zeros((0,)),
        np.arange(6.0).reshape(2, 3).T,
    ],
    ids=str,
)
def test_arrays_are_packed_as_plotly_packs_them(array: np.ndarray) -> None:
    trace = {"type": "heatmap", "z": array} if array.ndim == 2 else {"type": "scatter", "y": array}
    picture = draw([trace], "an array", "", height=200)
    theirs, ours = json.loads(picture.figure.to_json())["data"], picture.plain()["data"]
    assert json.loads(json.dumps(ours)) == theirs


def test_short_forms_are_written_out() -> None:
    look = {
        "xaxis1": {"title": "i", "anchor": "y1"},
        "yaxis": {"title": None, "anchor": "x1"},
        "coloraxis": {"colorscale": "Cividis"},
    }
    heatmap = {"type": "heatmap", "z": np.eye(3), "coloraxis": "coloraxis", "xaxis": "x1", "x": (0, 1, 2)}
    note = {"text": "here", "x": np.float32(1), "y": 0, "xref": "x domain"}
    picture = draw([heatmap], "short", "", height=200, notes=[note], **look)
    assert told(picture.plain()) == as_plotly_says(picture.figure)


def test_a_figure_of_ones_own_is_a_picture_too() -> None:
    own = go.Figure(go.Scatter(y=[1, 2]), layout={"height": 300})
    picture = Picture(own, "mine")
    assert picture.figure is own and picture.height == 300 and picture.plain() == json.loads(own.to_json())
    assert Picture(go.Figure(), "empty").height == 450


def test_the_kinds_of_arrays_are_those_that_pictures_read() -> None:
    assert set(TYPES) >= {"i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"}
