"""What two processes make of each path, alone beside whole: run by test_two_processes.py, which reads what it writes.

Each process has half of a batch. The gradients that DistributedDataParallel averages, and those that FSDP2 scatters,
are compared in both with those of the whole batch on the layer alone. Then both run the course's script, once for each
adapter; notebook 09 starts it as a reader does, by `accelerate launch`.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from .block_models import BlockNet, gralora_layer, gralora_model
from .small_models import SINGLES, conv1d, glora_layer, named

SCRIPT = Path(__file__).parents[2] / "notebooks" / "two_processes.py"
ADAPTERS = ("glora", "gralora")
IN, OUT, ROWS = 12, 8, 40  # more rows than plain_base.py calls few
TOGETHER = [
    {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
    {"A": "vector", "B": "vector", "C": "vector", "D": "constant", "E": "constant"},
]
BASES = {"Linear": nn.Linear, "Conv1D": conv1d}
WAYS = (
    "ddp",
    "whole",
    "layer",
    "innermost",
)  # the last three by FSDP2: sharded as one, with its layer, or its base apart


def layers() -> dict[str, nn.Module]:
    """Name → layer, the same in both processes."""
    torch.manual_seed(0)
    found = {named(choice): glora_layer(nn.Linear(IN, OUT), choice) for choice in SINGLES}
    for choice in [*SINGLES[:3], *TOGETHER]:  # the first three are A's modes
        for base in BASES:
            found[f"{named(choice)}, product, {base}"] = glora_layer(BASES[base](IN, OUT), choice, A_form="product")
    for choice in [SINGLES[0], *TOGETHER]:
        found[f"{named(choice)}, Conv1D"] = glora_layer(conv1d(IN, OUT), choice)
    for k, hybrid_r in ((1, 0), (2, 0), (2, 2)):
        name = f"GraLoRA k={k} hybrid_r={hybrid_r}"
        found[name] = gralora_layer(nn.Linear(IN, OUT), r=4, gralora_k=k, hybrid_r=hybrid_r)
    for layer in found.values():
        layer.base_layer.requires_grad_(False)
    return found


class SideBySide(nn.Module):
    """Every layer with an input of its own: (layers, rows, in) → (layers, rows, out)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers().values()).double()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([layer(rows) for layer, rows in zip(self.layers, x, strict=True)])


def gradients(model: nn.Module, x: Tensor) -> dict[str, list[Tensor]]:
    """Layer → the gradients of its input and of its parameters, for the mean over the rows."""
    x = x.clone().requires_grad_()
    model(x).square().sum((0, 2)).mean().backward()
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    trained = [[whole(p.grad) for p in layer.parameters() if p.requires_grad] for layer in inner.layers]
    return {name: [of_x, *of_layer] for name, of_x, of_layer in zip(layers(), x.grad, trained, strict=True)}


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def parallel(way: str) -> nn.Module:
    model = SideBySide()
    if way == "ddp":
        return DistributedDataParallel(model)
    for layer in model.layers if way != "whole" else []:
        fully_shard(layer if way == "layer" else layer.base_layer)
    return fully_shard(model)


def work(rank: int, folder: str, ports: list[int]) -> None:
    """One of two processes, which meet at another port for each adapter: the store at the last may still answer."""
    torch.set_num_threads(1)
    compare(rank, folder)
    run_script(rank, Path(folder), ports)


def run_script(rank: int, folder: Path, ports: list[int]) -> None:
    """Each adapter in a folder of its own, with what each process printed."""
    for adapter, port in zip(ADAPTERS, ports, strict=True):
        here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in here.items()})
        sys.argv = [str(SCRIPT), "--adapter", adapter, "--out", str(folder / adapter)]
        with (folder / f"{adapter}_{rank}.txt").open("w") as printed, redirect_stdout(printed):
            runpy.run_path(str(SCRIPT), run_name="__main__")
        AcceleratorState._reset_state(reset_partial_state=True)  # the next one begins as a new process would


def compare(rank: int, folder: str) -> None:
    """The first process writes how far each gradient was off, relative to the largest there."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    batch = torch.randn(len(layers()), 2 * ROWS, IN, generator=torch.Generator().manual_seed(1)).double()
    alone, off = gradients(SideBySide(), batch), {}
    for way in WAYS:
        model = parallel(way)
        for name, (of_x, *of_layer) in gradients(model, batch[:, rank::2]).items():
            got, wanted = [of_x / 2, *of_layer], [alone[name][0][rank::2], *alone[name][1:]]
            pairs = zip(got, wanted, strict=True)
            off[f"{name}, {way}"] = max(((g - w).abs().max() / w.abs().max()).item() for g, w in pairs)
    try:
        model.layers[-1].merge()
    except ValueError as error:
        refused = str(error)
    adapted = gralora_model(BlockNet())
    fully_shard(adapted)
    try:
        adapted.save_pretrained(f"{folder}/parts")
    except ValueError as error:
        unsaved = str(error)
    gathered: list[dict[str, float]] = [{}, {}]
    dist.all_gather_object(gathered, off)
    dist.destroy_process_group()
    if rank == 0:
        worst = {name: max(one[name] for one in gathered) for name in off}
        Path(folder, "found.json").write_text(json.dumps({"off": worst, "merge": refused, "save": unsaved}))
