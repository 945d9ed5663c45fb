"""The script that made the shipped weights: repeatable, and blind to the tasks that come after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glora_lab.models import load_model, pretrain


def weights(seed: int) -> torch.Tensor:
    model = pretrain.pretrain(steps=5, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_the_same_seed_gives_the_same_weights_and_keeps_the_callers_random_state() -> None:
    before = torch.get_rng_state()
    first = weights(0)
    torch.manual_seed(1)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    torch.set_rng_state(before)
    weights(0)
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


def test_the_command_writes_a_model_that_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = pretrain.pretrain(steps=5)
    monkeypatch.setattr(pretrain, "pretrain", lambda: made)
    pretrain.main(["--out", str(tmp_path)])
    loaded = load_model(tmp_path)
    assert all(map(torch.equal, loaded.state_dict().values(), made.state_dict().values()))
    assert "102,666 parameters" in capfd.readouterr().out
