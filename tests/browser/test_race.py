"""A race of three methods, as a reader starts it: three curves grow in one picture, and three runs are compared.

The controls are tried first, then a race is run to its end, and a second one is paused and stopped.
"""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.written_notebook import write_notebook

PANEL = """\
import torch
from glora_lab.panels import TrainPanel, check_panels
torch.set_num_threads(1)
lab = TrainPanel(method="LoRA", rank=12, preset="A + B", k=4, steps=40)
display(lab)"""

RACERS = ["LoRA, rank 12", "GLoRA A+B, rank 6", "GraLoRA, rank 12, k 4"]
COLORS = ["#489CCC", "#9030CC", "#FC600C"]  # theme.METHOD_COLORS: what the reader sees, not what the code says
WORDS = "LoRA, rank 12: 32,256 parameters; GLoRA A+B, rank 6: 32,256 parameters; GraLoRA, rank 12, k 4: 32,256"
ONE_GRAPH = f"lab.plots().find(plot => {RACERS}.every(name => plot.traces.some(trace => trace.name === name)))"
POINTS = f"{RACERS}.map(name => ({ONE_GRAPH})?.traces.find(trace => trace.name === name).y.length ?? 0)"
AGAIN = POINTS.replace(str(RACERS), str([f"{name} (2)" for name in RACERS]))  # of a second race


def test_a_reader_races_three_methods(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    notebook = open_notebook(write_notebook(tmp_path / "race.ipynb", PANEL))
    notebook.run_all()
    a_method_shows_what_is_its_own_and_an_impossible_k_says_why(notebook)
    notebook.slide("k, blocks per side", 4)
    notebook.choose("method", "LoRA")
    a_race_shows_three_curves(notebook)
    a_race_is_paused_and_stopped_as_one(notebook)


def a_race_shows_three_curves(notebook: NotebookPage) -> None:
    notebook.screenshot("race_before")
    notebook.press("Race at equal parameters")
    notebook.sees(WORDS)
    notebook.until(f"Math.min(...{POINTS}) > 2")
    notebook.screenshot("race_under_way")
    notebook.sees("done: step 40 of 40 each")
    notebook.until(f"{POINTS}.every(points => points === 40)")

    assert notebook.page.evaluate(f"{ONE_GRAPH}.traces.length") == 6  # loss and accuracy of each
    lines = notebook.page.locator(".js-plotly-plot", has_text=RACERS[0]).first.locator("path.js-line")
    drawn = lines.evaluate_all("paths => paths.map(path => getComputedStyle(path).stroke)")
    assert set(drawn) == {rgb(color) for color in COLORS}
    assert notebook.evaluate("[run.name for run in lab.runs]") == RACERS
    assert set(notebook.evaluate("[run.params for run in lab.runs]")) == {32_256}
    # one seed and one frozen model: before the first update all three give the same batch the same loss
    losses = notebook.evaluate("[run.steps[0].loss for run in lab.runs]")
    assert max(losses) - min(losses) < 1e-5
    assert len({*notebook.evaluate("[run.steps[-1].loss for run in lab.runs]")}) == 3
    notebook.sees("★")
    notebook.page.locator(".js-plotly-plot", has_text=RACERS[0]).first.scroll_into_view_if_needed()
    notebook.screenshot("race_done")
    assert notebook.evaluate("check_panels() is None")
    assert notebook.errors() == []


def a_race_is_paused_and_stopped_as_one(notebook: NotebookPage) -> None:
    notebook.slide("steps", 10_000)
    notebook.press("Race at equal parameters")
    notebook.until(f"Math.min(...{AGAIN}) > 2")
    first = notebook.page.evaluate(AGAIN)
    notebook.until(f"{AGAIN}.every((points, racer) => points > {first}[racer])")  # all three go on growing
    notebook.press("Pause")
    notebook.sees("paused: step")
    notebook.press("Resume")
    notebook.sees("running: step")
    notebook.press("Stop")
    notebook.sees("stopped: step")
    notebook.until("document.body.innerText.includes('GraLoRA, rank 12, k 4 (2), stopped at')")
    lengths = notebook.evaluate("[len(run.steps) for run in lab.runs[3:]]")
    assert len(lengths) == 3 and max(lengths) - min(lengths) <= 1 and max(lengths) < 10_000
    assert notebook.errors() == []


def a_method_shows_what_is_its_own_and_an_impossible_k_says_why(notebook: NotebookPage) -> None:
    notebook.press("more")  # where the modes are
    assert notebook.control("alpha").is_visible() and not notebook.control("preset").is_visible()
    notebook.screenshot("race_lora")
    notebook.choose("method", "GLoRA")
    notebook.control("preset").wait_for(state="visible")
    notebook.control("A").wait_for(state="visible")
    notebook.control("alpha").wait_for(state="hidden")
    notebook.screenshot("race_glora")
    notebook.choose("method", "GraLoRA")
    notebook.control("k, blocks per side").wait_for(state="visible")
    notebook.control("hybrid rank").wait_for(state="visible")
    notebook.control("A").wait_for(state="hidden")
    notebook.screenshot("race_gralora")
    notebook.slide("k, blocks per side", 3)
    notebook.sees("`k` (=3) must divide the rank (=12) and the layers' features (64 and 128); these do: 1, 2 and 4")
    notebook.press("Train")
    notebook.sees("`k` (=3) must divide the rank (=12) and the layers' features (64 and 128); these do: 1, 2 and 4")
    notebook.screenshot("race_impossible")
    assert notebook.evaluate("lab.session is None and lab.errors == []")
    assert notebook.errors() == []


def rgb(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"
