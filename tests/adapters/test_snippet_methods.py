"""Snippets of LoRA and GraLoRA: they run, and what they make is what they were written from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import peft
import pytest
from peft import LoraConfig
from peft.tuners.lora import EvaConfig

from glora_lab.adapters import GraloraConfig
from glora_lab.adapters.stock.snippet import config_snippet
from tests.adapters.test_snippet import run, same_function

RICH: dict[str, Any] = {
    "r": 6,
    "hybrid_r": 2,
    "target_modules": ["q", 'wei"rd'],
    "alpha": 3.5,
    "gralora_dropout": 0.25,
    "gralora_k": 3,
    "bias": "gralora_only",
    "modules_to_save": ["head"],
    "init_weights": False,
    "layers_to_transform": [0, 2],
    "layers_pattern": "layers",
    "rank_pattern": {"q": 3},
    "alpha_pattern": {"q": 7},
    "k_pattern": {"q": 1},
    "exclude_modules": "skip|this",
    "use_rslora": True,
    "on_indivisible": "skip",
    "task_type": "SEQ_CLS",
}
BEYOND_STOCK = ("rank_pattern", "alpha_pattern", "k_pattern", "exclude_modules", "use_rslora", "on_indivisible")
FITS = {"r": 2, "gralora_k": 2, "target_modules": ["q", "v"]}  # the layers of Tiny


def alike(made: Any, original: Any) -> bool:
    names = [field.name for field in fields(original) if field.name != "peft_type"]
    return type(made) is type(original) and all(getattr(made, name) == getattr(original, name) for name in names)


@pytest.mark.parametrize("settings", [{}, RICH, {"r": 4, "alpha": 64}, {"on_indivisible": "skip"}])
def test_our_gralora_comes_back_whole(settings: dict[str, Any]) -> None:
    original = GraloraConfig(**settings)
    assert alike(run(config_snippet(original)), original)


def test_what_makes_gralora_what_it_is_is_always_written() -> None:
    snippet = config_snippet(GraloraConfig())
    assert all(f"    {setting},\n" in snippet for setting in ("r=32", "gralora_k=2", "alpha=64"))
    assert "hybrid_r" not in snippet and "from glora_lab import GraloraConfig" in snippet


@pytest.mark.parametrize("settings", [{}, {"hybrid_r": 3}, {"alpha": 5.0}, {"gralora_k": 1}, {"target_modules": ["v"]}])
def test_for_peft_it_is_stock_gralora_and_computes_the_same(settings: dict[str, Any]) -> None:
    ours = GraloraConfig(**{**FITS, **settings})
    theirs = run(config_snippet(ours, "peft"))
    assert type(theirs) is peft.GraloraConfig and same_function(ours, theirs)
    assert not same_function(ours, peft.GraloraConfig(**{**FITS, **settings, "alpha": 1.0}))


@pytest.mark.parametrize("name", [*BEYOND_STOCK, "init_weights"])
def test_what_stock_gralora_cannot_say_is_named_and_nothing_is_made(name: str) -> None:
    original = GraloraConfig(r=6, gralora_k=3, target_modules=["q"], **{name: RICH[name]})
    snippet = config_snippet(original, "peft")
    assert f"PEFT cannot say this: {name}={RICH[name]!r}" in snippet and run(snippet) is None


@pytest.mark.parametrize("library", ["glora_lab", "peft"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"r": 12, "lora_alpha": 12, "target_modules": ["q", "v"]},
        {"lora_alpha": 0.5, "lora_dropout": 0.1, "use_rslora": True, "use_dora": True, "rank_pattern": {"q": 2}},
        {"init_lora_weights": "pissa", "bias": "lora_only", "task_type": "CAUSAL_LM", "modules_to_save": ["head"]},
    ],
)
def test_lora_is_pefts_for_both_libraries(settings: dict[str, Any], library: str) -> None:
    original = LoraConfig(**settings)
    snippet = config_snippet(original, library)
    assert alike(run(snippet), original) and "from peft import LoraConfig" in snippet
    assert f"    r={original.r},\n" in snippet and f"    lora_alpha={original.lora_alpha!r},\n" in snippet


def test_settings_that_no_text_holds_are_named_and_nothing_is_made() -> None:
    snippet = config_snippet(LoraConfig(init_lora_weights="eva", eva_config=EvaConfig()))
    assert "# No text can say this: eva_config=EvaConfig(" in snippet and run(snippet) is None


def test_another_kind_of_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`config` \(a peft.*gralora.*GraloraConfig\) must be PEFT's LoraConfig"):
        config_snippet(peft.GraloraConfig())  # type: ignore[arg-type]
