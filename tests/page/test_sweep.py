"""A panel's pictures behind a slider: every frame is what the panel shows, and the page needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch
from peft import get_peft_model

from glora_lab import GraloraConfig, load_model, panels
from glora_lab.drawing.picture import Picture
from glora_lab.ideas.training import panel_session
from glora_lab.page import last_picture
from glora_lab.page import sweep as sweep_module
from glora_lab.page.figure_slot import plain_figure
from glora_lab.page.film import MOST, Film
from glora_lab.page.panel import PANELS
from glora_lab.page.still_image import stills
from glora_lab.page.sweep import ELEMENT, Sweep, moved, moving
from glora_lab.panels import Panel, sweep
from glora_lab.search import stored_search, stored_space
from tests.page.instances import INSTANCES
from tests.page.test_last_picture import SVG_NAME

PANELS_OF_ALL = [getattr(panels, name) for name in panels.__all__ if name.endswith("Panel")]
MOVING = [kind for kind in PANELS_OF_ALL if isinstance(kind.moves, Mapping)]


@pytest.fixture
def panel() -> Iterator[panels.BlockPanel]:
    made = panels.BlockPanel(k=2)
    yield made
    made.close()


def kept(page: str) -> list[list[dict[str, Any]]]:
    """The frames as the page's script reads them."""
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    told = json.loads(data)

    def whole(parts: list[int | list[int]]) -> str:
        ends = [part if isinstance(part, list) else [part, part] for part in parts]
        return "".join(element for first, last in ends for element in told["elements"][first : last + 1])

    return [[{**one, "svgs": [whole(parts) for parts in one["svgs"]]} for one in frame] for frame in told["frames"]]


def as_set(panel: Panel, **settings: Any) -> list[dict[str, Any]]:
    """What a panel like this shows when it is set so by hand."""
    other = type(panel).from_state({**panel.state, **settings})
    shown = [place.picture for place in other.pictured()]
    other.close()
    return [{"svgs": [*stills(plain_figure(one))], "words": one.words, "formula": one.formula} for one in shown]


def test_each_frame_is_what_the_panel_shows_when_it_is_set_so(panel: panels.BlockPanel) -> None:
    found = sweep(panel, k=[1, 2, 4], r=[8, 16])
    assert found.sliders == {"k": ("1", "2", "4"), "r": ("8", "16")}
    assert found.start == 3  # k = 2, r = 16
    assert kept(found.html) == [as_set(panel, k=k, r=r) for k in (1, 2, 4) for r in (8, 16)]


@pytest.mark.parametrize("kind", MOVING, ids=lambda kind: kind.__name__)
def test_a_panel_that_names_a_slider_moves_and_starts_as_it_is(kind: type[Panel]) -> None:
    panel = kind()
    found = moved(panel)
    assert found is not None and len(found.frames) >= 3
    assert len(set(found.frames)) == len(found.frames)  # each differs
    assert kept(found.html)[found.start] == as_set(panel)
    assert len(found.html.encode()) < 600_000
    panel.close()


def test_most_panels_name_one() -> None:
    assert len(MOVING) >= 6


def test_a_place_of_a_slider_may_set_several_things() -> None:
    panel = panels.PathPanel()
    found = sweep(panel, paths={"A": {"A": "lora", "B": "none"}, "B": {"A": "none", "B": "lora"}})
    assert found.sliders == {"paths": ("A", "B")}
    assert kept(found.html)[1] == as_set(panel, A="none", B="lora")
    panel.close()


