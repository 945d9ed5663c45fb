"""path_picture takes a layer apart into terms that sum to what the layer computes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from glora_lab.adapters import GloraConfig
from glora_lab.measure import path_picture


def adapted(base, **settings):
    torch.manual_seed(0)
    model = get_peft_model(nn.Sequential(base), GloraConfig(target_modules=["0"], init_weights=False, **settings))
    return model, model.base_model.model[0]


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("mode", ["lora", "vector"])
@pytest.mark.parametrize("base", [nn.Linear(6, 5), Conv1D(5, 6)], ids=["Linear", "Conv1D"])
def test_the_picture_computes_what_the_layer_computes(base, mode, form):
    model, layer = adapted(base.double(), config_A_B=mode, config_C=mode, config_D_E="vector", A_form=form, r=2)
    picture = path_picture(model, "0")
    x = torch.randn(7, 6, dtype=torch.float64)
    pictured = F.linear(x, torch.from_numpy(picture.w_eff), torch.from_numpy(picture.b_eff))
    torch.testing.assert_close(pictured, layer(x), rtol=0, atol=1e-12)


def test_terms_sum_and_merging_changes_nothing():
    model, layer = adapted(nn.Linear(6, 5), r=2, config_D_E="vector")
    picture = path_picture(model, "0")
    assert np.array_equal(picture.w_eff, picture.w0 + picture.w0a + picture.b)
    assert np.array_equal(picture.b_eff, picture.b0 + picture.b0d + picture.e + picture.w0c)
    layer.merge()
    assert path_picture(model, "0") == picture


def test_ranks_of_the_two_weight_terms():
    """B lora has rank r; W0⊙A is not bounded by r; B vector has rank one."""
    model, _ = adapted(nn.Linear(32, 32), r=2)
    picture = path_picture(model, "0")
    assert picture.rank_b == 2
    assert picture.rank_w0a == 32
    model, _ = adapted(nn.Linear(32, 32), config_A_B="vector")
    assert path_picture(model, "0").rank_b == 1


@pytest.mark.filterwarnings("ignore:Inert GLoRA paths")
def test_a_path_that_is_off_or_inert_is_zero():
    model, _ = adapted(
        nn.Linear(6, 5, bias=False), config_A="none", config_B="vector", config_C="none", config_D="none"
    )
    picture = path_picture(model, "0")
    assert not picture.w0a.any() and not picture.e.any() and not picture.b0.any()
    assert picture.b.any()
    assert picture.modes == {"A": "none", "B": "vector", "C": "none", "D": "none", "E": "constant"}
    assert list(picture.inert) == ["E"]
    assert picture.params == {"A": 0, "B": 5, "C": 0, "D": 0, "E": 0}


def test_errors_name_the_layer_and_the_choices():
    model, _ = adapted(nn.Linear(6, 5))
    with pytest.raises(ValueError, match=r"`layer` \(='nope'\) is no adapted layer; there are: 0"):
        path_picture(model, "nope")
    with pytest.raises(ValueError, match=r"`adapter_name` \(='b'\)"):
        path_picture(model, "0", adapter_name="b")
    lora = get_peft_model(nn.Sequential(nn.Linear(6, 5)), LoraConfig(target_modules=["0"]))
    with pytest.raises(ValueError, match="GLoRA's alone"):
        path_picture(lora, "0")
    two = get_peft_model(
        nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3)), "b": nn.Sequential(nn.Linear(3, 3))}),
        GloraConfig(target_modules=["0"]),
    )
    with pytest.raises(ValueError, match=r"is the end of 2 adapted layers: a\.0, b\.0"):
        path_picture(two, "0")


def test_the_rank_of_a_layer_that_is_too_large_is_not_asked():
    """A reader moves a slider and waits: half a minute of decomposition is no answer."""
    model, _ = adapted(nn.Linear(1025, 1026), config_A_B="vector", config_C="none")
    picture = path_picture(model, "0")
    assert (picture.rank_w0a, picture.rank_b) == (None, None)
    model, _ = adapted(nn.Linear(1025, 4), config_A_B="vector", config_C="none")
    assert (path_picture(model, "0").rank_w0a, path_picture(model, "0").rank_b) == (4, 1)
