"""The slot shows the latest figure, replaces and never appends, ten times a second at most."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest

from glora_lab.drawing.picture import Picture
from glora_lab.page import answering_page, figure_slot
from glora_lab.page.figure_slot import PLOTLY, FigureSlot, picture_data


def picture(n: int, words: str) -> Picture:
    return Picture(go.Figure(go.Scatter(y=[n]), layout={"title": {"text": f"figure {n}"}}), words)


def drawn(slot: FigureSlot) -> str:
    """The title of what the browser was told to draw, which stands above it."""
    assert len(slot._output.outputs) == 1 and slot.children[:2] == (slot._finding, slot._output)
    return re.sub("<.*?>", "", slot._finding.value)


def test_a_figure_is_plain_data_with_words() -> None:
    slot = FigureSlot()
    slot.show(picture(1, "it says <one>"))
    (output,) = slot._output.outputs
    assert output["output_type"] == "display_data" and output["metadata"] == {}
    assert set(output["data"]) == {PLOTLY, "text/plain"} and output["data"]["text/plain"] == "it says <one>"
    json.dumps(output)  # what goes to the browser has no arrays left
    assert "it says &lt;one&gt;" in slot._words.value


def test_a_figure_replaces_the_one_before() -> None:
    slot = FigureSlot()
    slot.show(picture(1, "one"))
    slot.show(picture(2, "two"))
    assert drawn(slot) == "figure 2" and len(slot._output.outputs) == 1


def test_the_title_is_a_line_of_the_page_and_leaves_its_room() -> None:
    slot = FigureSlot()
    layout = {"title": {"text": "<b>one</b><br>two"}, "height": 400, "margin": {"t": 90}}
    shown = go.Figure(layout=layout)
    slot.show(Picture(shown, "words"))
    assert slot._finding.value == '<p class="glora-finding"><b>one</b><br>two</p>'
    sent = slot._output.outputs[0]["data"][PLOTLY]["layout"]
    assert (sent["title"], sent["height"], sent["margin"]["t"]) == ({"text": ""}, 344, 34)
    assert slot._output.layout.height == "344px"
    assert shown.layout.title.text == "<b>one</b><br>two"  # the figure itself keeps it


def test_a_burst_is_drawn_ten_times_a_second_and_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def burst() -> tuple[int, str]:
        slot, times = FigureSlot(), []
        slot._output.observe(lambda _: times.append(1), "outputs")
        for n in range(40):
            slot.show(picture(n, str(n)))
            await asyncio.sleep(0.005)
        await asyncio.sleep(2 * figure_slot.SECONDS_BETWEEN)
        return len(times), drawn(slot)

    started = asyncio.run(timed(burst()))
    (times, last), seconds = started
    assert 2 <= times <= seconds / figure_slot.SECONDS_BETWEEN + 1
    assert last == "figure 39"


async def timed(work: object) -> tuple[object, float]:
    loop = asyncio.get_running_loop()
    start = loop.time()
    return await work, loop.time() - start  # type: ignore[misc]


def test_threads_may_show_too() -> None:
    async def from_threads() -> str:
        slot = FigureSlot()
        threads = [threading.Thread(target=slot.show, args=(picture(n, str(n)),)) for n in range(8)]
        for thread in threads:
            thread.start()
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
        slot.show(picture(99, "99"))
        await asyncio.sleep(2 * figure_slot.SECONDS_BETWEEN)
        return drawn(slot)

    assert asyncio.run(from_threads()) == "figure 99"


def test_a_page_that_draws_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_page, "LONGEST", 1000.0)

    async def slow_page() -> tuple[list[str], float]:
        slot, seen = FigureSlot(), []
        slot.show(picture(0, "0"))
        answer_page(slot)
        await asyncio.sleep(1.2 * figure_slot.SECONDS_BETWEEN)
        for n in range(1, 11):
            slot.show(picture(n, str(n)))
            await asyncio.sleep(0.02)
        seen.append(drawn(slot))  # a fifth of a second has passed
        answer_page(slot)
        took = slot.took
        await asyncio.sleep(0.03)
        return [*seen, drawn(slot)], took

    seen, took = asyncio.run(slow_page())
    assert seen == ["figure 1", "figure 10"] and 0.2 <= took < answering_page.LONGEST


def test_a_page_that_is_gone_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_page, "LONGEST", 0.4)

    async def gone() -> tuple[list[str], float]:
        slot = FigureSlot()
        slot.show(picture(1, "1"))
        answer_page(slot)
        await asyncio.sleep(0.15)
        slot.show(picture(2, "2"))
        before, then = drawn(slot), slot._drawn_at
        slot.show(picture(3, "3"))
        while drawn(slot) == before:  # the test's own limit ends what never comes
            await asyncio.sleep(0.01)
        return [before, drawn(slot)], slot._drawn_at - then

    shown, waited = asyncio.run(gone())
    assert shown == ["figure 2", "figure 3"] and waited >= 0.4


def test_an_answer_on_another_thread_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JupyterLab sends it, on a subshell, while the main loop sleeps."""
    monkeypatch.setattr(answering_page, "LONGEST", 1000.0)

    async def sleeping() -> str:
        slot = FigureSlot()
        slot.show(picture(1, "1"))
        answer_page(slot)
        await asyncio.sleep(1.2 * figure_slot.SECONDS_BETWEEN)
        slot.show(picture(2, "2"))
        slot.show(picture(3, "3"))  # waits for the page
        await asyncio.sleep(1.2 * figure_slot.SECONDS_BETWEEN)
        came = asyncio.Event()
        slot._output.observe(lambda _: came.set(), "outputs")
        threading.Timer(0.05, answer_page, [slot]).start()
        await asyncio.wait_for(came.wait(), 100)  # nothing else wakes it
        return drawn(slot)

    assert asyncio.run(sleeping()) == "figure 3"


