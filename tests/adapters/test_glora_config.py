"""GloraConfig: what it says, what it refuses, and which layers it reaches."""

from __future__ import annotations

import pytest

from glora_lab.adapters import GloraConfig

from .small_models import Net, glora_model
from .test_config import adapted, llama_layers


def modes(**settings) -> str:
    """The five modes as their first letters, A to E, with - for none."""
    return "".join("-" if mode == "none" else mode[0] for mode in GloraConfig(**settings).modes.values())


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "lllcc"),
        ({"config_A_B": "vector"}, "vvlcc"),
        ({"config_A_B": "constant", "config_C": "vector", "config_D_E": "vector"}, "ccvvv"),
        ({"config_A_B": "none", "config_C": "none", "config_D_E": "none"}, "-----"),
        ({"config_A": "none"}, "-llcc"),
        ({"config_B": "constant"}, "lclcc"),
        ({"config_A_B": "none", "config_A": "vector"}, "v-lcc"),
        ({"config_D": "none"}, "lll-c"),
        ({"config_D_E": "none", "config_E": "vector"}, "lll-v"),
        ({"config_A": "lora", "config_B": "vector", "config_D": "constant", "config_E": "none"}, "lvlc-"),
    ],
)
def test_the_shorthand_and_its_overrides(settings, expected):
    assert modes(**settings) == expected


def test_only_switches_the_other_paths_off():
    assert GloraConfig.only(B="lora").modes == {"A": "none", "B": "lora", "C": "none", "D": "none", "E": "none"}
    assert GloraConfig.only(E="vector", r=2).r == 2


def test_rank_and_alpha_patterns():
    found = llama_layers(
        GloraConfig,
        r=4,
        alpha=8,
        target_modules=["q_proj", "v_proj"],
        rank_pattern={"v_proj": 2, r"layers\.1\.self_attn\.q_proj": 6},
        alpha_pattern={r"layers\.0\.self_attn\.v_proj": 32},
    )
    short = {name.removeprefix("model.layers.").replace(".self_attn", ""): layer for name, layer in found.items()}
    assert {n: m.r["default"] for n, m in short.items()} == {"0.q_proj": 4, "0.v_proj": 2, "1.q_proj": 6, "1.v_proj": 2}
    assert short["1.q_proj"].glora_B["default"].Xu.shape == (6, 32)
    assert {n: m.scaling["default"] for n, m in short.items()} == {
        "0.q_proj": 8 / 4,
        "0.v_proj": 32 / 2,
        "1.q_proj": 8 / 6,
        "1.v_proj": 8 / 2,
    }


def test_alpha_pattern_alone_scales_its_layers_and_no_others():
    found = adapted(glora_model(Net(), r=4, alpha_pattern={"decoder": 8}, use_rslora=True))
    assert {name: layer.scaling["default"] for name, layer in found.items()} == {"encoder": 1.0, "decoder": 8 / 2}


def test_path_pattern():
    found = adapted(
        glora_model(Net(), path_pattern={"decoder": {"A": "none", "D": "vector"}, ".*enc.*": {"E": "none"}})
    )
    assert {name: layer.plans["default"].modes for name, layer in found.items()} == {
        "encoder": {"A": "lora", "B": "lora", "C": "lora", "D": "constant", "E": "none"},
        "decoder": {"A": "none", "B": "lora", "C": "lora", "D": "vector", "E": "constant"},
    }


def test_a_path_pattern_may_switch_a_whole_layer_off():
    model = glora_model(Net(), path_pattern={"decoder": dict.fromkeys("ABCDE", "none")})
    assert not [name for name, _ in model.named_parameters() if "decoder.glora" in name]
