"""PathPanel: a control moves, and the state is what the real layer computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from peft import get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.figures import describe_path_picture
from glora_lab.ideas.paths.panel import example_picture
from glora_lab.measure import path_picture
from glora_lab.page.controls.example_values import FRESH, TRAINED
from glora_lab.panels import PathPanel


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3, bias=False)


@pytest.fixture
def model() -> nn.Module:
    return Tiny()


def test_it_starts_on_a_real_layer_of_digits_vit() -> None:
    panel = PathPanel()
    assert panel.picture.layer == "vit.layers.0.attention.q_proj" and panel.picture.w0.shape == (64, 64)
    assert panel.params == panel.picture.total > 0 and panel.picture.weight_change > 0.01
    assert panel.figure.summary == describe_path_picture(panel.picture)
    assert panel.errors == [] and panel.problem == ""


def test_a_mode_is_seen_in_picture_params_and_config(model: nn.Module) -> None:
    panel = PathPanel(model, "first")
    before = panel.picture
    panel.modes.buttons["B"].value = "vector"
    assert panel.config.modes["B"] == panel.picture.modes["B"] == "vector"
    assert panel.picture.params["B"] == 4 and panel.params == before.total - before.params["B"] + 4
    assert np.ptp(panel.picture.b, axis=1).max() < 1e-12  # a vector adds the same to a whole row
    np.testing.assert_array_equal(panel.picture.w0a, before.w0a)  # one path switched, the others stay


def test_rank_and_form_reach_the_layer(model: nn.Module) -> None:
    panel = PathPanel(model, "first")
    panel.rank.value = 1
    assert panel.picture.rank_b == 1 and panel.picture.params["B"] == 10 and panel.config.r == 1
    panel.form.value = "product"
    assert panel.picture.form == panel.config.A_form == "product"
    rows = [row.children[1].value for row in panel.modes.children]
    assert "·A" in rows[0] and "⊙" not in rows[0] and "⊙" in rows[3]  # A's term is that of the form, D's stays


def test_the_picture_is_the_one_of_the_configuration(model: nn.Module) -> None:
    panel = PathPanel(model, "first")
    panel.values.value = FRESH
    real = path_picture(get_peft_model(model, panel.config), "first")
    assert panel.picture == real and panel.picture.weight_change == panel.picture.bias_change == 0


def test_other_values_are_drawn_and_the_same_ones_come_again(model: nn.Module) -> None:
    panel, again = PathPanel(model, "first"), PathPanel(model, "first")
    assert panel.picture == again.picture
    panel.again.click()
    assert panel.picture != again.picture and panel.picture.modes == again.picture.modes


def test_drawing_values_leaves_the_random_state_and_the_model_alone(model: nn.Module) -> None:
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    panel = PathPanel(model, "first")
    panel.modes.buttons["A"].value = "vector"
    torch.testing.assert_close(model.state_dict(), weights, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_bias_free_layer_tells_what_is_inert(model: nn.Module) -> None:
    panel = PathPanel(model, "second")
    assert set(panel.picture.inert) == {"C", "D", "E"} and panel.picture.params["C"] == 0
    equation = panel.equation.value
    assert equation.count("line-through") == 3 and "the layer has no bias" in equation


@pytest.mark.parametrize("layer", ["first", "second"])
def test_everything_off_shows_the_layer_as_it_is(model: nn.Module, layer: str) -> None:
    panel = PathPanel(model, layer)
    panel.modes.set_modes({})
    assert panel.params == 0 and panel.picture.modes == dict.fromkeys(PATHS, "none")
    np.testing.assert_array_equal(panel.picture.w_eff, panel.picture.w0)
    assert panel.errors == []


def test_only_inert_paths_show_the_layer_as_it_is(model: nn.Module) -> None:
    panel = PathPanel(model, "second")
    panel.modes.set_modes({"E": "vector"})
    assert panel.params == 0 and set(panel.picture.inert) == {"E"} and panel.picture.modes["E"] == "vector"
    assert panel.errors == []


def test_a_model_with_an_adapter_is_shown_with_its_own_values(model: nn.Module) -> None:
    config = GloraConfig(target_modules=["first"], config_A_B="vector", config_C="none", init_weights=False)
    adapted = get_peft_model(model, config)
    panel = PathPanel(adapted)
    assert panel.values.value == TRAINED and panel.layer_choice.options == ("first",)
    assert panel.picture == path_picture(adapted, "first")
    assert panel.modes.modes == config.modes and panel.rank.value == config.r
    panel.modes.buttons["A"].value = "lora"  # what the adapter is not: an example from here on
    assert panel.values.value != TRAINED and panel.picture.modes["A"] == "lora"
    assert panel.errors == []


def test_a_layer_is_named_by_its_end_or_refused(model: nn.Module) -> None:
    assert PathPanel(nn.ModuleDict({"block": model}), "second").picture.layer == "block.second"
    with pytest.raises(ValueError, match=r"`layer` \(='third'\) must name one layer.*first, second"):
        PathPanel(model, "third")


SETTINGS = {
    "alpha": ({"alpha": 32.0}, 32 / 4),
    "use_rslora": ({"alpha": 32.0, "use_rslora": True}, 32 / 2),
    "alpha_pattern": ({"alpha_pattern": {"first": 12.0}}, 12 / 4),
    "rank_pattern": ({"alpha": 32.0, "r": 2, "rank_pattern": {"first": 4}}, 32 / 4),
}


@pytest.mark.parametrize(("settings", "scaling"), SETTINGS.values(), ids=SETTINGS)
def test_what_no_control_says_is_as_the_adapter_has_it(model: nn.Module, settings: dict, scaling: float) -> None:
    """The example drawn in place of an adapter's own values is scaled as the adapter is."""
    config = GloraConfig(**{"r": 4, "target_modules": ["first"], **settings})
    adapted, plain = PathPanel(get_peft_model(copy.deepcopy(model), config)), PathPanel(model, "first")
    assert adapted.rank.value == 4
    plain.rank.value = 4
    for panel in (adapted, plain):
        panel.modes.buttons["E"].value = "vector"
    np.testing.assert_allclose(adapted.picture.b, scaling * plain.picture.b)
    np.testing.assert_allclose(adapted.picture.w0c, scaling * plain.picture.w0c)
    np.testing.assert_array_equal(adapted.picture.e, plain.picture.e)  # no product
    adapted.rank.value = plain.rank.value = 1  # the control says it, whatever a pattern says
    assert adapted.picture.params == plain.picture.params and adapted.picture.rank_b == 1


