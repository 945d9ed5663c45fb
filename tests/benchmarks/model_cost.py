"""What a step of training costs a whole model, method beside method: the second half of `make bench`.

Models are built from their configurations, with random weights and no download: GPT-2 small, the first six layers
of ViT-B/16, and a Llama of 12 layers and 576 features. Time, saved bytes and checkpoint are `cost_report`'s: the
methods take turns on one thread, and a figure is the median of the rounds. Peak memory is what the step allocates
above the weights and the batch: torch's profiler lists each allocation and each release of its allocator, those
inside of operations included, and the peak is the largest running sum; on a GPU the allocator keeps it itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from adapter_speed import KS, MODES, NONE, machine
from cost_table import replace_section
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.ideas.cost.measure_methods import ALL_LINEAR, FULL, Method, trainable_models
from glora_lab.measure import cost_report

TOKENS, R = 256, 8
OURS = ("all lora", "lora without A", "all vector", "all constant")


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config())


def vit() -> nn.Module:
    return transformers.ViTForImageClassification(transformers.ViTConfig(num_hidden_layers=6, num_labels=16))


def llama() -> nn.Module:
    size = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 12, "vocab_size": 32000}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**size, num_attention_heads=9, num_key_value_heads=3))


MODELS: dict[str, Callable[[], nn.Module]] = {"Llama 12×576": llama, "GPT-2 small": gpt2, "ViT-B/16, 6 layers": vit}


def batch_for(model: nn.Module, tokens: int) -> dict[str, Tensor]:
    parameter = next(model.parameters())
    if model.config.model_type == "vit":
        pixels = torch.randn(1, 3, 224, 224, dtype=parameter.dtype, device=parameter.device)
        return {"pixel_values": pixels, "labels": torch.tensor([1], device=parameter.device)}
    ids = torch.randint(0, 1000, (1, tokens), device=parameter.device)
    return {"input_ids": ids, "labels": ids}


def methods_at(r: int) -> dict[str, Method]:
    """The methods, in the order of the table; "full" trains what the adapters adapt."""
    target = {"r": r, "target_modules": ALL_LINEAR}
    found: dict[str, Method] = {"frozen base": None, "stock LoRA": peft.LoraConfig(lora_alpha=r, **target)}
    for name in OURS:
        found[f"GLoRA {name}"] = GloraConfig.only(**{**NONE, **MODES[name]}, **target)
    for mode in ("lora", "vector"):
        kinds = {"config_A_B": mode, "config_C": mode, "config_D_E": "vector"}
        found[f"stock GLoRA {mode}"] = peft.GloraConfig(**kinds, **target)
    for k in KS[:2]:
        settings = {"gralora_k": k, "alpha": r, "hybrid_r": 0, **target}
        found[f"GraLoRA k{k}"] = GraloraConfig(**settings)
        found[f"stock GraLoRA k{k}"] = peft.GraloraConfig(**settings)
    return {**found, "full fine-tuning": FULL}


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """The most that `step` holds at once of what it allocates."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def peaks(model: nn.Module, batch: dict[str, Tensor], methods: dict[str, Method]) -> dict[str, int]:
    found = {}
    for name, adapted in trainable_models(model.requires_grad_(True), methods).items():

        def step(adapted: nn.Module = adapted) -> None:
            loss = adapted(**batch).loss
            if loss.requires_grad:
                loss.backward()

        step()  # what torch sets up once is no part of it
        adapted.zero_grad()
        found[name] = peak_bytes(step, next(model.parameters()).device)
        adapted.zero_grad()
    return found


def fits(model: nn.Module, name: str, method: Method) -> bool:
    """Stock GLoRA refuses GPT-2's Conv1D."""
    try:
        trainable_models(model, {name: method})
    except ValueError as error:
        print(f"left out: {error}")
        return False
    return True


def figures(model: nn.Module, tokens: int, r: int, repeats: int) -> list[dict[str, Any]]:
    methods, batch = {n: m for n, m in methods_at(r).items() if fits(model, n, m)}, batch_for(model, tokens)
    highest = peaks(model, batch, methods)
    report = cost_report(model, batch, methods, repeats=repeats)
    lora = next(row for row in report.rows if row.name == "stock LoRA")
    return [
        {
            "method": row.name,
            "milliseconds": row.milliseconds,
            "against LoRA": row.milliseconds / lora.milliseconds,
            "gflops": row.flops / 1e9,
            "saved_bytes": row.saved_bytes,
            "peak_bytes": highest[row.name],
            "params": row.params,
            "checkpoint_bytes": row.checkpoint_bytes,
        }
        for row in report.rows
    ]


def shown(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'':22}{'ms':>9}{'×LoRA':>8}{'GFLOP':>8}{'saved MiB':>11}{'peak MiB':>10}{'checkpoint KiB':>16}")
    for row in rows:
        saved, peak, file = row["saved_bytes"] / 2**20, row["peak_bytes"] / 2**20, row["checkpoint_bytes"] / 2**10
        step = f"{row['milliseconds']:9.1f}{row['against LoRA']:8.2f}{row['gflops']:8.1f}"
        print(f"{row['method']:22}{step}{saved:11.1f}{peak:10.1f}{file:16.0f}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["Llama", "GPT-2", "ViT"], help="beginnings of names")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a text; an image is 197")
    parser.add_argument("--r", type=int, default=R)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--layers", nargs="+", default=[], help="JSON files of adapter_speed.py, for the table")
    parser.add_argument("--measured", help="a JSON file of an earlier run, in the place of measuring")
    parser.add_argument("--markdown", help="write the tables into this file's section `What it costs`")
    return parser.parse_args()


def main() -> None:
    wants = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tables: list[dict[str, Any]] = []
    found = {**machine(torch.device(wants.device)), "transformers": transformers.__version__, "tables": tables}
    if wants.measured:
        found = json.loads(Path(wants.measured).read_text(encoding="utf-8"))
    for name, make in ({} if wants.measured else MODELS).items():
        for dtype in wants.dtypes if name.startswith(tuple(wants.models)) else []:
            model = make().to(wants.device, getattr(torch, dtype))
            rows = figures(model, wants.tokens, wants.r, wants.rounds)
            tokens = 197 if name.startswith("ViT") else wants.tokens
            shown(f"{name} {dtype}, {tokens} tokens, r {wants.r}", rows)
            tables.append({"model": name, "dtype": dtype, "tokens": tokens, "r": wants.r, "rows": rows})
            if wants.json:
                Path(wants.json).write_text(json.dumps(found, indent=1), encoding="utf-8")
    if wants.markdown:
        layers = [json.loads(Path(name).read_text(encoding="utf-8")) for name in wants.layers]
        replace_section(Path(wants.markdown), found, [table for run in layers for table in run["tables"]])


if __name__ == "__main__":
    main()
