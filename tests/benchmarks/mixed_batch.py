"""What a mixed batch costs: four adapters in one batch against one adapter on the same batch. `--help` for the rest.

Rows take turns through the adapters, so that no two neighbours share one. The clock, the rounds and the step are
those of adapter_speed.py; a figure is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping

import peft
import torch
from adapter_speed import MODES, answer, machine, ratio, remembering, timed
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

NONE = dict.fromkeys("ABCDE", "none")
GLORA = ("A vector", "B lora", "B vector", "C vector", "D E vector", "all vector", "all constant", "lora without A")
CONFIGS = {
    "stock LoRA": lambda: peft.LoraConfig(r=8, lora_alpha=8),
    **{
        f"GLoRA {name}": lambda choice=choice: GloraConfig.only(**{**NONE, **choice}, r=8)
        for name, choice in MODES.items()
        if name in GLORA
    },
    "GLoRA A product lora": lambda: GloraConfig.only(A="lora", r=8, A_form="product"),
    "GraLoRA k4": lambda: GraloraConfig(r=32, alpha=32, gralora_k=4, hybrid_r=0),
}


class Mixed(nn.Module):
    """The layer with an adapter's name for each row, as PEFT's hooks would hand it on."""

    def __init__(self, layer: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.layer, self.names, self.out_features = layer, names, layer.out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, adapter_names=self.names)


def with_adapters(base: nn.Linear, method: str, count: int) -> nn.Module:
    layer = nn.Linear(base.in_features, base.out_features, dtype=base.weight.dtype)
    layer.load_state_dict(base.state_dict(), assign=True)
    for index in range(count):
        config = CONFIGS[method]()
        config.target_modules = ["layer"]
        if index == 0:
            model = peft.get_peft_model(nn.ModuleDict({"layer": layer.requires_grad_(False)}), config, "0")
        else:
            model.add_adapter(str(index), config)
    adapted: nn.Module = model.base_model.model["layer"]
    adapted.set_adapter([str(index) for index in range(count)])
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.02)
    return adapted


def measured(method: str, base: nn.Linear, x: Tensor, rounds: int) -> Mapping[str, float]:
    names = [str(row % 4) for row in range(len(x))]
    layers = {
        "one": remembering(with_adapters(base, method, 1)),
        "four": remembering(Mixed(with_adapters(base, method, 4), names)),
    }
    times = timed(answer, layers, x, rounds)
    return {"one_ms": min(times["one"]), "four_ms": min(times["four"]), "ratio": ratio(times["four"], times["one"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", nargs="+", default=["768x768", "2048x2048"], help="IN x OUT")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128], help="in each row")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="write the figures to this file")
    wants = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    rows = []
    for shape in wants.layers:
        base = nn.Linear(*map(int, shape.split("x"))).requires_grad_(False)
        for tokens in wants.tokens:
            x = torch.randn(wants.rows, tokens, base.in_features)
            for method in CONFIGS:
                rows.append({"layer": shape, "tokens": tokens, "method": method, **measured(method, base, x, wants.rounds)})
                print("{layer} {tokens:4} tokens a row  {method:24}{ratio:6.2f}x".format(**rows[-1]), flush=True)
    if wants.json:
        with open(wants.json, "w") as file:
            json.dump({**machine(torch.device("cpu")), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
