"""formula.py: the layer against the authors' definition, written out here as matrices."""

from __future__ import annotations

import peft
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glora_lab.adapters import GloraLinear

from .small_models import SINGLES, choices, conv1d, glora_layer, largest_difference, named

IN, OUT = 6, 5
CASES = [
    pytest.param(True, "drop", id="bias"),
    pytest.param(False, "drop", id="bias-free, drop"),
    pytest.param(False, "add", id="bias-free, add"),
]


def matrix(layer: GloraLinear, path: str, shape: tuple[int, ...]) -> Tensor:
    """A path's tensors as one matrix of that shape; zero where the path is off."""
    held = getattr(layer, f"glora_{path}")
    if "default" not in held:
        return torch.zeros(shape, dtype=torch.double)
    tensors = dict(held["default"].named_parameters())
    if "Xd" in tensors:
        return (tensors["Xd"] @ tensors["Xu"]).reshape(shape)
    return tensors["X"].reshape(-1, *[1] * (len(shape) - 1)).expand(shape)


def authors(layer: GloraLinear, form: str = "elementwise") -> tuple[Tensor, Tensor]:
    """(W_eff, b_eff) as the authors define them: W0 + W0⊙A + B and b0 + b0⊙D + E + W0·C."""
    base = layer.base_layer
    w0 = base.weight.detach() if isinstance(base, nn.Linear) else base.weight.detach().T
    b0 = torch.zeros(OUT, dtype=torch.double) if base.bias is None else base.bias.detach()
    if form == "elementwise":
        multiplied = w0 * matrix(layer, "A", (OUT, IN))
    elif "default" in layer.glora_A and "Xd" in dict(layer.glora_A["default"].named_parameters()):
        multiplied = w0 @ matrix(layer, "A", (IN, IN))
    else:  # one number per input channel, or one for all: W0·diag(a)
        multiplied = w0 @ torch.diag(matrix(layer, "A", (IN,)))
    weight = w0 + multiplied + matrix(layer, "B", (OUT, IN))
    bias = b0 + b0 * matrix(layer, "D", (OUT,)) + matrix(layer, "E", (OUT,)) + w0 @ matrix(layer, "C", (IN,))
    return weight, bias


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("bias, bias_free", CASES)
def test_every_choice_equals_the_authors_formula(bias, bias_free, form):
    """Its outputs, their gradients, and the sum of its terms."""
    x = torch.randn(2, 3, IN, dtype=torch.double, requires_grad=True)
    upstream = torch.randn(2, 3, OUT, dtype=torch.double)
    for choice in choices(form):
        layer = glora_layer(nn.Linear(IN, OUT, bias=bias).double(), choice, A_form=form, bias_free=bias_free)
        trained = [p for name, p in layer.named_parameters() if not name.startswith("base_layer")]
        layer.base_layer.requires_grad_(False)
        weight, b_eff = authors(layer, form)
        out, expected = layer(x), F.linear(x, weight, b_eff)
        assert largest_difference(out, expected) < 1e-12, named(choice)
        ours, theirs = (torch.autograd.grad((of * upstream).sum(), [x, *trained]) for of in (out, expected))
        for mine, wanted in zip(ours, theirs, strict=True):
            assert largest_difference(mine, wanted) < 1e-12, named(choice)
        the_terms_add_up(layer, weight, b_eff, named(choice))


def the_terms_add_up(layer: GloraLinear, weight: Tensor, b_eff: Tensor, choice: str) -> None:
    of_weight, of_bias = layer.weight_terms("default").values(), layer.bias_terms("default").values()
    assert largest_difference(sum(of_weight, start=layer.base_layer.weight), weight) < 1e-12, choice
    b0 = torch.zeros(OUT, dtype=torch.double) if layer.base_layer.bias is None else layer.base_layer.bias
    assert largest_difference(sum(of_bias, start=b0), b_eff) < 1e-12, choice
    assert all(term.shape == (OUT, IN) for term in of_weight)
    assert all(term.shape == (OUT,) for term in of_bias)


@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_conv1d_keeps_its_weight_transposed_and_the_formula_stays(form):
    x = torch.randn(2, 3, IN, dtype=torch.double)
    for choice in choices(form):
        layer = glora_layer(conv1d(IN, OUT).double(), choice, A_form=form)
        expected = F.linear(x, *authors(layer, form))
        assert largest_difference(layer(x), expected) < 1e-12, named(choice)
        assert layer.get_delta_weight("default").shape == layer.base_layer.weight.shape
        layer.merge()
        assert largest_difference(layer(x), expected) < 1e-12, named(choice)


