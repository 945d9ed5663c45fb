"""Figures on a phone: all of it within the window, nothing over anything else, and nothing lost."""

from __future__ import annotations

import copy
import json
import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from glora_lab import panels
from glora_lab.drawing.picture import draw
from glora_lab.drawing.still import still
from glora_lab.drawing.still.narrow import WIDTH, narrow
from glora_lab.drawing.still.words import bare, lines_of, width_of, wrapped
from glora_lab.drawing.traces import heatmap, on
from glora_lab.page.figure_slot import plain_figure

SVG = "{http://www.w3.org/2000/svg}"
PANELS = [getattr(panels, name) for name in panels.__all__ if name.endswith("Panel") and name != "Panel"]
LETTER = 0.5  # of its size, at least: letters are wider than this on the whole


def figures_of(kind: type[panels.Panel]) -> list[dict[str, Any]]:
    panel = kind()
    shown = [plain_figure(place.picture) for place in panel.pictured()]
    panel.close()
    return [figure for figure in shown if figure["data"]]


def texts(root: ET.Element) -> list[tuple[str, float, float]]:
    """What is written from left to right: a line, and where it begins and ends."""
    found = []
    for text in root.iter(f"{SVG}text"):
        if text.get("transform"):
            continue
        size = float(text.get("font-size", 12))
        for line in (line for line in [text, *text.findall(f"{SVG}tspan")] if line.get("x")):
            wide = sum(len(told) * told_size * LETTER for told, told_size in runs(line, size))
            before = {"start": 0.0, "middle": wide / 2, "end": wide}[text.get("text-anchor", "start")]
            start = float(line.get("x", 0)) - before
            found.append(("".join(line.itertext()), start, start + wide))
    return found


def runs(line: ET.Element, size: float) -> list[tuple[str, float]]:
    """The line's letters and their size, which a run may have of its own."""
    found = [(line.text or "", size)]
    for run in line:
        told = run.get("font-size", str(size))
        found.append(("".join(run.itertext()), size * 0.75 if "%" in told else float(told.removesuffix("px"))))
    return found


def domains(figure: dict[str, Any]) -> set[tuple[float, ...]]:
    layout = figure["layout"]
    axes = {(trace.get("xaxis", "x"), trace.get("yaxis", "y")) for trace in figure["data"]}
    return {
        tuple(end for name in pair for end in layout[f"{name[0]}axis{name[1:]}"].get("domain", (0, 1))) for pair in axes
    }


@pytest.mark.parametrize("kind", PANELS, ids=lambda kind: kind.__name__)
def test_a_panels_pictures_fit_a_phone(kind: type[panels.Panel]) -> None:
    for figure in figures_of(kind):
        before = copy.deepcopy(figure)
        found = narrow(figure)
        assert figure == before and found["layout"]["width"] == WIDTH
        root = ET.fromstring(still(found))
        assert root.get("width") == str(WIDTH)
        assert [text for text in texts(root) if text[1] < -2 or text[2] > WIDTH + 2] == []
        for (a, b, c, d), (e, f, g, h) in combinations(domains(found), 2):
            assert b <= e or f <= a or d <= g or h <= c
        assert len(domains(found)) == len(domains(figure))


@pytest.mark.parametrize("kind", PANELS, ids=lambda kind: kind.__name__)
def test_nothing_is_lost_on_a_phone(kind: type[panels.Panel]) -> None:
    def words(told: dict[str, Any]) -> list[str]:
        layout = told["layout"]
        notes = [note["text"] for note in layout.get("annotations", [])]
        return re.split(r"\s+", " ".join(bare(re.sub("<br>", " ", text)) for text in [layout["title"]["text"], *notes]))

    for figure in figures_of(kind):
        found = narrow(figure)
        assert [word for word in words(found) if word] == [word for word in words(figure) if word]
        assert [trace["type"] for trace in found["data"]] == [trace["type"] for trace in figure["data"]]
        many = re.findall(r'href="(data:image/png[^"]+)', still(figure))
        assert re.findall(r'href="(data:image/png[^"]+)', still(found)) == many


def four_heatmaps(**layout: Any) -> dict[str, Any]:
    axes = {}
    for n, left in enumerate((0.0, 0.27, 0.54, 0.81), start=1):
        name = str(n) if n > 1 else ""
        axes |= {f"xaxis{name}": {"domain": (left, left + 0.19)}, f"yaxis{name}": {"domain": (0.5, 1.0)}}
    z = [[float(row * column) for column in range(9)] for row in range(9)]
    traces = [heatmap(z, "", showscale=n == 1, **on(n)) for n in (1, 2, 3, 4)]
    return json.loads(draw(traces, "four", "", height=400, **axes, **layout).figure.to_json())


