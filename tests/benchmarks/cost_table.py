"""The README's section `What it costs`, from the figures of model_cost.py and adapter_speed.py."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TITLE, BEFORE = "## What it costs", "## Beside PEFT's own GLoRA and GraLoRA"
COMMAND = "make bench"
LAYERS = (
    "One layer, a step (forward and backward) as a ratio to stock LoRA of the same rank, by layer, precision, tokens. "
    "The aim is 1.05 at 256 tokens and more, and 1.25 below (GraLoRA: 1.3); what misses it is in bold. GLoRA with "
    "elementwise lora-A (`A lora`, `all lora`) has no such aim: it needs the FLOPs of full fine-tuning, which is the "
    "second line. In bfloat16 this processor multiplies one value at a time; the step works in float32 there "
    "(`adapters/glora/products.py`), and stock LoRA's does not."
)


def replace_section(readme: Path, models: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> None:
    """Write the section anew, before the one on PEFT's own methods where there is none yet."""
    text = readme.read_text(encoding="utf-8")
    text = re.sub(rf"^{TITLE}\n.*?(?=^## )", "", text, flags=re.MULTILINE | re.DOTALL)
    start = text.index(BEFORE)
    readme.write_text(text[:start] + section(models, layers) + text[start:], encoding="utf-8")


def section(models: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> str:
    versions = ", ".join(f"{name} {models[name]}" for name in ("torch", "transformers", "peft") if name in models)
    parts = [
        TITLE,
        f"Measured by `{COMMAND}` on one thread of two cores of a cloud machine ({models['machine']}; {versions}). "
        "Whole models have random weights; a step is forward, loss and backward. Peak is what it allocates above the "
        "weights. Ratios are to stock LoRA of the same rank, from rounds in which the methods take turns. The Llama "
        "has no biases, so that only A and B are on there, as in PEFT.",
    ]
    for table in models["tables"]:
        parts += [_title(table), _model_table(table["rows"])]
    if layers:
        parts += [LAYERS, _layers(layers)]
    return "\n\n".join(parts) + "\n\n"


def _title(table: Mapping[str, Any]) -> str:
    return f"{table['model']}, {table['dtype']}, {table['tokens']} tokens, r {table['r']}:"


def _model_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| | step | × LoRA | saved for backward | peak | checkpoint |", "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        saved, peak = (f"{row[name] / 2**20:,.1f} MiB" for name in ("saved_bytes", "peak_bytes"))
        cells = [f"{row['milliseconds']:,.0f} ms", f"{row['against LoRA']:.2f}", saved, peak]
        lines.append(f"| {row['method']} | {' | '.join(cells)} | {row['checkpoint_bytes'] / 2**10:,.0f} KiB |")
    return "\n".join(lines)


def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    """Methods down, settings across; a method that was not measured in a setting has an empty cell."""
    columns, cells = [], {}
    for table in layers:
        column = f"{table['layer']} {table['dtype']}, {table['tokens']}"
        columns += [column] if column not in columns else []
        lora = next(row for row in table["rows"] if row["method"].startswith("stock LoRA"))
        for row in table["rows"]:
            ratio = row["ratios"].get(lora["method"], row["milliseconds"] / lora["milliseconds"])
            missed = round(ratio, 2) > _aim(row["method"], table["tokens"])
            cells[row["method"], column] = f"**{ratio:.2f}**" if missed else f"{ratio:.2f}"
    methods = list(dict.fromkeys(method for method, _ in cells))
    lines = ["| tokens: | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {m} | " + " | ".join(cells.get((m, column), "") for column in columns) + " |" for m in methods]
    return "\n".join(lines)


def _aim(method: str, tokens: int) -> float:
    if not method.startswith(("GLoRA", "GraLoRA")) or method.endswith(("A lora r8", "all lora r8")):
        return float("inf")
    return 1.05 if tokens >= 256 else 1.3 if method.startswith("GraLoRA") else 1.25