@pytest.mark.parametrize(
    "settings, factor", [({"alpha": 12}, 12 / 3), ({"alpha": 12, "use_rslora": True}, 12 / 3**0.5)]
)
@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_alpha_scales_the_low_rank_products_and_nothing_else(settings, factor, form):
    x = torch.randn(4, IN, dtype=torch.double)
    for choice in SINGLES:
        layer = glora_layer(nn.Linear(IN, OUT).double(), choice, A_form=form, **settings)
        rank = layer.r["default"]
        plain = glora_layer(layer.base_layer, choice, A_form=form, r=rank)  # the same values, without alpha
        plain.load_state_dict(layer.state_dict())
        delta, wanted = layer(x) - layer.base_layer(x), factor if "lora" in choice.values() else 1.0
        assert largest_difference(delta, wanted * (plain(x) - layer.base_layer(x))) < 1e-12, named(choice)


@pytest.mark.parametrize("form", ["elementwise", "product"])
def test_initialisation_is_a_no_op_bit_for_bit(form):
    x = torch.randn(4, IN)
    for choice in choices(form):
        layer = glora_layer(nn.Linear(IN, OUT), choice, A_form=form, init_weights=True)
        assert torch.equal(layer(x), layer.base_layer(x)), named(choice)
        before = layer.base_layer.weight.clone(), layer.base_layer.bias.clone()
        layer.merge()
        assert torch.equal(layer.base_layer.weight, before[0]) and torch.equal(layer.base_layer.bias, before[1])


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("choice", [c for c in SINGLES if c["A"] != "none" or c["B"] != "none"], ids=named)
def test_dropout_falls_on_the_input_of_a_and_b(choice, form):
    x = torch.randn(64, IN, dtype=torch.double)
    layer = glora_layer(nn.Linear(IN, OUT).double(), choice, A_form=form, glora_dropout=0.5)
    torch.manual_seed(1)
    dropped = F.dropout(x, 0.5)
    added = authors(layer, form)[0] - layer.base_layer.weight
    torch.manual_seed(1)
    assert largest_difference(layer(x), layer.base_layer(x) + F.linear(dropped, added)) < 1e-12
    layer.eval()
    assert largest_difference(layer(x), F.linear(x, *authors(layer, form))) < 1e-12


@pytest.mark.parametrize("choice", [c for c in SINGLES if c["A"] == c["B"] == "none"], ids=named)
def test_dropout_leaves_the_bias_paths_alone(choice):
    x = torch.randn(4, IN, dtype=torch.double)
    layer = glora_layer(nn.Linear(IN, OUT).double(), choice, glora_dropout=0.9)
    assert torch.equal(layer(x), layer.eval()(x))


def relative_change(layer: nn.Module, base: nn.Module, x: Tensor) -> float:
    out, adapted = base(x), layer(x)
    return ((adapted - out).pow(2).mean() / out.pow(2).mean()).sqrt().item()


INPUTS = {"centred": torch.randn, "all-positive": torch.rand}


@pytest.mark.parametrize("form", ["elementwise", "product"])
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("in_features", [8, 64, 1024])
def test_random_initial_values_have_a_usable_scale(in_features, inputs, form):
    for choice in SINGLES:
        changes = []
        for seed in range(5):
            torch.manual_seed(seed)
            base, x = nn.Linear(in_features, 32), INPUTS[inputs](64, in_features)
            nn.init.normal_(base.bias, std=0.3)  # D scales b0, and torch starts b0 smaller the wider the layer
            changes.append(relative_change(glora_layer(base, choice, r=4, A_form=form), base, x))
        assert 0.005 < sorted(changes)[2] < 0.6, f"{named(choice)}: {changes}"


def test_random_initial_values_of_peft_are_far_too_large_in_vector_mode():
    config = peft.GloraConfig(config_A_B="vector", config_C="none", config_D_E="none", init_weights=False)
    base, x = nn.Linear(1024, 32), torch.rand(64, 1024)
    assert relative_change(peft.tuners.glora.layer.GloraLinear(base, "default", config), base, x) > 10
