"""Runs in a folder: read back as they were, torn lines and killed writers included, and never lost beside others."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from glora_lab.adapters import GloraConfig, load_adapter
from glora_lab.models import load_model
from glora_lab.records import Run, Step
from glora_lab.training import run_folder
from glora_lab.training.run_folder import LINES, RunFolder, new_id, runs_place
from tests.source import ROOT

STEPS = (Step(1, 2.5, 0.1, 0.125), Step(2, 1 / 3, 0.1, 0.25, measured=False))
KILLS = 12  # of two writers each


def a_run(name: str = "LoRA, rank 4", **fields: Any) -> Run:
    known = {"validation": 0.75, "examples": 200, "model": "digits-vit", "task": "digits-turned", "taken": 2}
    settings = {"lr": 0.01, "seed": 0, "config": {"r": 4}}
    return Run(name, 10, 0.5, 1.5, STEPS, **{**known, "settings": settings, "id": new_id(), **fields})


class Adapter:
    """Saves next to nothing."""

    def save_pretrained(self, folder: str) -> None:
        Path(folder, "adapter_config.json").write_text("{}")


def names(folder: Path) -> list[str]:
    return [run.name for run in RunFolder(folder).runs]


@pytest.mark.parametrize("place", ["runs", None])
def test_a_run_comes_back_as_it_was(place: str | None, tmp_path: Path) -> None:
    folder = RunFolder(place and tmp_path / place)
    run = a_run("Ünïcode <b>")
    folder.add(run, Adapter())
    for reader in [folder, *([RunFolder(tmp_path / place)] if place else [])]:
        (again,) = reader.runs
        assert reader.steps(again) == STEPS
        assert again == Run(**{**vars(run), "steps": ()})
    assert place or list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "config",
    [LoraConfig(r=2, target_modules=["fc1"]), GloraConfig(r=2, target_modules=["fc1"], init_weights=False)],
    ids=["LoRA", "GLoRA"],
)
def test_the_adapter_loads_again(config: Any, tmp_path: Path) -> None:
    model, run = get_peft_model(load_model("digits-vit"), config), a_run()
    RunFolder(tmp_path).add(run, model)
    again = load_adapter(load_model("digits-vit"), tmp_path / run.id)
    pixels = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(again(pixel_values=pixels).logits, model.eval()(pixel_values=pixels).logits)
    assert not list(tmp_path.rglob("*.bin")) and not list(tmp_path.rglob("*.pkl"))


def test_two_folders_see_what_the_other_does(tmp_path: Path) -> None:
    here, there = RunFolder(tmp_path), RunFolder(tmp_path)
    here.add(a_run("a"), Adapter())
    there.add(a_run("b"), Adapter())
    here.add(a_run("c"), Adapter())
    a, b, _ = there.runs
    there.rename(a, " first ")
    here.delete([b])
    assert [run.name for run in there.runs] == [run.name for run in here.runs] == names(tmp_path) == ["first", "c"]
    there.restore([b])
    assert names(tmp_path) == ["first", "b", "c"] and here.steps(b) == STEPS


def test_a_torn_line_loses_itself_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.add(a_run("a"), Adapter())
    whole = (tmp_path / LINES).read_bytes()
    for cut in (1, 2, 3, *range(4, len(whole) - 3, 37), len(whole) - 2, len(whole) - 1):
        (tmp_path / LINES).write_bytes(whole + whole[:cut])  # killed in mid-write
        assert names(tmp_path) == ["a"]
        RunFolder(tmp_path).add(a_run("b"), Adapter())
        after = RunFolder(tmp_path)
        assert [run.name for run in after.runs] == ["a", "b"] and after.damaged == (1 < cut < len(whole) - 1)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense", "[]", "7", "{}", "null", "[" * 100_000, '{"run": "../../x"}', '{"deleted": ["../.."], "at": 0}',
        '{"deleted": 3, "at": 0}', '{"renamed": "run-x", "name": 3}', "\xff\xfe",
    ],
    ids=lambda line: line[:12],
)  # fmt: skip
def test_a_line_that_says_nothing_is_counted_and_left_out(line: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.add(a_run("a"), Adapter())
    with (tmp_path / LINES).open("a", encoding="latin-1") as file:
        file.write(f"{line}\n")
    folder.add(a_run("b"), Adapter())
    assert [run.name for run in folder.runs] == ["a", "b"] and folder.damaged == 1


@pytest.mark.parametrize("field", ["name", "params", "metric", "validation", "settings", "run"])
def test_a_field_of_the_wrong_kind_is_no_run(field: str, tmp_path: Path) -> None:
    RunFolder(tmp_path).add(a_run(), Adapter())
    line = json.loads((tmp_path / LINES).read_text())
    (tmp_path / LINES).write_text(json.dumps({**line, field: None}) + "\n")
    folder = RunFolder(tmp_path)
    assert folder.runs == [] and folder.damaged == 1


def test_killed_writers_lose_at_most_the_run_that_they_were_writing(tmp_path: Path) -> None:
    """Two at once, as two kernels, and both killed in the middle of what they do, many times in one folder."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.training.killed_run_writers", str(tmp_path), str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = set(done.stdout.split())
    folder = RunFolder(tmp_path)
    kept = {run.id for run in folder.runs}
    assert len(told) > 2 * KILLS and told <= kept and len(kept) <= len(told) + 2 * KILLS
    assert folder.damaged <= 2 * KILLS
    assert all(folder.steps(run) == STEPS for run in folder.runs)
    assert all((tmp_path / run.id / "adapter_config.json").is_file() for run in folder.runs)
    folder.add(a_run("after all"), Adapter())
    assert names(tmp_path)[-1] == "after all" and len(names(tmp_path)) == len(kept) + 1


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.training.test_run_folder import Adapter, RunFolder, a_run, LINES
folder = RunFolder(Path(sys.argv[1]))
folder.add(a_run("a"), Adapter())
size = (Path(sys.argv[1]) / LINES).stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    folder.add(a_run("b"), Adapter())
except OSError:
    assert [run.name for run in folder.runs] == ["a", "b"] and folder.steps(folder.runs[1])
    print("refused")
