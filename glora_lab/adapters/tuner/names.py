"""Names of adapters, kept apart from the names of modules.

PEFT keeps an adapter's tensors in containers, under the adapter's name: "encoder.glora_A.default.Xd". It saves one
adapter by leaving out every key that has another's name anywhere in it, and so, where another is called "encoder",
all of that module's tensors. Only the place behind a container is an adapter's name; here PEFT looks there.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peft.utils import save_and_load
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from glora_lab.adapters.files import PREFIX, read_head
from glora_lab.adapters.registry import PEFT_ASKS_THE_TUNER
from glora_lab.arguments import refuse
from glora_lab.wording import few, within

from .config import LabConfig
from .layer import LabLayer

# where PEFT and this library keep adapters by name, and the name
CONTAINER = r"\w*lora_\w+|delta_tensors|modules_to_save"
KEPT = re.compile(rf"\.({CONTAINER})\.([^.]+)(?=\.|$)")
OURS = re.compile(r"\.(glora|gralora|delta)_")
WRAPPED = re.compile(r"(_fsdp_wrapped_module|_orig_mod|_checkpoint_wrapped_module)\.")
MOST_BYTES = 200  # of a folder's name, and some more for what is written beside it


def check_name(name: str, prefix: str) -> None:
    """Refuse a name under which an adapter could not be kept, or not be saved."""
    if not name or "." in name:
        raise refuse(
            "adapter_name", name, "must be a name without dots, since it stands between dots in tensors' names"
        )
    if any(hasattr(kind, name) for kind in (nn.ModuleDict, nn.ParameterDict)) or name in vars(nn.ModuleDict()):
        rule = "must be a name of its own: torch's containers, in which adapters are kept by name, have it already"
        raise refuse("adapter_name", name, rule)
    if prefix in name and not PEFT_ASKS_THE_TUNER:
        raise refuse(
            "adapter_name",
            name,
            f"must be a name without {prefix!r}, which this PEFT looks for in names; 0.21 does not",
        )
    if len(os.fsencode(name)) > MOST_BYTES or "\0" in name or os.path.isabs(name):
        rule = f"must be a name for a folder within another, of at most {MOST_BYTES} bytes: it is saved under it"
        raise refuse("adapter_name", name, rule)


def without_name(key: str, name: str) -> str:
    """A tensor's name as a checkpoint has it, without that of its adapter: "encoder.glora_A.Xd"."""
    return _kept_as(name).sub(r".\1\2", key)


@functools.lru_cache(maxsize=32)
def _kept_as(name: str) -> re.Pattern[str]:
    return re.compile(rf"\.({CONTAINER})\.{re.escape(name)}(\.[^.]+)?$")


def _filtering(theirs: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    @functools.wraps(theirs)
    def filter_state_dict(state_dict: dict[str, Tensor], unwanted_adapter_names: Iterable[str]) -> dict[str, Tensor]:
        if not any(OURS.search(key) for key in state_dict):
            return theirs(state_dict, unwanted_adapter_names)
        others = set(unwanted_adapter_names)
        return {
            key: tensor for key, tensor in state_dict.items() if not others & {name for _, name in KEPT.findall(key)}
        }

    return filter_state_dict


def check_saved(model: Any, name: str, folder: Path) -> None:
    """Refuse what has been written of an adapter where it would not be read again, or not as it is.

    Raises:
        ValueError: where tensors of the adapter are not in the file, or it is on layers that its configuration does not
            name.
    """
    config: LabConfig = model.peft_config[name]
    modules = list(model.named_modules())
    lost = {tensor for tensor, _ in held_tensors(modules, name)} - read_head(folder).keys()
    if lost:
        said = f"The adapter {name!r} cannot be saved whole under this name: the file would lack {few(sorted(lost))}"
        raise ValueError(within(f"{said}. Nothing is written"))
    targets = model.base_model.targets(model.get_base_model(), config)
    layers = {n: m for n, m in modules if isinstance(m, LabLayer) and m.carries(name)}
    places = {path.removeprefix(PREFIX): layer.layer_name for path, layer in layers.items()}  # the latter of parameters
    odd = sorted(path for path, known in places.items() if not {path, known} & targets.keys())
    if odd:
        said = f"The adapter {name!r} cannot be saved: its configuration does not name all its layers (not {few(odd)})"
        advice = "Nothing is written. They are of an earlier `get_peft_model` on the same base: `unload()` it first"
        raise ValueError(within(f"{said}. {advice}"))


def held_tensors(modules: Iterable[tuple[str, nn.Module]], name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of an adapter, and of the whole modules beside it, named as in a checkpoint."""
    for path, module in modules:
        held: Mapping[str, Tensor] = {}
        if isinstance(module, LabLayer) and module.carries(name):
            held = module.tensors(name)
        elif isinstance(module, ModulesToSaveWrapper) and name in module.modules_to_save:
            held = module.modules_to_save[name].state_dict()
        yield from ((f"{WRAPPED.sub('', path)}.{tensor}", value) for tensor, value in held.items())


save_and_load._filter_state_dict_for_adapter_name = _filtering(save_and_load._filter_state_dict_for_adapter_name)
