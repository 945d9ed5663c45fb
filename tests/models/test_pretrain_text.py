"""The script that made the shipped weights of bytes-llama: repeatable, and on text that no task shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from glora_lab.data import decode
from glora_lab.data.corpus import pretraining_text
from glora_lab.models import load_model, pretrain_text


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain_text, "BATCH_SIZE", 2)


def weights(seed: int) -> torch.Tensor:
    model = pretrain_text.pretrain(steps=3, seed=seed)
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


def test_it_takes_every_step_on_windows_of_the_pretraining_text(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    forward = torch.nn.Embedding.forward
    monkeypatch.setattr(torch.nn.Embedding, "forward", lambda self, ids: (seen.append(ids), forward(self, ids))[1])
    pretrain_text.pretrain(steps=4)
    assert [tuple(ids.shape) for ids in seen] == [(2, 128)] * 4
    text = pretraining_text()
    assert all(decode(row) in text for ids in seen for row in ids)


def test_the_command_writes_a_model_that_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made: PreTrainedModel = pretrain_text.pretrain(steps=2)
    monkeypatch.setattr(pretrain_text, "pretrain", lambda: made)
    pretrain_text.main(["--out", str(tmp_path)])
    loaded = load_model(tmp_path)
    assert all(map(torch.equal, loaded.state_dict().values(), made.state_dict().values()))
    assert "656,256 parameters" in capfd.readouterr().out
