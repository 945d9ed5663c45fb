"""The scripts that made the shipped weights: repeatable, and blind to the tasks that come after."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glora_lab import folders
from glora_lab.data import decode
from glora_lab.data.corpus import pretraining_text
from glora_lab.models import load_model, pretrain, pretrain_text

SCRIPTS = {pretrain: "102,666 parameters", pretrain_text: "656,256 parameters"}

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)


def weights(script: ModuleType, seed: int) -> torch.Tensor:
    model = script.pretrain(steps=4, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@each_script
def test_the_same_seed_gives_the_same_weights_and_keeps_the_callers_random_state(script: ModuleType) -> None:
    before = torch.get_rng_state()
    first = weights(script, 0)
    torch.manual_seed(1)
    assert torch.equal(first, weights(script, 0))
    assert not torch.equal(first, weights(script, 1))
    torch.set_rng_state(before)
    weights(script, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_uses_every_step_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a: (taken.append(1), step(self, *a))[1])
    pretrain.pretrain(steps=18)  # 16 batches go once over the images
    assert len(taken) == 18


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_images_are_shifted_by_a_pixel_at_most_and_nothing_else(seed: int, n: int) -> None:
    images = torch.rand((n, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
    moved = pretrain.shifted(images, torch.Generator().manual_seed(seed))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    shifts = [padded[:, :, y : y + 4, x : x + 4] for y in range(3) for x in range(3)]
    equal = torch.stack([(moved == shift).flatten(1).all(1) for shift in shifts])  # (9, n)
    assert (equal.sum(0) == 1).all()


def test_every_shift_happens() -> None:
    images = torch.zeros(500, 1, 3, 3)
    images[:, :, 1, 1] = 1
    moved = pretrain.shifted(images, torch.Generator().manual_seed(0))
    assert set(moved.flatten(1).argmax(1).tolist()) == set(range(9))


def test_bytes_llama_takes_every_step_on_windows_of_the_pretraining_text(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    forward = torch.nn.Embedding.forward
    monkeypatch.setattr(torch.nn.Embedding, "forward", lambda self, ids: (seen.append(ids), forward(self, ids))[1])
    pretrain_text.pretrain(steps=4)
    assert [tuple(ids.shape) for ids in seen] == [(8, 128)] * 4
    text = pretraining_text()
    assert all(decode(row) in text for ids in seen for row in ids)


@each_script
def test_the_command_writes_a_model_that_loads(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = script.pretrain(steps=4)
    monkeypatch.setattr(script, "pretrain", lambda: made)
    script.main(["--out", str(tmp_path)])
    loaded = load_model(tmp_path)
    assert all(map(torch.equal, loaded.state_dict().values(), made.state_dict().values()))
    assert SCRIPTS[script] in capfd.readouterr().out


@each_script
def test_a_model_takes_the_place_of_another_whole_or_not_at_all(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {tmp_path / name: "of before" for name in ("config.json", "model.safetensors")}
    for path, text in old.items():
        path.write_text(text)
    pretrain, replace = script.pretrain, os.replace

    def fail(before: Path, now: Path) -> None:
        if now == tmp_path / "config.json" and "whole" in str(before):
            raise PermissionError("open elsewhere")
        replace(before, now)

    monkeypatch.setattr(script, "pretrain", lambda: pretrain(steps=1))
    monkeypatch.setattr(folders.os, "replace", fail)
    with pytest.raises(PermissionError):
        script.main(["--out", str(tmp_path)])
    assert {path: path.read_text() for path in tmp_path.iterdir()} == old
