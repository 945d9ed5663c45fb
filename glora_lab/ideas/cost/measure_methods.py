"""The methods that a cost report compares, each as a model of its own that is ready to train over the same weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import peft
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from torch import nn

from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.adapters.tuner.method_names import method_name
from glora_lab.adapters.view import adapted_layers

from .measure_twin import twin

# an adapter, None for the frozen base, or FULL for full fine-tuning of the layers that the adapters adapt
Method: TypeAlias = PeftConfig | str | None
Targets: TypeAlias = str | Sequence[str]

FULL = "full"
ALL_LINEAR = "all-linear"
STARTED = 1e-3  # for factors at zero: as after a first step, for a layer may know that a new adapter adds nothing
BLOCKS = 2  # GraLoRA's k; its authors suggest it up to rank 32
MISFITS = (ValueError, TypeError, AssertionError)  # what PEFT raises where a configuration cannot go on a model

# made one by one when they are asked for: a rank that GraLoRA refuses is no fault of the others
DEFAULTS: Mapping[str, Callable[..., PeftConfig]] = MappingProxyType(
    {
        "LoRA": peft.LoraConfig,
        "GLoRA": GloraConfig,
        "stock GLoRA": peft.GloraConfig,
        "GraLoRA": lambda **settings: GraloraConfig(gralora_k=BLOCKS, **settings),
        "stock GraLoRA": lambda **settings: peft.GraloraConfig(gralora_k=BLOCKS, **settings),
    }
)


def default_methods(model: nn.Module, target_modules: Targets, r: int) -> tuple[dict[str, Method], dict[str, str]]:
    """The frozen base, the adapters of `DEFAULTS` that fit the model, and full fine-tuning; and why the others do not.

    Raises:
        ValueError: where no adapter fits.
    """
    targets = target_modules if isinstance(target_modules, str) else list(target_modules)
    fitting: dict[str, Method] = {}
    left_out: dict[str, str] = {}
    for name, make in DEFAULTS.items():
        try:
            config = make(r=r, target_modules=targets)
            _adapted(model, config)
            fitting[name] = config
        except MISFITS as error:
            left_out[name] = str(error)
    if not fitting:
        raise ValueError(f"`target_modules` (={targets!r}) suits no method: {left_out['LoRA']}")
    return {"frozen base": None, **fitting, "full fine-tuning": FULL}, left_out


def trainable_models(model: nn.Module, methods: Mapping[str, Method]) -> dict[str, nn.Module]:
    """Name → a twin of `model`, in training mode, in which what the method trains requires a gradient.

    Raises:
        ValueError: where a configuration does not fit the model.
    """
    adapted: dict[str, nn.Module] = {}
    for name, method in methods.items():
        if isinstance(method, PeftConfig):
            try:
                adapted[name] = _adapted(model, method)
            except MISFITS as error:
                raise ValueError(f"`methods[{name!r}]` does not fit the model: {error}") from error
    layers = {layer for one in adapted.values() for layer in adapted_layers(one)}
    if not layers and FULL in methods.values():
        layers = {*adapted_layers(_adapted(model, peft.LoraConfig(target_modules=ALL_LINEAR)))}
    plain = {n: _plain(model, layers if m == FULL else ()) for n, m in methods.items() if n not in adapted}
    return {name: (adapted | plain)[name].train() for name in methods}


def kind_of(method: Method) -> str:
    """ "LoRA", "stock GLoRA", "frozen", "full fine-tuning": what a method is, whatever the caller calls it."""
    if isinstance(method, PeftConfig):
        return method_name(method)
    return "full fine-tuning" if method == FULL else "frozen"


def checkpoint_bytes(model: nn.Module) -> int:
    """The tensors that PEFT saves of an adapter, or those that were trained where there is none."""
    if isinstance(model, PeftModel):
        return sum(t.nbytes for t in get_peft_model_state_dict(model, save_embedding_layers=False).values())
    return sum(p.nbytes for p in model.parameters() if p.requires_grad)


def _adapted(model: nn.Module, config: PeftConfig) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inert paths and the like are a budget's to show
        adapted = get_peft_model(twin(model), copy.deepcopy(config))
    for parameter in adapted.parameters():
        if parameter.requires_grad and not parameter.is_meta and not parameter.count_nonzero():
            nn.init.constant_(parameter, STARTED)
    return adapted


def _plain(model: nn.Module, trained: Iterable[str]) -> nn.Module:
    plain = twin(model)
    for layer in trained:
        plain.get_submodule(layer).requires_grad_(True)
    return plain
