"""Two processes on a CPU: averaged gradients are those of the whole batch, and shards add up to one checkpoint."""

from __future__ import annotations

import json
import runpy
import socket
from pathlib import Path

import peft
import pytest
import torch
import torch.multiprocessing
from safetensors.torch import load_file

from glora_lab import load_adapter

from . import two_processes
from .small_models import largest_difference

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the two processes wrote."""
    folder = tmp_path_factory.mktemp("two")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [free.getsockname()[1] for free in (one, other)]
    torch.multiprocessing.spawn(two_processes.work, args=(str(folder), ports), nprocs=2, daemon=True)
    return folder


@pytest.fixture(scope="module")
def found(folder) -> dict:
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("way", two_processes.WAYS)
@pytest.mark.parametrize("layer", two_processes.layers())
def test_gradients_are_those_of_the_whole_batch(found, layer, way):
    assert found["off"][f"{layer}, {way}"] < 1e-11


def test_a_sharded_layer_is_not_merged(found):
    assert "is sharded over processes" in found["merge"]


def test_parts_are_not_saved_for_a_whole(found):
    assert found["save"].startswith("`state_dict`") and "full_state_dict=True" in found["save"]


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(two_processes.SCRIPT))


def adapted(script: dict, adapter: str) -> peft.PeftModel:
    return peft.get_peft_model(script["language_model"](), script["ADAPTERS"][adapter])


def train_alone(script: dict, adapter: str) -> tuple[peft.PeftModel, dict[str, torch.Tensor]]:
    """The script's three steps with the whole batch, in this process, and the gradients of the first."""
    model = adapted(script, adapter)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    batch = torch.randint(256, (8, 32), generator=torch.Generator().manual_seed(1))
    first: dict[str, torch.Tensor] = {}
    for _ in range(3):
        model(input_ids=batch, labels=batch).loss.backward()
        first = first or {name: p.grad.clone() for name, p in trained.items()}
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), first


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
@pytest.mark.parametrize("adapter", two_processes.ADAPTERS)
def test_the_script(script, folder, adapter, way):
    printed = [(folder / f"{adapter}_{rank}.txt").read_text() for rank in (0, 1)]
    alone, gradients = train_alone(script, adapter)
    every = sum(p.numel() for p in alone.parameters())
    held = every // 2 if way == "fsdp" else every
    assert all(f"{way}, process {rank} holds {held:,} of {every:,}" in printed[rank] for rank in (0, 1)), printed

    got = load_file(folder / adapter / way / "gradients.safetensors")
    assert got.keys() == gradients.keys()
    for name, wanted in gradients.items():
        assert largest_difference(got[name], wanted) < 1e-6 * max(wanted.abs().max().item(), 1e-3), name
    ids = torch.arange(32)[None]
    loaded = load_adapter(script["language_model"](), folder / adapter / way).eval()
    assert largest_difference(loaded(ids).logits, alone(ids).logits) < 1e-3
    with alone.disable_adapter():
        assert largest_difference(loaded(ids).logits, alone(ids).logits) > 1e-2