def answer_page(slot: FigureSlot) -> None:
    """What the link in a page sends back."""
    page = slot
    message = {"content": {"data": {"method": "update", "state": {"answered": page.asked}}}, "buffers": []}
    page._handle_msg(message)


def test_a_closed_slot_draws_nothing() -> None:
    slot = FigureSlot()
    slot.close()
    slot.show(picture(1, "one"))
    assert slot._output.outputs == ()


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "COLAB_NOTEBOOK_ID"])
def test_in_colab_a_figure_is_a_page_in_a_frame(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "x")
    data = picture_data(picture(1, 'one "<" two'))
    assert set(data) == {"text/html", "text/plain"}
    frame = Frames(data["text/html"]).attributes
    assert frame["title"] == 'one "<" two'
    assert "cdn.plot.ly" in frame["srcdoc"] and "figure 1" in frame["srcdoc"]
    assert "<html>" in frame["srcdoc"]


class Frames(HTMLParser):
    """The attributes of the one frame, as a page reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        assert tag == "iframe"
        self.attributes = dict(attributes)


@pytest.mark.parametrize("values", [np.random.default_rng(0).normal(size=(64, 128)), [[1 / 3, None], [2, -1e-9 / 3]]])
def test_a_heatmap_is_sent_in_the_digits_that_can_be_seen(values: object) -> None:
    heatmap = go.Figure(go.Heatmap(z=values))
    sent = picture_data(Picture(heatmap, ""))[PLOTLY]
    assert len(json.dumps(sent)) < 64 * 128 * 9 + 10_000
    shown = unpacked(sent["data"][0]["z"])
    for row, wanted in zip(shown, values, strict=True):
        for number, exact in zip(row, wanted, strict=True):
            assert number is exact is None or abs(number - exact) <= 5e-3 * abs(exact)  # three digits


def unpacked(z: object) -> object:
    if isinstance(z, dict):
        shape = [int(part) for part in z["shape"].split(",")]
        return np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"]).reshape(shape)
    return z


def test_where_a_notebook_is_run_by_nobody_its_place_is_not_saved_beside_its_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figure_slot, "executed", lambda: True)
    slot = FigureSlot()
    slot.show(picture(1, "one"))
    assert slot._output.outputs == () and slot.summary == "one" and "one" in slot._words.value
    slot.close()
