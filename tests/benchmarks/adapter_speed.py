"""What a step through one layer costs, method beside method: `make bench`, or this file with `--help`.

A step is a forward pass and a backward pass that also gives the gradient of the layer's input, as in the middle
of a model; there is no optimizer in it, and gradients start as None. All methods of one table take turns, a few
milliseconds each, in an order that turns round; a figure is the median over the rounds, a ratio the median of the
ratios within a round. On a CPU the clock is the thread's own, so that a busy neighbour does not count, with one
thread throughout; on a GPU it is the wall's, between two synchronisations. Adapters are put on by
`get_peft_model` as a user would: in float32, also over a bfloat16 layer. Saved is what autograd keeps for the
backward pass, each storage once, weights and input left out.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import peft
import torch
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

MODES: dict[str, dict[str, str]] = {
    "A vector": {"A": "vector"},
    "A constant": {"A": "constant"},
    "B lora": {"B": "lora"},
    "B vector": {"B": "vector"},
    "B constant": {"B": "constant"},
    "C lora": {"C": "lora"},
    "C vector": {"C": "vector"},
    "D E vector": {"D": "vector", "E": "vector"},
    "D E constant": {"D": "constant", "E": "constant"},
    "A B vector": {"A": "vector", "B": "vector"},
    "all vector": dict.fromkeys("ABCDE", "vector"),
    "all constant": {**dict.fromkeys("ABDE", "constant"), "C": "none"},
    "lora without A": {"B": "lora", "C": "lora", "D": "vector", "E": "vector"},
    "A lora": {"A": "lora"},
    "all lora": {"A": "lora", "B": "lora", "C": "lora", "D": "vector", "E": "vector"},
}
PRODUCTS: dict[str, dict[str, str]] = {
    "A product lora": {"A": "lora"},
    "A product vector": {"A": "vector"},
    "all lora product": MODES["all lora"],
}
KS, RANKS = (2, 4, 8), (8, 32, 128)
NONE = dict.fromkeys("ABCDE", "none")


class Method(NamedTuple):
    """`against` names the methods that this one is measured against, in the same table."""

    name: str
    config: Callable[[], peft.PeftConfig] | None
    against: tuple[str, ...] = ()


def glora_methods(r: int) -> Iterator[Method]:
    lora = f"stock LoRA r{r}"
    yield Method("frozen base", None)
    yield Method("full fine-tuning", None)
    yield Method(lora, lambda: peft.LoraConfig(r=r, lora_alpha=r))
    stocks = {mode: f"stock GLoRA {mode} r{r}" for mode in ("lora", "vector", "constant")}
    for mode, name in stocks.items():
        d_e = "vector" if mode == "lora" else mode
        kinds = {"config_A_B": mode, "config_C": mode if mode != "constant" else "none", "config_D_E": d_e}
        yield Method(name, lambda kinds=kinds: peft.GloraConfig(r=r, **kinds), (lora,))
    for form, modes in (("elementwise", MODES), ("product", PRODUCTS)):
        for name, choice in modes.items():
            kind = "constant" if "constant" in name else "vector" if "vector" in name else "lora"
            against = (lora, "full fine-tuning", stocks[kind], "frozen base")
            make = lambda choice=choice, form=form: GloraConfig.only(**{**NONE, **choice}, r=r, A_form=form)  # noqa: E731
            yield Method(f"GLoRA {name} r{r}", make, against)


def gralora_methods(r: int) -> Iterator[Method]:
    lora = f"stock LoRA r{r}"
    yield Method("frozen base", None)
    yield Method(lora, lambda: peft.LoraConfig(r=r, lora_alpha=r))
    for k in KS:
        settings = {"r": r, "alpha": r, "gralora_k": k, "hybrid_r": 0}
        stock = f"stock GraLoRA k{k} r{r}"
        yield Method(stock, lambda settings=settings: peft.GraloraConfig(**settings), (lora,))
        yield Method(f"GraLoRA k{k} r{r}", lambda settings=settings: GraloraConfig(**settings), (lora, stock))


def build(method: Method, base: nn.Linear) -> nn.Module:
    layer = nn.Linear(base.in_features, base.out_features, dtype=base.weight.dtype, device=base.weight.device)
    layer.load_state_dict(base.state_dict(), assign=True)
    if method.name == "full fine-tuning":
        layer = copy.deepcopy(layer)
    layer.requires_grad_(False)
    if method.config is None:
        return remembering(layer.requires_grad_(method.name == "full fine-tuning"))
    config = method.config()
    config.target_modules = ["layer"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(nn.ModuleDict({"layer": layer}), config)
    adapted: nn.Module = model.base_model.model["layer"]
    for parameter in adapted.parameters():  # nothing is zero, as after a step of training
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.02)
    return remembering(adapted)


def remembering(layer: nn.Module) -> nn.Module:
    """The layer with a list of what trains, so that no step looks for it."""
    layer.trained = tuple(p for p in layer.parameters() if p.requires_grad)
    return layer


def step(layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
    layer(x).backward(upstream)
    x.grad = None
    for parameter in layer.trained:
        parameter.grad = None


@torch.no_grad()
def answer(layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
    layer(x)


def clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def saved_bytes(layer: nn.Module, x: Tensor) -> int:
    known = {t.untyped_storage().data_ptr() for t in [x, *layer.state_dict().values()]}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    del out
    return sum(size for pointer, size in found.items() if pointer not in known)


def timed(way: Callable[..., None], layers: dict[str, nn.Module], x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Method → milliseconds per step, one for each round."""
    upstream = torch.randn(*x.shape[:-1], next(iter(layers.values())).out_features, dtype=x.dtype, device=x.device)
    repeats = {}
    for name, layer in layers.items():
        way(layer, x, upstream)
        start = clock(x.device)
        way(layer, x, upstream)
        repeats[name] = max(1, min(20, round(0.004 / (clock(x.device) - start))))
    times: dict[str, list[float]] = {name: [] for name in layers}
    names = list(layers)
    for turn in range(rounds):
        first = turn * 5 % len(names)
        for name in names[first:] + names[:first]:
            way(layers[name], x, upstream)  # untimed: what the one before left in the caches is no part of it
            start = clock(x.device)
            for _ in range(repeats[name]):
                way(layers[name], x, upstream)
            times[name].append(1000 * (clock(x.device) - start) / repeats[name])
    return times