@pytest.mark.filterwarnings("ignore:bias=.* does not save them")  # said by PEFT 0.20 alone
def test_every_setting_of_the_adapter_is_in_the_configuration(model: nn.Module) -> None:
    settings = {"bias": "all", "bias_free": "add", "glora_dropout": 0.1, "alpha": 3.0, "use_rslora": True}
    config = GloraConfig(**settings, target_modules="second|first", config_D="none", init_weights=False)
    panel = PathPanel(get_peft_model(model, config), "second")
    panel.modes.buttons["A"].value = "vector"
    assert {name: getattr(panel.config, name) for name in settings} == settings
    assert panel.config.target_modules == {"second"} and panel.config.init_weights
    assert panel.picture.inert == {} and panel.picture.params["E"] == 1  # "add" reaches the layer


def test_the_settings_of_a_layer_reach_its_example(model: nn.Module) -> None:
    patterns = {"rank_pattern": {"first": 2}, "path_pattern": {"fir.*": {"A": "none", "D": "vector"}}}
    config = GloraConfig(target_modules=["first"], A_form="product", **patterns)
    picture = example_picture(model.first, "first", config, fresh=False, seed=0)
    assert picture.form == "product" and picture.rank_b == 2 and picture.params["B"] == 2 * (6 + 4)
    assert (picture.modes["A"], picture.modes["D"], picture.params["D"]) == ("none", "vector", 4)
    assert picture.layer == "first" and type(model.first) is nn.Linear
