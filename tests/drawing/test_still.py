"""Still pictures: what plotly would draw, where it would, for the figures that the library has."""

from __future__ import annotations

import ast
import base64
import json
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from glora_lab.drawing.inks import INKS, still_class
from glora_lab.drawing.picture import draw
from glora_lab.drawing.still import KINDS, still
from glora_lab.drawing.still.axes import Axis
from glora_lab.drawing.still.values import number, values
from glora_lab.drawing.still.words import written
from glora_lab.drawing.theme import METHOD_COLORS, note, plain
from tests.source import PACKAGE

SVG = "{http://www.w3.org/2000/svg}"


def picture(*traces: dict[str, Any], title: str = "a finding", height: int = 300, **layout: Any) -> ET.Element:
    return ET.fromstring(still(json.loads(draw(traces, title, "", height=height, **layout).figure.to_json())))


def rectangles(root: ET.Element, color: str) -> list[tuple[float, ...]]:
    """x, y, width and height of those in a colour."""
    found = [r for r in root.iter(f"{SVG}rect") if r.get("fill", "").lower() == color.lower()]
    return [tuple(float(r.get(key, "nan")) for key in ("x", "y", "width", "height")) for r in found]


def texts(root: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_values_and_stand_on_one_another() -> None:
    bar = {"type": "bar", "orientation": "h", "y": ["one", "two"], "xaxis": "x", "yaxis": "y"}
    first = {**bar, "x": [1, 2], "marker": {"color": "#111111"}, "showlegend": False}
    second = {**bar, "x": np.array([3.0, 1.0]), "marker": {"color": "#222222"}, "showlegend": False}
    root = picture(first, second, barmode="stack", xaxis={"range": (0, 4)}, yaxis={"autorange": "reversed"})
    (ax, ay, aw, ah), (bx, by, bw, _) = rectangles(root, "#111111")
    (cx, cy, cw, _), (dx, _, _, _) = rectangles(root, "#222222")
    assert bw == pytest.approx(2 * aw, abs=0.2) and cw == pytest.approx(3 * aw, abs=0.2)
    assert cx == pytest.approx(ax + aw, abs=0.2) and dx == pytest.approx(bx + bw, abs=0.2)
    assert ay == cy < by and by - ay > ah  # the first category above the second, with a gap
    assert {"one", "two", "a finding"} <= set(texts(root))


def test_bars_beside_one_another_share_a_place() -> None:
    traces = [
        {"type": "bar", "x": ["p"], "y": [v], "marker": {"color": c}} for v, c in ((1, "#111111"), (2, "#222222"))
    ]
    root = picture(*traces, barmode="group")
    ((ax, _, aw, ah),), ((bx, _, _, bh),) = rectangles(root, "#111111"), rectangles(root, "#222222")
    assert bx == pytest.approx(ax + aw, abs=0.2) and bh == pytest.approx(2 * ah, abs=0.3)


def test_a_line_passes_its_points_and_breaks_where_one_is_missing() -> None:
    line = {"type": "scatter", "mode": "lines", "x": [0, 1, 2, 3], "y": [0, 10, None, 5], "line": {"color": "#123456"}}
    root = picture(line, xaxis={"range": (0, 4)}, yaxis={"range": (0, 10)}, margin={"l": 100, "r": 0, "t": 50, "b": 50})
    (path,) = [p.get("d", "") for p in root.iter(f"{SVG}path") if p.get("stroke") == "#123456"]
    assert re.findall(r"[ML][^ML]*", path) == ["M100.0 250.0", "L300.0 50.0", "M700.0 150.0"]


def test_a_log_axis_places_by_powers_notes_by_exponents_and_shapes_by_values() -> None:
    dots = {"type": "scatter", "mode": "markers", "x": [1, 100], "y": [0, 0]}
    shape = {"type": "line", "x0": 10, "x1": 10, "y0": 0, "y1": 1, "line": {"color": "#abcdef"}, "yref": "paper"}
    told = note(1, 0, "ten", xref="x", yref="paper")
    sides = {"l": 100, "r": 0, "t": 0, "b": 0}
    root = picture(dots, notes=[told], shapes=[shape], xaxis={"type": "log", "range": (0, 2)}, margin=sides)
    assert [float(c.get("cx", "nan")) for c in root.iter(f"{SVG}circle")] == [100, 900]
    assert [p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == "#abcdef"] == ["M500.0 300.0L500.0 0.0"]
    assert [t.get("x") for t in root.iter(f"{SVG}text") if t.text == "ten"] == ["500.0"]


def test_an_axis_at_the_right_has_its_ticks_and_title_there() -> None:
    line = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "xaxis": "x", "yaxis": "y", "name": ""}
    for side, beyond in (("left", lambda x: x < 60), ("right", lambda x: x > 600)):
        root = picture(line, yaxis={"side": side, "title": "error", "tickvals": [0.5]}, xaxis={"tickvals": []})
        found = {"".join(text.itertext()): text for text in root.iter(f"{SVG}text")}
        tick, title = found["0.5"], found["error"]
        assert tick.get("text-anchor") == {"left": "end", "right": "start"}[side]
        assert beyond(float(tick.get("x", "nan"))) and "rotate(-90" in title.get("transform", "")