def test_the_panel_stays_as_it_is_and_no_page_hears_of_another(
    panel: panels.BlockPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    comm = pytest.importorskip("comm", reason="ipywidgets 7 tells its page by other means")
    told: list[object] = []
    monkeypatch.setattr(comm.DummyComm, "publish_msg", lambda *_, **__: None)
    monkeypatch.setattr(comm, "create_comm", lambda **settings: told.append(settings) or comm.DummyComm(**settings))
    state, there = panel.state, len(INSTANCES)
    sweep(panel, k=[1, 4])
    assert panel.state == state and told == [] and len(INSTANCES) == there
    assert comm.create_comm(target_name="still asked") and told


def test_the_page_asks_nobody_and_is_a_whole_one_when_it_is_saved(panel: panels.BlockPanel, tmp_path: Path) -> None:
    found = sweep(panel, k=[1, 2])
    page = found.save(tmp_path / "blocks.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and found.html in page
    assert "http" not in page.replace(SVG_NAME, "") and "{{" not in page


def test_frames_share_what_does_not_change() -> None:
    panel = panels.PathPanel()
    page = sweep(panel, rank=[1, 2, 4, 8]).html
    frames = [{p for one in frame for svg in one["svgs"] for p in ELEMENT.split(svg)} for frame in kept(page)]
    data = page[page.index('{"elements"') :]
    always = [part for part in set.intersection(*frames) if len(part) > 60]  # W0's cells, axes
    assert len(always) > 10 and all(data.count(json.dumps(part)[1:-1].replace("</", "<\\/")) == 1 for part in always)
    wide, phone = kept(page)[0][0]["svgs"]
    cells = [part for part in ELEMENT.split(wide) if part.startswith("<image")]
    assert len(cells) == 4 and all(part in ELEMENT.split(phone) for part in cells)  # one matrix for both
    panel.close()


@pytest.mark.parametrize(
    "settings, says",
    [
        ({}, r"`settings` \(=\[\]\) must be one or 2 of the panel's settings"),
        ({"k": [1, 2], "r": [8, 16], "seed": [0, 1]}, "must be one or 2 of the panel's settings"),
        ({"q": [1, 2]}, r"`q` \(=\[1, 2\]\) is no setting of BlockPanel, which has layer, k, r"),
        ({"k": [4]}, r"`k` \(=\[4\]\) must be a list of at least two values"),
        ({"k": "12"}, "must be a list of at least two values"),
        ({"k": [1, 3]}, r"`k` \(=3\) must be one of 1, 2, 4"),
        ({"mine": {"a": {"k": 1}, "b": {"q": 2}}}, "`q` .* is no setting of BlockPanel"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_tried(
    panel: panels.BlockPanel, settings: dict[str, Any], says: str
) -> None:
    state = panel.state
    with pytest.raises(ValueError, match=says):
        sweep(panel, **settings)
    assert panel.state == state


def test_what_is_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`panel` \(=3\) must be a panel"):
        sweep(3, k=[1, 2])  # type: ignore[arg-type]


def test_more_than_fits_is_refused_with_the_number_that_would(
    panel: panels.BlockPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "LARGEST", 50_000)
    with pytest.raises(ValueError, match=r"makes 8 frames of .* over 0\.1 MB: about [1-7] fit"):
        sweep(panel, seed=list(range(8)))


def test_a_value_that_cannot_be_beside_the_others_has_no_frame() -> None:
    panel = panels.BlockPanel(r=2, k=2)  # k = 4 and 8 do not divide it
    found = moved(panel)
    assert isinstance(found, Sweep) and found.sliders == {"k": ("1", "2")}
    panel.close()


def test_frames_come_one_by_one_and_what_is_begun_can_be_given_up(panel: panels.BlockPanel) -> None:
    open_panels = len(PANELS)
    frames = moving(panel)
    assert next(frames) is None and len(PANELS) == open_panels + 1
    frames.close()
    assert len(PANELS) == open_panels


def test_a_search_moves_its_limit_over_the_sizes_of_its_front() -> None:
    study = stored_search()
    panel = panels.SearchPanel(study=study.result, space=stored_space())
    found = moved(panel)
    sizes = {trial.params for trial in study.result.front}
    assert found is not None and {f"{size:,}" for size in sizes} <= set(found.sliders["limit"])
    assert len({frame[0].stills for frame in found.frames}) == len(found.frames)  # the front as far as the limit
    panel.close()


def test_an_adapter_is_looked_at_layer_by_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GraloraConfig(r=4, gralora_k=2, init_weights=False, target_modules=["fc1", "fc2"])
    panel = panels.XrayPanel(get_peft_model(load_model("digits-vit"), config))
    found = moved(panel)
    assert found is not None and len(found.sliders["layer"]) == 6 and len(set(found.frames)) == 6
    panel.close()


def test_a_run_is_a_film_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_session, "BETWEEN_FRAMES", 0.02)
    panel = panels.TrainPanel(steps=30, keep_runs=False)
    panel.train()
    panel.wait()
    found = moved(panel)
    assert found is not None
    steps = [int(step) for step in found.sliders["step"]]
    assert steps == sorted(steps) and steps[-1] == 30 and 2 <= len(steps) <= MOST
    assert found.start == len(steps) - 1 and found.frames[0] != found.frames[-1]
    panel.close()


def test_a_second_run_does_not_begin_with_what_the_first_ended_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_session, "BETWEEN_FRAMES", 0.02)
    panel = panels.TrainPanel(steps=20, keep_runs=False)
    for begins in (True, False):
        panel.train()
        panel.wait()
        assert (0 in panel.film.frames) == begins  # what the frozen model says; and later, what was trained before
    panel.close()


def test_the_film_is_in_the_cell_when_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a moment later, of which nbclient hears nothing."""
    given: list[str] = []
    monkeypatch.setattr(panel_session, "BETWEEN_FRAMES", 0.02)
    monkeypatch.setattr(last_picture, "display", lambda data, **_: given.append(data["text/html"]))
    monkeypatch.setattr(last_picture, "update_display", lambda data, **_: given.append(data.get("text/html", "")))
    panel = panels.TrainPanel(steps=20, keep_runs=False)
    panel._ipython_display_()
    panel.train()
    panel.wait()
    assert 'type="range"' in given[-1] and ">step</label>" in given[-1]
    panel.close()


def test_a_long_film_drops_frames_from_its_middle() -> None:
    film, pictures = Film(), [Picture(go.Figure(), str(n)) for n in range(100)]
    for n, picture in enumerate(pictures):
        film.take(n, [picture])
        film.take(n, [])  # nothing is shown: nothing is kept
    assert len(film.frames) <= MOST and {0, 99} <= set(film.frames)
    assert max(b - a for a, b in pairwise(film.frames)) <= 16 and len(film.frames) > MOST / 2
