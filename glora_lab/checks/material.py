"""What the exercises are about: real layers with fixed random values, the same for the question and for its check."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn

from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.data import load_task
from glora_lab.models import load_model

if TYPE_CHECKING:
    from jaxtyping import Float

LAYER = "vit.layers.1.mlp.fc1"  # 64 inputs, 128 outputs
BODY = r".*\.(q_proj|k_proj|v_proj|o_proj|fc1|fc2)"
FIRST, SECOND = "first", "second"
COLOURS = ("red", "green", "blue")


def adapted(model: nn.Module, config: PeftConfig, *, seed: int = 0, adapter_name: str = "default") -> PeftModel:
    """`get_peft_model` with values drawn from a seed, on a copy."""
    with _drawing(seed):
        return get_peft_model(copy.deepcopy(model), copy.deepcopy(config), adapter_name=adapter_name)


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Within, random values come from this seed; and PEFT's warnings, which are none of the reader's, do not come."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


def found(model: PeftModel, layer: str = LAYER) -> Any:
    """The adapted layer of that name."""
    return model.get_submodule(f"base_model.model.{layer}")


def gralora_layer() -> Any:
    """A GraLoRA layer, 64 inputs and 128 outputs, of rank 8 in 4×4 blocks, with random values; a copy each time."""
    return copy.deepcopy(_gralora_layer())


@cache
def _gralora_layer() -> Any:
    config = GraloraConfig(r=8, gralora_k=4, alpha=16, target_modules=[LAYER], init_weights=False)
    return found(adapted(load_model("digits-vit"), config, seed=1)).eval()


class BakedIn(NamedTuple):
    """A weight into which two GLoRA adapters were merged one after the other, and what the adapters are.

    `weight` (o, i); `A1`, `B1`, `A2`, `B2` are their A and B as matrices (o, i). The original weight is gone.
    """

    weight: Float[np.ndarray, "o i"]
    A1: Float[np.ndarray, "o i"]
    B1: Float[np.ndarray, "o i"]
    A2: Float[np.ndarray, "o i"]
    B2: Float[np.ndarray, "o i"]


@cache
def two_adapters() -> PeftModel:
    """Two GLoRA adapters on one layer, in float64."""
    config = GloraConfig(r=2, config_C="none", config_D_E="none", target_modules=[LAYER], init_weights=False)
    model = adapted(load_model("digits-vit").double(), config, seed=2, adapter_name=FIRST)
    with _drawing(3):
        model.add_adapter(SECOND, config)
    return model


@cache
def baked_in() -> BakedIn:
    """Two adapters that somebody merged with `merge_and_unload`, one after the other, into a weight (128, 64).

    Returns:
        `weight`, and the adapters' `A1`, `B1`, `A2`, `B2` as matrices; read-only, and all (out, in). The original
        weight is gone.
    """
    model = two_adapters()
    plain: Any = copy.deepcopy(found(model).get_base_layer())
    for name in (FIRST, SECOND):
        one = adapted(nn.ModuleDict({"layer": plain}), _alone(model, name), adapter_name=name)
        layer = one.get_submodule("base_model.model.layer")
        layer.load_state_dict({k: v for k, v in found(model).state_dict().items() if f".{name}." in k}, strict=False)
        plain = one.merge_and_unload()["layer"]
    paths = {
        f"{path}{n}": _array(getattr(found(model), f"glora_{path}")[name])
        for n, name in ((1, FIRST), (2, SECOND))
        for path in "AB"
    }
    weight = plain.weight.detach().numpy()
    for array in (weight, *paths.values()):
        array.setflags(write=False)  # the check compares with the same arrays
    return BakedIn(weight, **paths)


class UnknownMix(NamedTuple):
    """A model with the adapters "red", "green" and "blue", and a batch that went through it with a name for each row.

    `pixel_values` (6, 1, 8, 8) are the rows, `logits` (6, 10) what came out. Which names were given is the question.
    """

    model: PeftModel
    pixel_values: torch.Tensor
    logits: torch.Tensor


@cache
def mixed_names() -> tuple[str, ...]:
    """The names, one a row."""
    order = np.random.RandomState(5).permutation(["red", "red", "blue", "green", "__base__", "blue"])
    return tuple(str(name) for name in order)


@cache
def unknown_mix() -> UnknownMix:
    """Six digits, each read with one of three adapters or with none.

    Returns:
        `model` with the adapters "red", "green" and "blue", `pixel_values` (6, 1, 8, 8), and the `logits` (6, 10) that
        came out.
    """
    config = GloraConfig(r=2, target_modules=BODY, init_weights=False)
    model = adapted(load_model("digits-vit"), config, seed=10, adapter_name=COLOURS[0])
    for n, name in enumerate(COLOURS[1:], start=11):
        with _drawing(n):
            model.add_adapter(name, config)
    pixels = load_task("digits").test.inputs["pixel_values"][:6]
    with torch.no_grad():
        logits = model.eval()(pixel_values=pixels, adapter_names=list(mixed_names())).logits
    return UnknownMix(model, pixels, logits)


def _alone(model: PeftModel, name: str) -> Any:
    config: Any = copy.deepcopy(model.peft_config[name])
    config.target_modules = {"layer"}
    return config


def _array(path: Any) -> np.ndarray:
    return (path.Xd @ path.Xu).detach().double().numpy()