def ratio(here: list[float], there: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(here, there, strict=True))


def measured(methods: list[Method], base: nn.Linear, x: Tensor, wants: argparse.Namespace) -> list[dict[str, Any]]:
    layers = {method.name: build(method, base) for method in methods}
    times = timed(answer if wants.no_grad else step, layers, x, wants.rounds)
    return [
        {
            "method": method.name,
            "milliseconds": statistics.median(times[method.name]),
            "saved_kib": saved_bytes(layers[method.name], x) / 1024,
            "ratios": {other: ratio(times[method.name], times[other]) for other in method.against if other in times},
        }
        for method in methods
    ]


def shown(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title}")
    for row in rows:
        ratios = "  ".join(f"{value:5.2f}x {name}" for name, value in row["ratios"].items())
        print(
            f"  {row['method']:28}{row['milliseconds']:9.3f} ms {row['saved_kib']:9.0f} KiB saved   {ratios}",
            flush=True,
        )


def chosen(methods: Iterator[Method], words: list[str] | None) -> list[Method]:
    """The methods that contain one of `words`, and those that they are measured against."""
    every = list(methods)
    wanted = [m for m in every if not words or any(word in m.name for word in words)]
    needed = {name for method in wanted for name in (method.name, *method.against)}
    return [method for method in every if method.name in needed]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=["768x768", "1024x4096", "2048x2048"], help="IN x OUT")
    parser.add_argument("--tokens", nargs="+", type=int, default=[1, 16, 256, 1024])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--tables", nargs="+", choices=["glora", "gralora"], default=["glora", "gralora"])
    parser.add_argument(
        "--methods", nargs="+", help="words: only methods whose name contains one, and their references"
    )
    parser.add_argument("--glora-ranks", nargs="+", type=int, default=[8])
    parser.add_argument("--gralora-ranks", nargs="+", type=int, default=list(RANKS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-grad", action="store_true", help="a forward pass without gradient, as in generation")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def machine(device: torch.device) -> dict[str, str]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    processor = next((line.split(": ")[1].strip() for line in lines if "model name" in line), "")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor or platform.processor()
    return {"machine": name, "torch": torch.__version__, "peft": peft.__version__, "python": platform.python_version()}


def main() -> None:
    wants = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(wants.device)
    tables = []
    for shape, dtype, tokens in itertools.product(wants.layers, wants.dtypes, wants.tokens):
        i, o = map(int, shape.split("x"))
        base = nn.Linear(i, o, dtype=getattr(torch, dtype), device=device).requires_grad_(False)
        x = torch.randn(tokens, i, dtype=base.weight.dtype, device=device).requires_grad_(not wants.no_grad)
        kinds = [("GLoRA", glora_methods, r) for r in wants.glora_ranks if "glora" in wants.tables]
        kinds += [("GraLoRA", gralora_methods, r) for r in wants.gralora_ranks if "gralora" in wants.tables]
        for kind, methods, r in kinds:
            if len(rows := chosen(methods(r), wants.methods)):
                figures = measured(rows, base, x, wants)
                what = "forward without gradient" if wants.no_grad else "forward + backward"
                shown(f"{kind} r{r}, {shape} {dtype}, {tokens} tokens, {what}", figures)
                tables.append({"kind": kind, "r": r, "layer": shape, "dtype": dtype, "tokens": tokens, "rows": figures})
    if wants.json:
        with open(wants.json, "w") as file:
            json.dump({**machine(device), "no_grad": wants.no_grad, "tables": tables}, file, indent=1)


if __name__ == "__main__":
    main()
