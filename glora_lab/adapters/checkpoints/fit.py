"""An adapter's folder, examined before a model is touched.

PEFT wraps the model first and reads the tensors then: a file that does not fit leaves the model wrapped, a tensor
that is missing keeps its random start with a warning, and one that belongs to nothing goes unmentioned. Names and
shapes follow from the configuration and the model, and stand in the head of a safetensors file, so all of it is
settled here by reading a few kilobytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peft import mapping
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from glora_lab.adapters.files import PREFIX, read_head, read_type
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.model import LabTuner
from glora_lab.adapters.tuner.parameter_targets import in_file
from glora_lab.adapters.tuner.places import first_name
from glora_lab.adapters.tuner.targets import outside
from glora_lab.wording import few, within

from .expected import keys_by_name, misfits

# what PEFT puts between a module's name and its tensors
WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save\.[^.]+)(?=\.)")
# the same in a file, where it leaves the adapter's name away from a module's own tensors, and not from deeper ones
NAMELESS_WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save)(?=\.)")


def class_in(folder: str | os.PathLike[str]) -> type[LabConfig] | None:
    """The configuration class of this library that PEFT reads the adapter in `folder` by; None for another's adapter,
    and where there is none."""
    if not os.path.isfile(os.path.join(folder, CONFIG_NAME)):
        return None
    config_class = mapping.PEFT_TYPE_TO_CONFIG_MAPPING[read_type(folder)]  # type: ignore[index]
    return config_class if issubclass(config_class, LabConfig) else None


def at_home(model_id: Any, subfolder: str | None = None) -> Any:
    """What PEFT is asked to load, with its `~` written out where that is a folder with an adapter of this library."""
    if isinstance(model_id, str | os.PathLike) and str(model_id).startswith("~"):
        folder = os.path.expanduser(model_id)
        return folder if class_in(os.path.join(folder, subfolder or "")) else model_id
    return model_id


def check_checkpoint(
    model: nn.Module,
    config: LabConfig,
    folder: str | os.PathLike[str],
    *,
    key_mapping: Mapping[str, str] | None = None,
    any_shape: bool = False,
    bare_names: bool = False,
) -> None:
    """Refuse an adapter's folder that does not fit `model`, which is left alone.

    Args:
        model: the base model; it may carry the adapter already.
        key_mapping: pattern → replacement for the names in the file, as PEFT takes it.
        any_shape: leave shapes to PEFT's `ignore_mismatched_sizes`.
        bare_names: names without "base_model.model." are read as well. PEFT does not find them, and would leave
            the adapter as it began.

    Raises:
        ValueError: for a file that cannot be read, a tensor that is missing, one that belongs to no layer of this
            model, or one of another shape; or for a configuration that this model cannot carry.
    """
    config.validate()
    head = read_head(folder)
    renamed = {key: _renamed(key, key_mapping) for key in head}
    file = within(str(Path(folder) / SAFETENSORS_WEIGHTS_NAME), 300)
    try:
        keys = keys_by_name((name, key) for key, name in renamed.items())
    except ValueError as error:
        raise ValueError(within(f"{file} is damaged: {error}")) from error
    expected = dict(adapter_shapes(model, config))
    base = {_plain(name): tensor for name, tensor in model.state_dict().items()}
    beside = {name: _plain_in(base, name) for name in keys.keys() - expected.keys()}
    wanted = _saved_beside(model, config, set(beside.values()))
    whole = {name: tuple(base[name].shape) for name in {*beside.values(), *wanted} if name in base}
    integers = {name for name in whole if not base[name].is_floating_point()}
    # stock PEFT has buffers for paths that are off, and PEFT 0.20 saves a tied layer under all its names
    foreign = {name: plain for name, plain in beside.items() if plain not in base}
    idle = {n for n, plain in foreign.items() if n.endswith(".zeros") or first_name(model, plain) in expected}
    stored = [(beside.get(name, name), head[key]) for name, key in keys.items() if name not in idle]
    faults = [*misfits(stored, {**whole, **expected}, integers, any_shape=any_shape)]
    unseen = [key for key, name in renamed.items() if not name.startswith(PREFIX)]
    if unseen and not bare_names:
        faults.insert(0, f"whose names do not begin with {PREFIX!r}: {few(unseen)}")
    if faults:
        said = f"{file} does not fit this model and {CONFIG_NAME}. Tensors {'; '.join(faults)}"
        raise ValueError(f"{within(said, 900)}. Load it into the model that it was trained on")


def adapter_shapes(model: nn.Module, config: LabConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor that `config` puts on `model`, named as in a checkpoint, without its prefix.

    Raises:
        ValueError: where the model cannot carry the configuration.
    """
    tuner = bare_tuner(config)
    targets = tuner.check_targets(model, config)
    wrapped = in_file(tuner.parameters_of(model, config))
    for layer, innermost in targets.items():
        for tensor, shape in config.plan_for(layer, innermost).tensors().items():
            yield f"{wrapped.get(layer, layer)}.{tensor}", shape


def bare_tuner(config: LabConfig) -> LabTuner:
    """The tuner without a model, to be asked what it would target."""
    tuner_class: Any = mapping.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]  # type: ignore[index]
    tuner: LabTuner = tuner_class.__new__(tuner_class)
    nn.Module.__init__(tuner)
    return tuner


def _saved_beside(model: nn.Module, config: Any, beside: Iterable[str]) -> Iterator[str]:
    """Names of the tensors that a complete checkpoint has beside the adapter's own: whole modules and biases."""
    whole = tuple(config.modules_to_save or ())
    for name, module in outside(model, AuxiliaryTrainingWrapper):
        if whole and name.endswith(whole):  # PEFT's own rule
            kept = module.original_module if isinstance(module, AuxiliaryTrainingWrapper) else module
            yield from (_plain(f"{name}.{tensor}") for tensor in kept.state_dict())
    # PEFT 0.20 saves no biases: all of them, or none
    biases = set(_biases(model, config))
    yield from biases if biases & {*beside} else ()


def _biases(model: nn.Module, config: Any) -> Iterator[str]:
    if config.bias == "all":
        yield from (_plain(name) for name in model.state_dict() if name.endswith(".bias"))
    elif config.bias != "none":
        layers = bare_tuner(config).targets(model, config)
        yield from (
            f"{name}.bias" for name, innermost in layers.items() if getattr(innermost, "bias", None) is not None
        )


def _plain(name: str) -> str:
    """A tensor's name as the base model has it."""
    return WRAPPERS.sub("", name)


def _plain_in(base: Container[str], name: str) -> str:
    """The same for a name from a file."""
    nameless = NAMELESS_WRAPPERS.sub("", name)
    return nameless if nameless in base else _plain(name)


def _renamed(name: str, key_mapping: Mapping[str, str] | None) -> str:
    bare = name.removeprefix(PREFIX)
    for pattern, replacement in (key_mapping or {}).items():
        renamed, times = re.subn(pattern, replacement, bare)
        if times:
            return PREFIX + renamed
    return name
