"""The checks at the edge that both configurations share: what PEFT would stumble over later is refused at once."""

from __future__ import annotations

import re
import sys

import pytest

from glora_lab import arguments
from glora_lab.adapters import GloraConfig, GraloraConfig

CONFIGS = (GloraConfig, GraloraConfig)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name, key", [("rank_pattern", "(?i)encoder"), ("alpha_pattern", "(?s).*fc1")])
def test_a_key_must_be_an_expression_in_the_one_that_peft_makes_of_it_too(config, name, key):
    with pytest.raises(ValueError, match=re.escape(f"`{name} key` (={key!r}) must be a regular expression inside a")):
        config(**{name: {key: 4}})
    config(rank_pattern={"(?i:encoder)": 4})  # flags of its own


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "wrong",
    [{"modules_to_save": ["(?i)head"]}, {"layers_pattern": "(?P<idx>h)", "layers_to_transform": [0]}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_so_must_the_other_names_that_peft_puts_in_an_expression(config, wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` .* must be a regular expression inside a larger one"):
        config(target_modules=["fc1"], **wrong)
    config(target_modules="(?i).*FC1")  # matched as it stands


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("inf"), float("nan"), 0, True, "1"], ids=lambda v: f"{v!r:.8}"
)
def test_no_positive_number(value):
    with pytest.raises(ValueError, match=r"^`x` \(=.*must be a finite number above 0"):
        arguments.check_positive_number("x", value)


def test_positive_numbers():
    for value in (1, 1e-300, 10**300, sys.float_info.max):
        arguments.check_positive_number("x", value)
