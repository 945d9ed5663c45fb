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
from torch import Tensor, nn

from glora_lab.adapters.base.frozen import features, lead
from glora_lab.adapters.files import PREFIX as PREFIX
from glora_lab.adapters.files import Stored, no_reals, read_head, read_type
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.model import LabTuner
from glora_lab.adapters.tuner.parameter_targets import in_file
from glora_lab.adapters.tuner.places import first_name
from glora_lab.adapters.tuner.targets import outside
from glora_lab.wording import few, within

Shapes = Mapping[str, tuple[int, ...]]
# what PEFT puts between a module's name and its tensors
WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save\.[^.]+)(?=\.)")
# the same in a file, where it leaves the adapter's name away from a module's own tensors, and not from deeper ones
NAMELESS_WRAPPERS = re.compile(r"\.(base_layer|original_module|modules_to_save)(?=\.)")


def at_home(model_id: Any, subfolder: str | None = None) -> Any:
    """What PEFT is asked to load, with its `~` written out where that is a folder with an adapter of this library."""
    if isinstance(model_id, str | os.PathLike) and str(model_id).startswith("~"):
        folder = os.path.expanduser(model_id)
        inside = os.path.join(folder, subfolder or "")
        if os.path.isfile(os.path.join(inside, CONFIG_NAME)):
            config_class = mapping.PEFT_TYPE_TO_CONFIG_MAPPING[read_type(inside)]  # type: ignore[index]
            return folder if issubclass(config_class, LabConfig) else model_id
    return model_id


def check_checkpoint(
    model: nn.Module,
    config: LabConfig,
    folder: str | os.PathLike[str],
    *,
    key_mapping: Mapping[str, str] | None = None,
    any_shape: bool = False,
) -> None:
    """Refuse an adapter's folder that does not fit `model`, which is left alone.

    Args:
        model: the base model; it may carry the adapter already.
        key_mapping: pattern → replacement for the names in the file, as PEFT takes it.
        any_shape: leave shapes to PEFT's `ignore_mismatched_sizes`.

    Raises:
        ValueError: for a file that cannot be read, a tensor that is missing, one that belongs to no layer of this
            model, or one of another shape; or for a configuration that this model cannot carry.
    """
    config.validate()
    renamed = {_renamed(name, key_mapping): tensor for name, tensor in read_head(folder).items()}
    stored = {name.removeprefix(PREFIX): tensor for name, tensor in renamed.items()}
    expected = dict(adapter_shapes(model, config))
    base = {_plain(name): tensor for name, tensor in model.state_dict().items()}
    beside = [name for name in stored if name not in expected]
    faults = [*_names(model, config, stored, expected, {_plain_in(base, name): name for name in beside}, base)]
    real = [name for name in stored if name in expected or _real(base.get(_plain_in(base, name)))]
    if wrong := no_reals(stored, real):
        faults.append(f"that are no real numbers, as weights are: {few(wrong)}")
    if not any_shape and (wrong := [*_shapes(stored, expected, base)]):
        faults.append(f"of another shape: {few(wrong)}")
    if faults:
        file = within(str(Path(folder) / SAFETENSORS_WEIGHTS_NAME), 300)
        said = f"{file} does not fit this model and {CONFIG_NAME}. Tensors {'; '.join(faults)}"
        raise ValueError(f"{within(said, 900)}. Load it into the model that it was trained on")


def _names(
    model: nn.Module,
    config: LabConfig,
    stored: Mapping[str, Stored],
    expected: Shapes,
    beside: Mapping[str, str],
    base: Container[str],
) -> Iterator[str]:
    """What is said of tensors that are missing, and of those that belong to nothing."""
    idle = {name for name in beside if name.endswith(".zeros")}  # stock PEFT's buffers of paths that are off
    missing = (expected.keys() - stored.keys()) | (set(_saved_beside(model, config, beside)) - beside.keys())
    foreign = [name for name in sorted(beside) if name not in base and name not in idle]
    foreign = [name for name in foreign if first_name(model, name) not in expected]  # PEFT 0.20 saves all names
    if missing:
        yield f"missing: {few(sorted(missing))}"
    if foreign:
        yield f"of another model or adapter: {few(foreign)}"


def _shapes(stored: Mapping[str, Stored], expected: Shapes, base: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in stored.items():
        must = expected.get(name)
        if must is None:
            like = base.get(_plain_in(base, name))
            must = tensor.shape if like is None else tuple(like.shape)
        if tensor.shape != must:
            yield f"{name} is {list(tensor.shape)} and must be {list(must)}"


def _real(like: Tensor | None) -> bool:
    return like is None or like.is_floating_point()


def adapter_shapes(model: nn.Module, config: LabConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor that `config` puts on `model`, named as in a checkpoint, without its prefix.

    Raises:
        ValueError: where the model cannot carry the configuration.
    """
    tuner = bare_tuner(config)
    targets = tuner.check_targets(model, config)
    wrapped = in_file(tuner.parameters_of(model, config))
    for layer, innermost in targets.items():
        for tensor, shape in layer_shapes(config, layer, innermost).items():
            yield f"{wrapped.get(layer, layer)}.{tensor}", shape


def bare_tuner(config: LabConfig) -> LabTuner:
    """The tuner without a model, to be asked what it would target."""
    tuner_class: Any = mapping.PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]  # type: ignore[index]
    tuner: LabTuner = tuner_class.__new__(tuner_class)
    nn.Module.__init__(tuner)
    return tuner


def layer_shapes(config: Any, layer: str, innermost: Any) -> Shapes:
    """Name → shape of what `config` puts on one layer: "glora_A.Xd", "gralora_A", "gralora_A_general.weight"."""
    in_features, out_features = features(innermost)
    if isinstance(config, GloraConfig):
        has_bias = getattr(innermost, "bias", None) is not None
        sizes = {"in_features": in_features, "out_features": out_features}
        plan = config.plan(layer, **sizes, has_bias=has_bias, lead=lead(innermost))
        return {f"glora_{path}.{name}": shape for path in PATHS for name, shape in plan.shapes(path).items()}
    shapes = config.plan(layer, in_features=in_features, out_features=out_features, lead=lead(innermost)).shapes()
    return {f"{name}.weight" if name.endswith("_general") else name: shape for name, shape in shapes.items()}


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