def test_few_cells_are_rectangles_with_their_texts() -> None:
    z = [[0.0, 1.0], [None, 0.5]]
    heatmap = {"type": "heatmap", "z": z, "colorscale": [[0, "#000000"], [1, "#ff0000"]], "texttemplate": "%{z:.1f}"}
    root = picture(heatmap, yaxis={"range": (1.5, -0.5)})
    ((left, top, width, height),), ((right, beside, _, _),) = rectangles(root, "#000000"), rectangles(root, "#ff0000")
    assert top == beside and right == pytest.approx(left + width, abs=0.2)
    ((_, below, _, _),) = rectangles(root, "#840000")
    assert below == pytest.approx(top + height, abs=0.2)
    assert [t for t in texts(root) if t in ("0.0", "0.5", "1.0")][:3] == ["0.0", "1.0", "0.5"]


@pytest.mark.parametrize("reversed_", [False, True])
def test_many_cells_are_one_image_the_right_way_up(reversed_: bool) -> None:
    z = np.arange(900.0).reshape(30, 30)
    heatmap = {"type": "heatmap", "z": z, "colorscale": [[0, "#000000"], [1, "#ff0000"]], "showscale": False}
    ends = (29.5, -0.5) if reversed_ else (-0.5, 29.5)
    (image,) = picture(heatmap, yaxis={"range": ends}).iter(f"{SVG}image")
    png = base64.b64decode(image.get("href", "").removeprefix("data:image/png;base64,"))
    assert png.startswith(b"\x89PNG") and struct.unpack(">II", png[16:24]) == (30, 30)
    start = png.index(b"IDAT")
    rows = zlib.decompress(png[start + 4 : start + 4 + struct.unpack(">I", png[start - 4 : start])[0]])
    first, last = rows[1], rows[-1]  # the numbers in the palette of the top left, and of the bottom right
    assert first < 2 and last > 29 if reversed_ else first > 29 and last < 2


def test_what_users_call_things_stays_text() -> None:
    name = '<script>alert(1)</script> & \x00 "layer" ]]>'
    root = picture({"type": "bar", "x": [plain(name)], "y": [1], "name": plain(name)}, title=plain(name))
    assert root.tag == f"{SVG}svg" and not list(root.iter(f"{SVG}script"))
    assert any("<script>alert(1)</script>" in text for text in texts(root))


def test_words_have_plotlys_five_tags() -> None:
    text = ET.fromstring(
        written(0, 0, "<b>W<sub>0</sub></b>x<br><span style='font-size:11px; color:#123456'>y</span>", {})
    )
    assert "".join(text.itertext()) == "W0xy"
    marks = {span.text: span.attrib for span in text.iter("tspan") if span.text}
    assert marks["W"]["font-weight"] == marks["0"]["font-weight"] == "bold" and marks["0"]["dy"] == "0.3em"
    assert marks["x"] == {"dy": "-0.3em"} and marks["y"] == {"font-size": "11px", "fill": "#123456"}


