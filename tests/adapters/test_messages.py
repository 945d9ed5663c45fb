"""What a refusal or a warning says: the setting, its value, the rule, once each, and advice that helps."""

from __future__ import annotations

import re

import peft
import pytest
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import INERT, Net, expecting, glora_model

NONE = dict.fromkeys("ABCDE", "none")
BOTH = ["encoder", "decoder"]


def refusal(config: peft.PeftConfig, model: nn.Module) -> str:
    with pytest.raises(ValueError) as caught:
        peft.get_peft_model(model, config)
    return str(caught.value)


@pytest.mark.parametrize("cls", [GloraConfig, GraloraConfig])
def test_a_target_that_matches_nothing(cls):
    said = refusal(cls(target_modules=["nowhere"]), Net())
    assert said == (
        "`target_modules` (=['nowhere']) matches no layer: not found in the base model. "
        "Its linear layers are called decoder, encoder, head."
    )
    assert "(=[])" in refusal(cls(target_modules=[]), Net()) and "set()" not in refusal(cls(target_modules=[]), Net())


def test_nothing_to_train_names_the_settings_that_switch_paths_off():
    said = refusal(GloraConfig(config_A_B="none", config_C="none", config_D_E="none", target_modules=BOTH), Net())
    assert "switched off: A, B, C, D, E (config_A_B='none', config_C='none', config_D_E='none')" in said
    assert "bias_free" not in said and "config_B='lora'" in said
    said = refusal(GloraConfig.only(target_modules=["encoder"]), Net())
    assert "(config_A='none', config_B='none', config_C='none', config_D='none', config_E='none')" in said
    said = refusal(GloraConfig(path_pattern={"encoder": NONE}, target_modules=["encoder"]), Net())
    assert "switched off: A, B, C, D, E (path_pattern)" in said


@pytest.mark.parametrize("paths, helps", [({"C": "vector"}, True), ({"E": "vector"}, True), ({"D": "vector"}, False)])
def test_bias_free_is_advised_only_where_it_helps(paths, helps):
    said = refusal(GloraConfig.only(**paths, target_modules=["encoder"]), Net(bias=False))
    assert f"inert: {next(iter(paths))}" in said and ("bias_free='add'" in said) == helps


UNMATCHED = "The following {} keys did not match any targeted module and were ignored: ['head', 'nowhere']."


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("name", ["path_pattern", "k_pattern"])
def test_pattern_keys_that_match_nothing_are_named(name, second):
    values = {"path_pattern": {"A": "none"}, "k_pattern": 1}
    pattern = dict.fromkeys(("nowhere", "head", "enc.*"), values[name])
    cls = {"path_pattern": GloraConfig, "k_pattern": GraloraConfig}[name]
    others = {} if name == "path_pattern" else {"gralora_k": 1}
    config = cls(target_modules=BOTH, **{name: pattern}, **others)
    model = peft.get_peft_model(Net(), cls(target_modules=BOTH, **others)) if second else Net()
    with pytest.warns(RuntimeWarning, match=re.escape(UNMATCHED.format(name))):
        if second:
            model.add_adapter("second", config)
        else:
            peft.get_peft_model(model, config)


def test_pattern_keys_that_match_are_not():
    with expecting(INERT):  # any other warning fails
        glora_model(Net(), path_pattern={"encoder": {"A": "none"}, r"dec\w+": {"B": "vector"}})
