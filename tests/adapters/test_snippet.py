"""Snippets run, and make the configuration that they were written from; what PEFT cannot say is not said."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import peft
import pytest
import torch
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.glora.paths import MODES, PATHS
from glora_lab.adapters.stock.snippet import MODE_FIELDS, config_snippet

ALL_432 = list(itertools.product(*(MODES[path] for path in PATHS)))
RICH: dict[str, Any] = {
    "r": 5,
    "target_modules": ["q", 'wei"rd'],
    "bias": "glora_only",
    "modules_to_save": ["head"],
    "A_form": "product",
    "alpha": 3.5,
    "use_rslora": True,
    "glora_dropout": 0.25,
    "bias_free": "add",
    "rank_pattern": {"q": 2},
    "alpha_pattern": {"q": 7},
    "path_pattern": {r"layers\.0\..*": {"A": "none", "E": "vector"}},
    "exclude_modules": "skip|this",
    "layers_to_transform": [0, 2],
    "layers_pattern": "layers",
    "init_weights": False,
    "task_type": "SEQ_CLS",
}


def run(snippet: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(snippet, namespace)
    return namespace.get("config")


def config(modes: dict[str, str], **settings: Any) -> GloraConfig:
    return GloraConfig(**{f"config_{path}": modes.get(path, "none") for path in PATHS}, **settings)


class Tiny(nn.Module):
    """Two layers by name; weights drawn, so that outputs tell configurations apart."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.v = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.v(self.q(x))


def same_function(one: peft.PeftConfig, other: peft.PeftConfig) -> bool:
    """Whether both, given the same values for their parameters, compute the same."""
    outputs = []
    for made in (one, other):
        torch.manual_seed(0)
        model = peft.get_peft_model(Tiny(), made)
        torch.manual_seed(1)
        for parameter in sorted_trainable(model):
            nn.init.normal_(parameter)
        outputs.append(model.eval()(torch.linspace(-1, 1, 12).reshape(2, 6)))
    return torch.allclose(outputs[0], outputs[1], atol=1e-5)


def sorted_trainable(model: nn.Module) -> list[nn.Parameter]:
    """Up before down in both libraries: PEFT's lora_A is our Xu, its lora_B our Xd."""
    return [p for _, p in sorted(model.named_parameters(), key=lambda item: order(item[0])) if p.requires_grad]


def order(name: str) -> str:
    return name.replace("lora_A.default.weight", "1").replace("glora_B.default.Xu", "1")


@pytest.mark.parametrize("settings", [{}, RICH, *({key: value} for key, value in RICH.items() if "rslora" not in key)])
def test_ours_comes_back_whole(settings: dict[str, Any]) -> None:
    if {"layers_to_transform", "layers_pattern"} & settings.keys():
        settings = {"target_modules": ["q"], "layers_to_transform": [0], **settings}
    if settings is RICH or "use_rslora" in settings:
        settings = {**settings, "alpha": 3.5}
    original = config({"A": "lora", "E": "vector"}, **settings)
    made = run(config_snippet(original))
    assert type(made) is GloraConfig and made.modes == original.modes
    for field in fields(original):
        if field.name not in MODE_FIELDS:
            assert getattr(made, field.name) == getattr(original, field.name), field.name


def test_the_shorthand_is_written_out() -> None:
    made = run(config_snippet(GloraConfig(config_A_B="vector", config_B="none", config_D_E="none")))
    assert made.modes == {"A": "vector", "B": "none", "C": "lora", "D": "none", "E": "none"}


def test_defaults_are_left_out() -> None:
    assert "alpha" not in config_snippet(GloraConfig()) and "    r=8,\n" in config_snippet(GloraConfig())


def test_all_432_settings_are_said_by_peft_or_refused_with_the_reason() -> None:
    said = 0
    for choice in ALL_432:
        modes = dict(zip(PATHS, choice, strict=True))
        snippet = config_snippet(config(modes, target_modules=["q"]), "peft")
        made = run(snippet)
        if made is None:
            assert "PEFT cannot say this: config_" in snippet
        elif isinstance(made, peft.LoraConfig):
            assert modes == {"A": "none", "B": "lora", "C": "none", "D": "none", "E": "none"}
            said += 1
        else:
            theirs = (made.config_A_B, made.config_A_B, made.config_C, made.config_D_E, made.config_D_E)
            assert type(made) is peft.GloraConfig and theirs == choice
            said += 1
    assert said == 4 * 3 * 3 + 1  # the joint settings, and LoRA


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"A_form": "product"}, "A_form='product'"),
        ({"bias_free": "add"}, "bias_free='add'"),
        ({"alpha": 4.0}, "alpha=4.0"),
        ({"glora_dropout": 0.5}, "glora_dropout=0.5"),
        ({"rank_pattern": {"q": 2}}, "rank_pattern={'q': 2}"),
        ({"path_pattern": {"q": {"A": "none"}}}, "path_pattern="),
        ({"exclude_modules": ["v"]}, "exclude_modules=['v']"),
        ({"init_weights": False}, "init_weights=False"),
    ],
)
def test_what_peft_cannot_say_is_named_and_nothing_is_made(settings: dict[str, Any], word: str) -> None:
    snippet = config_snippet(GloraConfig(target_modules=["q"], **settings), "peft")
    assert word in snippet and run(snippet) is None


def test_what_makes_no_difference_is_no_obstacle() -> None:
    modes = {"C": "vector", "D": "vector", "E": "vector"}
    made = run(config_snippet(config(modes, target_modules=["q"], A_form="product", alpha=4.0), "peft"))
    assert (made.config_A_B, made.config_C, made.config_D_E) == ("none", "vector", "vector")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 12},
        {"alpha": 12, "use_rslora": True},
        {"rank_pattern": {"q": 1}},
        {"rank_pattern": {"q": 1}, "alpha_pattern": {"v": 9}},
        {"alpha_pattern": {"q": 9}},
        {"glora_dropout": 0.5, "A_form": "product", "bias_free": "add"},
        {"exclude_modules": ["v"]},
    ],
)
def test_b_alone_is_pefts_lora_and_computes_the_same(settings: dict[str, Any]) -> None:
    ours = config({"B": "lora"}, r=3, target_modules=["q", "v"], **settings)
    theirs = run(config_snippet(ours, "peft"))
    assert isinstance(theirs, peft.LoraConfig)
    assert same_function(ours, theirs)
    assert theirs.lora_dropout == ours.glora_dropout


def test_what_lora_cannot_say_is_named() -> None:
    rslora = config({"B": "lora"}, use_rslora=True, alpha_pattern={"q": 2})
    assert "use_rslora" in config_snippet(rslora, "peft") and run(config_snippet(rslora, "peft")) is None
    pattern = config({"B": "lora"}, path_pattern={"q": {"A": "lora"}})
    assert "path_pattern" in config_snippet(pattern, "peft")
    assert run(config_snippet(config({"B": "lora"}, bias="glora_only"), "peft")).bias == "lora_only"


def test_another_library_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`library` \(='keras'\) must be one of 'glora_lab', 'peft'"):
        config_snippet(GloraConfig(), "keras")
