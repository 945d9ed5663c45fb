"""What can be chosen, what it comes to, and what is refused in words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glora_lab import GloraConfig, load_model, path_budget
from glora_lab.models import architecture, meta_model
from glora_lab.search.space import SearchSpace, kind_of
from tests.search.test_supernet import SPACES, Small, space_of

MODEL = load_model("digits-vit")
LAYER = "vit.layers.1.attention.q_proj"


def test_kinds_and_layers() -> None:
    space = SearchSpace.of(MODEL)
    assert list(space.groups) == ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
    assert [site.name for site in space.groups["q_proj"]] == [f"vit.layers.{i}.attention.q_proj" for i in range(3)]
    assert [slot.options for slot in space.slots] == [(0, 1, 2, 4, 8)] * 6 and space.size == 5**6
    each = SearchSpace.of(MODEL, per="layer", modes="all")
    assert len(each.groups) == 18 and each.size == (4 * 432) ** 18
    assert kind_of("model.layers.12.mlp.up_proj") == "model.layers.*.mlp.up_proj"


def test_a_choice_is_a_configuration_and_the_count_is_what_it_trains() -> None:
    space = SearchSpace.of(MODEL, per="layer", modes={"B": ("lora", "none"), "E": ("vector", "none")}, ranks=(2, 4))
    choice = space.smallest
    config = space.config(choice)
    assert isinstance(config, GloraConfig) and len(config.path_pattern) == 1
    for choice in (space.smallest, space.largest):
        assert path_budget(MODEL, space.config(choice)).total == space.params(choice)
    sizes = [(site.in_features, site.out_features) for site in space.layers]
    assert space.params(space.largest) == sum(4 * (into + out) + out for into, out in sizes)


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data())
def test_every_choice_is_written_and_read_and_counted(name: str, data: st.DataObject) -> None:
    model = Small()
    space = space_of(name, model)
    choice = tuple(data.draw(st.integers(0, len(slot.options) - 1)) for slot in space.slots)
    assert space.read(space.written(choice)) == choice
    if space.fits(choice):
        assert space.params(choice) == path_budget(model, space.config(choice)).total > 0
    elif not space.params(choice):
        with pytest.raises(ValueError, match="leaves nothing to train"):
            space.config(choice)


def test_anchors_are_the_methods_that_they_are_named_after() -> None:
    space = SearchSpace.of(MODEL, modes="all", ranks=(1, 4))
    budgets = {name: path_budget(MODEL, space.config(choice)) for name, choice in space.anchors().items()}
    assert set(budgets) == {"rank 1", "rank 4", "BitFit", "SSF", "(IA)³"}
    only = {name: {row.path for row in budget.rows if row.params} for name, budget in budgets.items()}
    assert only == {"rank 1": {"B"}, "rank 4": {"B"}, "BitFit": {"E"}, "SSF": {"A", "D", "E"}, "(IA)³": {"A", "D"}}
    assert SearchSpace.of(MODEL, "gralora", ranks=(2,), ks=(2,)).anchors().keys() == {"rank 2"}


def test_a_limit_that_nothing_meets_names_the_smallest() -> None:
    space = SearchSpace.of(MODEL, per="layer", ranks=(2, 4))
    with pytest.raises(ValueError, match=r"`limit` \(=100\) must be at least 256: so many parameters has the smallest"):
        space.check_limit(100)
    space.check_limit(256)
    assert space.params(space.smallest) == 256


def test_where_k_does_not_fit_it_is_no_option() -> None:
    model = nn.ModuleDict({"a": nn.Linear(12, 8), "b": nn.Linear(6, 9)})
    space = SearchSpace.of(model, "gralora", ranks=(2, 6), ks=(1, 2, 3), per="layer")
    assert {slot.name: slot.options for slot in space.slots if slot.what == "k"} == {"a: k": (1, 2), "b: k": (1, 3)}
    assert not space.fits((1, 0, 1, 1))  # rank 2 in b, cut by 3
    says = "`ks` (=(5,)) must have one that divides the features of a: [8, 12]"
    with pytest.raises(ValueError, match=re.escape(says)):
        SearchSpace.of(model, "gralora", ks=(5,), per="layer")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"method": "vera"}, r"`method` \(='vera'\) must be"),
        ({"method": "lora", "modes": "all"}, r"`modes` \(='all'\) is of GLoRA's paths"),
        ({"modes": {"F": ("lora",)}}, r"`modes` .* must be \"all\", or a dict"),
        ({"modes": {"D": ("lora",)}}, r"`modes\['D'\]` \(=\('lora',\)\) must be some of: vector"),
        ({"ranks": ()}, r"`ranks` \(=\(\)\) must be a list"),
        ({"ranks": (0, 1)}, r"`ranks\[…\]` \(=0\)"),
        ({"ranks": 4}, r"`ranks` \(=4\)"),
        ({"per": "block"}, r"`per` \(='block'\)"),
        ({"target_modules": ["nowhere"]}, r"`target_modules`"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SearchSpace.of(MODEL, **given_)


def test_a_choice_of_another_space_is_refused() -> None:
    space = SearchSpace.of(MODEL)
    for text in ("1.2", "1.2.3.4.0.9", "a.b.c.d.e.f", ""):
        with pytest.raises(ValueError, match=r"`text` .* must have a number for each of the 6 slots"):
            space.read(text)


def test_a_model_without_weights_is_counted() -> None:
    space = SearchSpace.of(meta_model(architecture("Llama-3-8B")), ranks=(8,))
    assert space.params(space.largest) == 8 * sum(site.in_features + site.out_features for site in space.layers)


def test_a_space_without_a_setting_that_can_be_trained_is_refused_in_words() -> None:
    for space in (SearchSpace.of(MODEL, modes={"B": ("none",)}), SearchSpace.of(MODEL, "gralora", ranks=(1,), ks=(2,))):
        for limit in (None, 100):
            with pytest.raises(ValueError, match=r"`space` .* has no setting that leaves something to train"):
                space.check_limit(limit)