def test_small_plots_share_a_row_and_heatmaps_keep_their_shape() -> None:
    found = narrow(four_heatmaps())["layout"]
    (one, two, three, four) = (found[f"xaxis{n}"]["domain"] for n in ("", 2, 3, 4))
    assert one == three and two == four and one[1] < two[0]
    first, third = found["yaxis"]["domain"], found["yaxis3"]["domain"]
    assert first == found["yaxis2"]["domain"] and third[1] < first[0]
    room = WIDTH - found["margin"]["l"] - found["margin"]["r"]
    wide, tall = (one[1] - one[0]) * room, (first[1] - first[0]) * found["height"]
    assert wide / tall == pytest.approx(0.19 * (900 - 56 - 16) / (0.5 * (400 - 64 - 48)), rel=0.01)


def test_a_bar_of_colours_lies_below_what_it_explains() -> None:
    found = narrow(four_heatmaps())
    bar = found["data"][0]["colorbar"]
    assert bar["orientation"] == "h" and 0 < bar["y"] < found["layout"]["yaxis3"]["domain"][0]


def test_a_note_goes_where_its_plot_goes() -> None:
    over = {"text": "third", "x": 0.635, "y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
    below = {"text": "all", "x": 0.0, "y": -0.1, "xref": "paper", "yref": "paper", "yanchor": "top"}
    figure = four_heatmaps()
    figure["layout"]["annotations"] = [over, below]
    layout = narrow(figure)["layout"]
    third, all_of_them = layout["annotations"]
    assert third["y"] == pytest.approx(layout["yaxis3"]["domain"][1])
    assert third["x"] == pytest.approx(sum(layout["xaxis3"]["domain"]) / 2)
    assert all_of_them["y"] < layout["yaxis4"]["domain"][0] and all_of_them["x"] == 0.0


def test_long_texts_in_place_of_marks_keep_their_page() -> None:
    said = {"type": "scatter", "x": [0], "y": [0], "mode": "text", "text": ["word " * 30]}
    figure = json.loads(draw([said], "long", "", height=200).figure.to_json())
    assert narrow(figure) is figure


def test_words_are_broken_between_words_and_tags_go_on() -> None:
    text = "<b>one two</b> three<br><span style='font-size:30px'>four five</span>"
    found = lines_of(wrapped(text, 60, 12))
    assert [bare(line).strip() for line in found] == ["one two", "three", "four", "five"]
    assert found[0] == "<b>one two</b>" and found[3] == "<span style='font-size:30px'>five</span>"
    assert all(width_of(line, 12) <= 60 for line in lines_of(wrapped("a few short words in a row", 60, 12)))
    assert wrapped("short", 60, 12) == "short"


def test_turned_names_below_a_plot_have_their_room() -> None:
    names = {"type": "category", "tickangle": -90}
    axes = {"xaxis": {"domain": (0, 0.45), **names}, "xaxis2": {"domain": (0.55, 1), "anchor": "y2", **names}}
    traces = [{"type": "bar", "x": ["a name of some length"], "y": [1.0], **on(n)} for n in (1, 2)]
    found = narrow(json.loads(draw(traces, "turned", "", height=300, **axes, yaxis2={}).figure.to_json()))["layout"]
    between = found["yaxis"]["domain"][0] - found["yaxis2"]["domain"][1]
    assert between * found["height"] > width_of("a name of some length", 11)


def test_a_text_in_a_cell_fits_it() -> None:
    z = [[1.0] * 12]
    cells = heatmap(z, "", text=[["12.5×"] * 12], texttemplate="%{text}", textfont={"size": 12}, showscale=False)
    figure = json.loads(draw([cells], "texts", "", height=200).figure.to_json())

    def sizes(told: dict[str, Any]) -> list[float]:
        written = ET.fromstring(still(told)).iter(f"{SVG}text")
        return [float(text.get("font-size", 0)) for text in written if text.text == "12.5×"]

    assert sizes(figure) == [12.0] * 12
    assert len(sizes(narrow(figure))) == 12 and all(6 <= size < 10 for size in sizes(narrow(figure)))