def test_ticks_are_where_people_expect_them() -> None:
    def ticks(low: float, high: float, **spec: Any) -> list[str]:
        return [text for _, text in Axis("x", {"range": (low, high), "title": {}, **spec}, [], [], 0, 400).ticks()]

    assert ticks(0, 10) == ["0", "2", "4", "6", "8", "10"]
    assert ticks(0, 1, tickformat=".0%") == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert ticks(-0.5, 3.5, dtick=1, tick0=0) == ["0", "1", "2", "3"]
    assert ticks(0, 2, type="log") == ["1", "10", "100"]
    assert ticks(-2, 1, type="log", exponentformat="power") == ["10<sup>−2</sup>", "10<sup>−1</sup>", "1", "10"]
    assert ticks(0, 5, tickvals=[1, 4, 9], ticktext=["one", "four", "nine"]) == ["one", "four"]


@pytest.mark.parametrize(("value", "says"), [(0.0, "0"), (-0.5, "−0.5"), (2000, "2000"), (20_000, "20k"), (3e6, "3M")])
def test_numbers_are_short(value: float, says: str) -> None:
    assert number(value) == says


def test_packed_arrays_are_read_in_their_shape() -> None:
    packed = {"dtype": "i2", "bdata": base64.b64encode(np.arange(6, dtype="<i2").tobytes()).decode(), "shape": "2, 3"}
    assert values(packed) == [[0, 1, 2], [3, 4, 5]]


def test_a_kind_of_trace_that_is_not_known_is_refused() -> None:
    pie = json.loads(go.Figure({"data": [{"type": "pie", "values": [1]}]}).to_json())
    with pytest.raises(ValueError, match=r"`type` \(='pie'\) of a trace must be one of bar, heatmap, scatter"):
        still(pie)


def test_every_kind_that_a_figure_draws_is_known() -> None:
    drawn = set()
    for module in [*(PACKAGE / "drawing").glob("*.py"), *(PACKAGE / "ideas").glob("*/figure*.py")]:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Dict):
                pairs = {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
                kind = pairs.get("type")
                if isinstance(kind, ast.Constant) and kind.value not in ("category", "log", "line", "rect"):
                    drawn.add(kind.value)
    assert drawn == set(KINDS)


def test_the_same_figure_is_the_same_picture() -> None:
    """So that a notebook that is run again differs in nothing."""
    code = (
        "import json; from glora_lab.drawing.still import still; from glora_lab.drawing.picture import draw\n"
        "scale = {'colorscale': [[0, '#000000'], [1, '#ff0000']], 'z': [[1, 2]], 'type': 'heatmap'}\n"
        "print(still(json.loads(draw([scale], 'same', '', height=300).figure.to_json())))\n"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50).stdout
        for _ in range(2)
    )
    assert first.startswith("<svg") and first == second


def test_text_has_a_shade_for_light_pages_and_one_for_dark_and_a_mark_the_same_for_both() -> None:
    color, (light, dark) = METHOD_COLORS["GraLoRA"], INKS[METHOD_COLORS["GraLoRA"]]
    said = f"<b>both</b> <span style='color:{color}'>one</span>"
    bar = {"type": "bar", "x": [1], "y": [1], "marker": {"color": color}}
    root = picture(bar, title=said, notes=[note(0, 1, "here", color)])
    name = still_class(color)
    styled = [one for one in root.iter() if one.get("class") == name]
    assert {one.get("fill") for one in styled} == {light} and len(styled) == 2
    assert len(rectangles(root, color)) == 1
    style = root.findtext(f"{SVG}style") or ""
    alone, _, nested = style.partition("@media (prefers-color-scheme:dark){")[2].partition("}}")
    assert f".{name}{{fill:{light}}}" in style and f"svg:root .{name}{{fill:{dark}" in alone
    assert "data-jp-theme-light='false'" in nested and f") .{name}{{fill:{dark}}}" in nested
    assert still_class(METHOD_COLORS["LoRA"]) not in style  # what is not drawn


def test_many_bars_of_a_colour_are_one_outline_of_as_many_boxes() -> None:
    figure = go.Figure([go.Bar(y=[n % 5 + 1 for n in range(60)], marker_color="#123456")])
    root = ET.fromstring(still(figure.to_plotly_json()))
    assert rectangles(root, "#123456") == []
    (outline,) = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("fill") == "#123456"]
    heights = [float(height) for height in re.findall(r"v([\d.]+)h-", outline)]
    assert len(heights) == 60 and heights[4] == pytest.approx(5 * heights[0], rel=0.02)
