"""Any configuration at all: it trains a step, is saved and loaded, merged and unmerged exactly, or it is refused with a
ValueError that names the field."""

from __future__ import annotations

import copy
import re
from dataclasses import fields
from typing import Any

import peft
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import Tensor, nn

from glora_lab.adapters import GloraConfig, GraloraConfig

from .small_models import GAINED_BIAS, INERT, bits, conv1d, expecting, same_bits

X = torch.randn(3, 8, dtype=torch.double, generator=torch.Generator().manual_seed(1))
EXPECTED = (
    INERT,
    GAINED_BIAS,
    "Indivisible layers",
    r"The following \w+ keys did not match",
    "You have passed exclude_modules",
)


class Block(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 12, bias=bias), conv1d(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(x)))


class Tower(nn.Module):
    """Two blocks in a list, as language models have them, with features that k = 1, 2 and 4 divide, and a head of 3."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(bias), Block(bias)])
        self.head = nn.Linear(8, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def of(*values: Any) -> st.SearchStrategy:
    return st.sampled_from(values)


NUMBERS = of(1, 2, 3, 4, 6, 8)
MODES = of("lora", "vector", "constant", "none")
VECTORS = of("vector", "constant", "none")
KEYS = of("up", "down", "layers.1.up", r"layers\.0\..*", "elsewhere")
TARGETS = of(
    ["up"], ["down"], ["up", "down"], ["layers.0.up", "head"], "all-linear", r".*\.(up|down)", r"head|layers\.1\.up"
)
PATHS = st.dictionaries(
    of(*"AB"), of("lora", "vector", "constant", "none"), max_size=2
).flatmap(lambda ab: st.dictionaries(of(*"DE"), VECTORS, max_size=2).map(lambda de: {**ab, **de}))  # fmt: skip
SHARED: dict[str, st.SearchStrategy] = {
    "r": NUMBERS,
    "init_weights": st.booleans(),
    "use_rslora": st.booleans(),
    "modules_to_save": of(None, ["head"], ["layers.1"]),
    "exclude_modules": of(None, ["down"], r".*1.*", ["nothing"]),
    "layers_to_transform": of(None, 0, [1], [0, 1]),
    "layers_pattern": of(None, "layers", ["layers"]),
    "rank_pattern": st.dictionaries(KEYS, NUMBERS, max_size=2),
    "alpha_pattern": st.dictionaries(KEYS, of(1, 0.5, 7), max_size=2),
}
GLORA = {
    **SHARED,
    "config_A_B": MODES, "config_C": of("lora", "vector", "none"), "config_D_E": VECTORS,
    "config_A": MODES, "config_B": MODES, "config_D": VECTORS, "config_E": VECTORS,
    "A_form": of("elementwise", "product"), "bias_free": of("drop", "add"),
    "alpha": of(None, 1, 0.5, 16), "glora_dropout": of(0.0, 0.5), "bias": of("none", "all", "glora_only"),
    "path_pattern": st.dictionaries(KEYS, PATHS, max_size=2),
}  # fmt: skip
GRALORA = {
    **SHARED,
    "alpha": of(1, 0.5, 16), "gralora_dropout": of(0.0, 0.5), "bias": of("none", "all", "gralora_only"),
    "gralora_k": of(1, 2, 4, 3), "hybrid_r": of(0, 1, 3), "fan_in_fan_out": st.booleans(),
    "on_indivisible": of("error", "skip"), "k_pattern": st.dictionaries(KEYS, of(1, 2, 4), max_size=2),
}  # fmt: skip
# what no field of that name takes, whatever the others are
WRONG: dict[str, st.SearchStrategy] = {
    **dict.fromkeys(("r", "gralora_k"), of(0, -1, 2.0, True, "4", None)),
    "hybrid_r": of(-1, 1.5, True, None),
    "alpha": of(0, -1, float("nan"), float("inf"), True, "16"),
    **dict.fromkeys(("glora_dropout", "gralora_dropout"), of(-0.1, 1.0, 2, True, "0", float("nan"), None)),
    **dict.fromkeys(("init_weights", "use_rslora", "fan_in_fan_out"), of(0, 1, "yes", None)),
    **dict.fromkeys(("config_A_B", "config_C", "config_A", "config_B"), of("LoRA", "loraa", 3, True)),
    **dict.fromkeys(("config_D_E", "config_D", "config_E"), of("lora", "VECTOR", 3)),
    "config_C": of("constant", None, 3),
    **dict.fromkeys(("A_form", "bias_free", "on_indivisible"), of("", "other", None, 1)),
    "bias": of("some", "lora_only", None, True),
    "modules_to_save": of("head", ["("], [3], [""]),
    "exclude_modules": of("(", [3], 7),
    "target_modules": of("(", [3], 7, [""], ["nowhere"], r"nowhere\..*"),
    "layers_to_transform": of(-1, "0", [0.5], True),
    "rank_pattern": of({"up": 0}, {"up": "2"}, {"(": 2}, {3: 2}, [2], {"": 2}),
    "alpha_pattern": of({"up": 0}, {"up": float("nan")}, {"(": 2}, {3: 2}, [2]),
    "path_pattern": of({"up": "lora"}, {"up": {"F": "lora"}}, {"up": {"D": "lora"}}, {"up": {"A": "many"}}, {"(": {}}),
    "k_pattern": of({"up": 0}, {"up": 1.5}, {"(": 2}, [2]),
}


# two of these may be wrong together, and then it is another field that is named
TOGETHER = {"r", "gralora_k", "use_rslora", "layers_pattern", "layers_to_transform"}


@st.composite
def drawn(draw: st.DrawFn, cls: type, usual: dict[str, st.SearchStrategy]) -> tuple[type, dict[str, Any], str | None]:
    """The class, its settings, and the field that is wrong, or None."""
    asked = draw(st.fixed_dictionaries({"target_modules": TARGETS}, optional=usual))
    if draw(of(True, True, True, False)):
        return cls, asked, None
    wrong = draw(of(*sorted({*usual, "target_modules"} & WRONG.keys())))
    return cls, {n: v for n, v in asked.items() if n not in TOGETHER} | {wrong: draw(WRONG[wrong])}, wrong


CONFIGURATIONS = st.one_of(drawn(GloraConfig, GLORA), drawn(GraloraConfig, GRALORA))


@settings(max_examples=250)
@given(configuration=CONFIGURATIONS, bias=st.booleans())
def test_any_configuration_works_or_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, configuration, bias
) -> None:
    cls, asked, wrong = configuration
    torch.manual_seed(0)
    net = Tower(bias).double()
    before = bits(net)
    with expecting(*EXPECTED):
        try:
            model = peft.get_peft_model(net, cls(**copy.deepcopy(asked)))
        except ValueError as error:
            named = {field.name for field in fields(cls) if re.search(rf"`{field.name}\b|\b{field.name}=", str(error))}
            assert named if wrong is None else wrong in named, str(error)
            assert same_bits(net, before)
            event(f"{cls.__name__} refused" if wrong is None else f"{cls.__name__} wrong field refused")
            return
        assert wrong is None
        event(f"{cls.__name__} works")
        take_a_step(model)
        there_and_back(model, net_like(before, bias), tmp_path_factory.mktemp("adapter"))
        merge_and_unmerge(model)


def net_like(before: dict[str, Tensor], bias: bool) -> nn.Module:
    net = Tower(bias).double()
    net.load_state_dict(before)
    return net


def take_a_step(model: PeftModel) -> None:
    """Two, for a product that starts at 0 gives its other factor no gradient; what does not train keeps its bits."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    before, trains = bits(model), {name for name, p in model.named_parameters() if p.requires_grad}
    for _ in range(2):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and changed <= trains
    assert all(after[name].isfinite().all() for name in changed)
    model.eval()


def there_and_back(model: PeftModel, net: nn.Module, folder: Any) -> None:
    model.save_pretrained(folder)
    assert torch.equal(PeftModel.from_pretrained(net, folder)(X), model(X))


def merge_and_unmerge(model: PeftModel) -> None:
    before, expected = bits(model), model(X)
    model.merge_adapter(safe_merge=True)
    assert torch.allclose(model(X), expected, rtol=1e-9, atol=1e-9)
    model.unmerge_adapter()
    assert same_bits(model, before) and torch.equal(model(X), expected)


def test_the_wrong_values_cover_every_field_that_can_be_wrong() -> None:
    assert {*GLORA, *GRALORA, "target_modules"} - {"layers_pattern"} == set(WRONG)
