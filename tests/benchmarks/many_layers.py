"""What it costs to put an adapter on a model of many layers, to save it and to load it, beside stock LoRA.

The layers are small, so that what is timed is the work per layer and per tensor, not the arithmetic. The methods take
turns in every round, so that a busy machine slows all of them; a figure is the processor's time, the median over
rounds, and its ratio to LoRA's is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from adapter_speed import machine
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

NAMES = ("q_proj", "k_proj", "v_proj", "o_proj")
SIZE, RANK = 16, 4
METHODS: dict[str, Callable[..., PeftConfig]] = {
    "LoRA": lambda **where: LoraConfig(r=RANK, **where),
    "GLoRA": lambda **where: GloraConfig(r=RANK, **where),  # all five paths, eight tensors a layer
    "GLoRA B": lambda **where: GloraConfig.only(B="lora", r=RANK, **where),
    "GraLoRA": lambda **where: GraloraConfig(r=RANK, **where),
}
Times = dict[str, float]


class Block(nn.Module):
    """Four layers under the names that they have in language models."""

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Linear(SIZE, SIZE))


def blocks(count: int) -> nn.Module:
    return nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(count // len(NAMES)))})


def flat(count: int) -> nn.Module:
    return nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(count))


SHAPES: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], list[str]]]] = {
    "blocks": (blocks, lambda count: list(NAMES)),
    "flat": (flat, lambda count: [str(index) for index in range(count)]),
}


def timed(phase: Callable[[], Any], name: str, times: Times) -> Any:
    gc.collect()  # or one method pays for what another has left behind
    start = time.process_time()
    made = phase()
    times[name] = time.process_time() - start
    return made


def measured(method: str, shape: str, count: int) -> Times:
    make, targets = SHAPES[shape]
    config, times = METHODS[method], Times()
    model, fresh = make(count), make(count)
    adapted = timed(lambda: get_peft_model(model, config(target_modules=targets(count))), "inject", times)
    with tempfile.TemporaryDirectory() as folder:
        timed(lambda: adapted.save_pretrained(folder), "save", times)
        loaded = timed(lambda: PeftModel.from_pretrained(fresh, folder), "load", times)
        timed(lambda: loaded.load_adapter(folder, "second"), "load a second", times)
        timed(lambda: loaded.add_adapter("third", config(target_modules=targets(count))), "add a third", times)
    return times


def table(shape: str, count: int, methods: list[str], rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[Times]] = {method: [] for method in methods}
    for turn in range(rounds):
        for method in methods[turn % len(methods) :] + methods[: turn % len(methods)]:
            found[method].append(measured(method, shape, count))
    rows = []
    for method, times in found.items():
        for phase in times[0]:
            ratios = [here[phase] / lora[phase] for here, lora in zip(times, found["LoRA"], strict=True)]
            seconds = statistics.median(here[phase] for here in times)
            row = {"shape": shape, "layers": count, "method": method, "phase": phase, "seconds": seconds}
            rows.append({**row, "ratio": statistics.median(ratios)})
    return rows


def shown(rows: list[dict[str, Any]]) -> None:
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    print(f"\n{rows[0]['layers']} layers, {rows[0]['shape']}: seconds of the processor (times LoRA's)")
    print(f"{'':10}" + "".join(f"{phase:>18}" for phase in phases))
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [f"{row['seconds']:.2f} ({row['ratio']:.2f}x)" for row in rows if row["method"] == method]
        print(f"{method:10}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", type=int, default=[200, 4000])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="LoRA is always there")
    parser.add_argument("--rounds", type=int, nargs="+", default=[7, 3], help="for each number of layers")
    parser.add_argument("--json", help="write the figures to this file")
    wants = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    methods = ["LoRA", *(method for method in wants.methods if method != "LoRA")]
    rows = []
    for count, rounds in zip(wants.layers, wants.rounds, strict=True):
        for shape in wants.shapes:
            table("blocks", 8, methods, 1)  # first times are paid here
            found = table(shape, count, methods, rounds)
            shown(found)
            rows += found
    if wants.json:
        with open(wants.json, "w") as file:
            json.dump({**machine(torch.device("cpu")), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