"""


def test_a_full_disk_is_an_error_and_the_run_stays_in_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
    assert names(tmp_path) == ["a"]
    RunFolder(tmp_path).add(a_run("c"), Adapter())
    assert names(tmp_path) == ["a", "c"]


def test_what_was_deleted_a_day_ago_leaves_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, old, new = RunFolder(tmp_path), a_run("old"), a_run("new")
    folder.add(old, Adapter())
    folder.add(new, Adapter())
    folder.delete([old])
    folder.add(a_run("later"), Adapter())
    assert (tmp_path / old.id).is_dir()
    monkeypatch.setattr(run_folder, "A_DAY", -1.0)
    folder.add(a_run("a day later"), Adapter())
    assert not (tmp_path / old.id).exists() and (tmp_path / new.id).is_dir()


def test_a_name_is_needed_and_is_nobody_elses(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.add(a_run("a"), Adapter())
    folder.add(a_run("b"), Adapter())
    a, _ = folder.runs
    for name in ("", "  ", "x" * 101, "b"):
        with pytest.raises(ValueError, match="`name`"):
            folder.rename(a, name)
    folder.rename(a, "a")
    assert names(tmp_path) == ["a", "b"]


def test_damaged_curves_are_said(tmp_path: Path) -> None:
    run = a_run()
    RunFolder(tmp_path).add(run, Adapter())
    folder = RunFolder(tmp_path)
    (tmp_path / run.id / "curves.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"is damaged: the curves of LoRA, rank 4"):
        folder.steps(run)
    (tmp_path / run.id / "curves.safetensors").unlink()
    assert folder.steps(run) == ()


def test_the_table_for_other_programs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.add(a_run('a, "quoted"'), Adapter())
    with folder.export(folder.runs).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["validation"], row["test"], row["seed"]) == ('a, "quoted"', "0.75", "0.5", "0")


def test_where_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_place(True) is None and runs_place(False) is None  # the tests' own switch
    monkeypatch.delenv(run_folder.SWITCH)
    assert runs_place(True) == tmp_path / "glora_lab_runs" and runs_place("mine") == tmp_path / "mine"
    monkeypatch.setenv(run_folder.SWITCH, "elsewhere")
    assert runs_place(True) == tmp_path / "elsewhere" and runs_place(False) is None
    with monkeypatch.context() as voila:
        voila.setenv("SERVER_SOFTWARE", "voila/0.5")
        assert runs_place(True) is None and runs_place("mine") == tmp_path / "mine"
    (tmp_path / "a file").write_text("")
    for bad in ("", "a file", 3, None):
        with pytest.raises(ValueError, match="`keep_runs`"):
            runs_place(bad)  # type: ignore[arg-type]
