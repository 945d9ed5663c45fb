"""The table of runs in TrainPanel: filled from the folder, compared, renamed, deleted, written; and runs that go on
while the controls, or the cell, are others by now."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from glora_lab.adapters import load_adapter
from glora_lab.ideas.training import panel_session
from glora_lab.models import load_model
from glora_lab.page.cell import Cell, running_cell
from glora_lab.panels import TrainPanel
from glora_lab.training import evaluate
from glora_lab.training.run_folder import LINES, RunFolder
from tests.ideas.training.test_panel import FEW, until
from tests.training.test_run_folder import Adapter, a_run

MANY = 300
SECONDS = 0.1  # that a table of so many may take
NAME = "LoRA (B alone), rank 1"


def trained(folder: Path, **start: Any) -> TrainPanel:
    panel = TrainPanel(**{**FEW, **start}, keep_runs=folder)
    panel.train()
    panel.wait()
    assert panel.problem == "" and panel.errors == []
    return panel


def choose(panel: TrainPanel, *names: str) -> None:
    panel.table.choice.value = [run.id for run in panel.table.rows if run.name in names]


def press(panel: TrainPanel, word: str) -> None:
    panel.table.buttons[word].click()


def drawn(panel: TrainPanel) -> list[str]:
    return [trace.name for trace in panel.live.curves.figure.data if trace.xaxis != "x2"]


def test_a_new_panel_finds_the_runs_and_their_adapters(tmp_path: Path) -> None:
    (run,) = trained(tmp_path).runs
    panel = TrainPanel(**FEW, keep_runs=tmp_path)
    assert panel.runs == [] and [row.name for row in panel.table.rows] == [NAME] and NAME in panel.table.value
    (row,) = panel.table.rows
    assert (row.params, row.metric, row.validation) == (run.params, run.metric, run.steps[-1].metric)
    assert row.settings["seed"] == 0 and row.settings["config"]["r"] == 1 and row.task == "digits-turned"
    again = load_adapter(load_model("digits-vit"), tmp_path / row.id)
    assert evaluate(again, panel.task.test) == run.metric
    choose(panel, NAME)
    assert f"load_adapter(load_model(&quot;digits-vit&quot;), &#x27;{tmp_path / row.id}" in panel.table._says.value
    panel.train()
    panel.wait()
    assert [run.name for run in panel.runs] == [f"{NAME} (2)"] and len(panel.table.rows) == 2
    assert panel.runs[0].steps == panel.steps


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    panel = TrainPanel(**FEW, keep_runs=False)
    panel.train()
    panel.wait()
    assert len(panel.table.rows) == 1 and list(tmp_path.iterdir()) == []


def test_runs_of_another_model_are_not_in_the_table(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.add(a_run("here"), Adapter())
    folder.add(a_run("elsewhere", model="bytes-llama"), Adapter())
    assert [run.name for run in TrainPanel(keep_runs=tmp_path).table.rows] == ["here"]


def test_chosen_runs_are_compared_in_one_picture(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for name in ("a", "b", "c"):
        folder.add(a_run(name), Adapter())
    panel = trained(tmp_path)
    assert drawn(panel) == ["this run"] or drawn(panel) == [NAME]
    choose(panel, "a", "c")
    assert drawn(panel) == ["c", "a"]
    choose(panel)
    assert drawn(panel) == [NAME]
    choose(panel, "b")
    panel.train()
    panel.wait()
    assert drawn(panel) == ["b"] and panel.live.curves.summary.startswith("b: ")


def test_chosen_runs_stand_beside_the_one_that_trains(tmp_path: Path) -> None:
    RunFolder(tmp_path).add(a_run("a"), Adapter())
    panel = TrainPanel(**{**FEW, "steps": 5000}, keep_runs=tmp_path)
    panel.train()
    choose(panel, "a")
    assert drawn(panel) == ["a", NAME]
    panel.close()


def test_rename_delete_and_undo(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for name in ("a", "b"):
        folder.add(a_run(name), Adapter())
    panel = TrainPanel(keep_runs=tmp_path)
    press(panel, "Rename")
    assert "choose one run" in panel.problem
    choose(panel, "a")
    panel.table.name.value = "b"
    press(panel, "Rename")
    assert "`name` (='b') must be no other run's name" in panel.problem
    panel.table.name.value = "mine"
    press(panel, "Rename")
    assert panel.problem == "" and [run.name for run in folder.runs] == ["mine", "b"] and "mine" in panel.table.value
    assert [run.name for run in panel.table.chosen] == ["mine"]
    press(panel, "Delete")
    assert [run.name for run in folder.runs] == ["b"] and "mine" not in panel.table.value
    assert "Undo delete brings it back" in panel.table._says.value and panel.table.chosen == []
    press(panel, "Undo delete")
    assert [run.name for run in folder.runs] == ["mine", "b"] and "mine" in panel.table.value
    press(panel, "Undo delete")
    assert "nothing was deleted" in panel.problem and panel.errors == []


def test_the_last_one_that_is_deleted_can_be_brought_back(tmp_path: Path) -> None:
    RunFolder(tmp_path).add(a_run("a"), Adapter())
    panel = TrainPanel(keep_runs=tmp_path)
    choose(panel, "a")
    press(panel, "Delete")
    assert panel.table.rows == [] and panel.table._tools.layout.display is None
    press(panel, "Undo delete")
    assert [run.name for run in panel.table.rows] == ["a"]


def test_the_table_is_written_as_csv(tmp_path: Path) -> None:
    panel = trained(tmp_path)
    press(panel, "Export as CSV")
    assert NAME in (tmp_path / "runs.csv").read_text() and "runs.csv" in panel.table._says.value


def test_a_run_of_this_panel_follows_its_new_name_and_its_end(tmp_path: Path) -> None:
    panel = trained(tmp_path)
    choose(panel, NAME)
    panel.table.name.value = "mine"
    press(panel, "Rename")
    assert [run.name for run in panel.runs] == ["mine"] and len(panel.runs[0].steps) == 6
    press(panel, "Delete")
    assert panel.runs == []


def test_a_folder_that_cannot_be_written_is_said_and_the_run_is_in_the_table(tmp_path: Path) -> None:
    panel = TrainPanel(**FEW, keep_runs=tmp_path / "runs")
    (tmp_path / "runs").write_text("a file by now")
    panel.train()
    panel.wait()
    assert f"{NAME} is in the table until the kernel ends, and could not be kept" in panel.problem
    assert [run.name for run in panel.runs] == [NAME] and len(panel.runs[0].steps) == 6 and panel.errors == []


def test_a_line_that_was_cut_off_is_said(tmp_path: Path) -> None:
    RunFolder(tmp_path).add(a_run("a"), Adapter())
    with (tmp_path / LINES).open("a") as file:
        file.write('{"run": "run-2026\n')
    assert "1 damaged line of the folder left out" in TrainPanel(keep_runs=tmp_path).table.value


def test_many_runs_stay_quick(tmp_path: Path, record_property: Any) -> None:
    folder = RunFolder(tmp_path)
    for n in range(MANY):
        folder._tell({"run": a_run().id, **{**vars(a_run(f"run {n}")), "steps": None, "id": None}})
    panel = TrainPanel(keep_runs=tmp_path)
    assert len(panel.table.rows) == MANY == panel.table.value.count("<tr>") - 1
    took = []
    for n in range(9):
        folder._tell({"renamed": folder.runs[n].id, "name": f"another {n}"})
        began = time.perf_counter()
        panel.table.refresh()
        took.append(time.perf_counter() - began)
    print(f"a table of {MANY} runs: median {1000 * median(took):.1f} ms, at most {1000 * max(took):.1f}")
    assert median(took) < SECONDS


def test_the_status_names_what_trains_whatever_the_controls_say() -> None:
    panel = TrainPanel(**{**FEW, "steps": 5000})
    panel.train()
    panel.controls.methods.method.value = "GraLoRA"
    until(lambda: len(panel.steps) > 1)
    panel.pause_or_resume()
    until(lambda: panel.session.state == "paused")
    panel.refresh()
    taken = len(panel.steps)
    assert panel.live.status.value.startswith(f"{NAME} on digits-turned, paused: step {taken} of 5,000")
    panel.close()


def test_a_race_is_named_too() -> None:
    panel = TrainPanel(method="LoRA", rank=4, preset="A + B", k=4, steps=1)
    panel.race()
    panel.wait()
    assert panel.live.status.value == "LoRA, GLoRA and GraLoRA on digits-turned, done: step 1 of 1 each"
    words = panel.table.value
    assert (
        "tie with up to" in words and words.count("★") == 3 and "tie with" in panel.live.curves.figure.layout.title.text
    )


def test_another_task_waits_for_the_end_of_what_trains_and_says_so() -> None:
    panel = TrainPanel(**{**FEW, "steps": 5000})
    panel.train()
    until(lambda: len(panel.steps) > 1)
    panel.controls.task.value = "digits-inverted"
    assert panel.under_way and panel.task.name == "digits-turned" and "Inverted digits is shown when" in panel.problem
    panel.controls.task.value = "digits-turned"
    assert panel.problem == ""
    panel.controls.task.value = "digits-inverted"
    panel.stop()
    panel.wait()
    assert panel.task.name == "digits-inverted" and panel.problem == "" and panel.runs[0].task == "digits-turned"


def in_cells(monkeypatch: pytest.MonkeyPatch, *cells: Cell | None) -> None:
    runs = iter(cells)
    monkeypatch.setattr(panel_session, "running_cell", lambda: next(runs))


def test_a_cell_that_is_run_again_in_mid_run_goes_on_with_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    in_cells(monkeypatch, Cell("a", "1"), Cell("a", "2"))
    old = TrainPanel(**{**FEW, "steps": 5000}, keep_runs=tmp_path)
    old.train()
    session = old.session
    until(lambda: len(session.steps) > 1)
    new = TrainPanel(**{**FEW, "rank": 2}, keep_runs=tmp_path)
    assert new.session is session and not session.finished and old.comm is None
    assert f"{NAME} on digits-turned, begun before this cell was run again, running: step" in new.live.status.value
    new.stop()
    steps = new.wait()
    assert [run.name for run in new.runs] == [f"{NAME}, stopped at {len(steps)}"] and len(RunFolder(tmp_path).runs) == 1
    assert new.model is not None and new.errors == []
    new.close()


def test_of_another_task_it_is_stopped_and_recorded(tmp_path: Path, monkeypatch: Any) -> None:
    in_cells(monkeypatch, Cell("a", "1"), Cell("a", "2"))
    old = TrainPanel(**{**FEW, "steps": 5000}, keep_runs=tmp_path)
    old.train()
    until(lambda: len(old.steps) > 1)
    new = TrainPanel(task="digits-inverted", keep_runs=tmp_path)
    taken = len(old.steps)
    assert old.session.state == "stopped" and old.comm is None and new.session is None
    assert (
        f"{NAME} on digits-turned, stopped: step {taken} of 5,000, as this cell was run again" in new.live.status.value
    )
    assert [run.name for run in new.table.rows] == [f"{NAME}, stopped at {taken}"] and new.errors == []


@pytest.mark.parametrize("other", [None, Cell("a", "1"), Cell("b", "2")], ids=["no cell", "same run", "another cell"])
def test_other_panels_are_left_alone(other: Cell | None, monkeypatch: Any) -> None:
    in_cells(monkeypatch, Cell("a", "1"), other)
    first = TrainPanel(**{**FEW, "steps": 5000})
    first.train()
    second = TrainPanel(**FEW)
    assert second.session is None and first.under_way and first.comm is not None
    first.close()
    second.close()


def test_outside_a_kernel_there_is_no_cell() -> None:
    assert running_cell() is None
