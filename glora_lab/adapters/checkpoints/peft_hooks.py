"""The doors to the disk, for our adapters: `save_pretrained`, `from_pretrained` and `load_adapter` of PeftModel, and
`save_pretrained` and `load_adapter` of transformers' own models.

PEFT asks neither tuner nor configuration before it writes or reads: the weights' file is written in place, as a
pickle on request, before the configuration is saved, and a model is wrapped before its file is opened. So these
methods are wrapped, once, on import: for adapters of this library they check first and write beside; a call
that concerns only PEFT's own adapters goes through untouched. (PEFT's `safe_save_file` and `load_peft_weights`
would be smaller places, and would change what every other adapter does.)

`~` is your home at these doors as at every other of this library. PEFT knows no `~`: its `save_pretrained("~/x")`
makes a folder that is called "~", which nobody means, and which is deleted by a command that nobody wants to mistype.
For adapters of this library that one is written to and read from your home; PEFT's own keep what PEFT does.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME
from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.peft import PeftAdapterMixin

from glora_lab.adapters.base.frozen import is_sharded
from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.files import PREFIX, not_finite, stamp_pairs, warn_not_finite
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.many_layers import filling_at_once
from glora_lab.adapters.tuner.names import check_saved, held_tensors
from glora_lab.arguments import refuse
from glora_lab.folders import folder_named, replacing

from .fit import at_home, check_checkpoint, class_in

CARD = "README.md"
GATHERED = "torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True"
Door = Callable[[Callable[..., Any], inspect.BoundArguments], Any]
# the folder that `from_pretrained` has checked, for the `load_adapter` that it calls, and what came of it
CHECKED: ContextVar[tuple[Any, bool]] = ContextVar("CHECKED", default=(None, False))


def _in_place_of(owner: Any, name: str) -> Callable[[Door], Door]:
    """Put a function in the place of a method: it is given that method, and the arguments of each call by name."""

    def put(ours: Door) -> Door:
        held = vars(owner)[name]
        theirs = getattr(held, "__func__", held)
        signature = inspect.signature(theirs)

        @functools.wraps(theirs)
        def method(*args: Any, **kwargs: Any) -> Any:
            return ours(theirs, signature.bind(*args, **kwargs))

        setattr(owner, name, classmethod(method) if isinstance(held, classmethod) else method)
        return ours

    return put


@_in_place_of(PeftModel, "save_pretrained")
def _save(theirs: Callable[..., None], call: inspect.BoundArguments) -> None:
    call.apply_defaults()
    asked, model = call.arguments, call.arguments["self"]
    names = asked["selected_adapters"] or list(model.peft_config)
    if not any(isinstance(model.peft_config.get(name), LabConfig) for name in names):
        return theirs(*call.args, **call.kwargs)
    if not asked["safe_serialization"]:
        raise refuse("safe_serialization", False, "must be True: this library writes safetensors, never pickles")
    place = asked["save_directory"] = folder_named("save_directory", asked["save_directory"])
    if os.path.isfile(place) or not asked["is_main_process"]:
        return theirs(*call.args, **call.kwargs)  # refuses, and writes nothing
    tensors = asked["kwargs"].get("state_dict") or dict(model.named_parameters())
    if any(is_sharded(tensor) for tensor in tensors.values()):
        rule = "must hold whole tensors, for this model is sharded over processes: in every process, take "
        raise refuse("state_dict", "parts of tensors", f"{rule}{GATHERED}")
    with saving(place) as folder:
        asked["save_directory"] = str(folder)
        theirs(*call.args, **call.kwargs)
        for name in names:
            if isinstance(model.peft_config[name], LabConfig):
                check_saved(model, name, folder if name == "default" else folder / name)


@contextmanager
def saving(place: str) -> Iterator[Path]:
    """A folder to save adapters into, which then take the place of those in `place`, all files of one together."""
    with replacing(place, CONFIG_NAME) as folder:
        if (card := Path(place) / CARD).is_file():  # PEFT adds to the one that is there
            shutil.copyfile(card, folder / CARD)
        yield folder
        stamp_pairs(folder)


@_in_place_of(PreTrainedModel, "save_pretrained")
def _save_from_transformers(theirs: Callable[..., None], call: inspect.BoundArguments) -> None:
    """transformers writes the configuration first and the weights in place."""
    call.apply_defaults()
    asked, model = call.arguments, call.arguments["self"]
    configs = model.peft_config.values() if getattr(model, "_hf_peft_config_loaded", False) else ()
    if not any(isinstance(config, LabConfig) for config in configs):
        return theirs(*call.args, **call.kwargs)
    place = asked["save_directory"] = folder_named("save_directory", asked["save_directory"])
    together = asked.get("distributed_checkpoint")  # every process writes a part of it
    if os.path.isfile(place) or together or not asked["is_main_process"]:
        return theirs(*call.args, **call.kwargs)
    if asked["push_to_hub"]:  # under the name of the folder that was asked for
        asked["kwargs"].setdefault("repo_id", os.path.basename(os.path.abspath(place)))
    with saving(place) as folder:
        asked["save_directory"] = str(folder)
        theirs(*call.args, **call.kwargs)


@_in_place_of(PeftModel, "from_pretrained")
def _make(theirs: Callable[..., PeftModel], call: inspect.BoundArguments) -> PeftModel:
    asked = call.arguments
    asked["model_id"] = at_home(asked["model_id"], asked.get("kwargs", {}).get("subfolder"))
    ours = _check(asked["model"], asked.get("config"), asked)
    checked = CHECKED.set((asked["model_id"], ours))
    try:
        return theirs(*call.args, **call.kwargs)
    finally:
        CHECKED.reset(checked)


@_in_place_of(PeftModel, "load_adapter")
def _load(theirs: Callable[..., Any], call: inspect.BoundArguments) -> Any:
    asked, model, name = call.arguments, call.arguments["self"], call.arguments["adapter_name"]
    asked["model_id"] = at_home(asked["model_id"], asked.get("kwargs", {}).get("subfolder"))
    known, ours = CHECKED.get()
    if known != asked["model_id"]:
        ours = _check(model.get_base_model(), model.peft_config.get(name), asked)
    with ordinary_mode(ours), filling_at_once(model, name) if ours else nullcontext():
        loaded = theirs(*call.args, **call.kwargs)
    if ours:
        _warn_not_finite(model, name)
    return loaded


@_in_place_of(PeftAdapterMixin, "load_adapter")
def _load_into_transformers(theirs: Callable[..., Any], call: inspect.BoundArguments) -> Any:
    asked, model, ours = call.arguments, call.arguments["self"], False
    further = asked.get("adapter_kwargs") or {}
    if "peft_model_id" in asked:
        asked["peft_model_id"] = at_home(asked["peft_model_id"], further.get("subfolder"))
    settings = asked.get("load_config")
    folder = asked.get("peft_model_id") or getattr(settings, "pretrained_model_name_or_path", None)
    if folder is not None and asked.get("adapter_state_dict") is None:
        any_shape = {"ignore_mismatched_sizes": getattr(settings, "ignore_mismatched_sizes", False)}
        further = {**any_shape, **further, **asked.get("kwargs", {})}
        ours = _check(model, asked.get("peft_config"), {"model_id": folder, "kwargs": further}, bare_names=True)
    with ordinary_mode(ours):
        loaded = theirs(*call.args, **call.kwargs)
    if ours:
        _warn_not_finite(model, asked.get("adapter_name") or "default")
    return loaded


def _add(theirs: Callable[..., None], call: inspect.BoundArguments) -> None:
    """PEFT copies whole modules (`modules_to_save`) itself, outside the tuner."""
    with ordinary_mode(isinstance(call.arguments["peft_config"], LabConfig)):
        theirs(*call.args, **call.kwargs)


def _check(model: nn.Module, config: PeftConfig | None, call: dict[str, Any], bare_names: bool = False) -> bool:
    """Check the folder that a call names; whether it is one and holds an adapter for this library."""
    further = call.get("kwargs", {})
    folder = os.path.join(call["model_id"], further.get("subfolder") or "")
    if not os.path.isfile(os.path.join(folder, CONFIG_NAME)):
        return False  # of the hub, or not there: PEFT says so
    if config is None:
        config_class = class_in(folder)
        config = config_class.from_pretrained(folder) if config_class else None
    if not isinstance(config, LabConfig):
        return False
    renaming = call.get("key_mapping") or getattr(model, "_checkpoint_conversion_mapping", None)
    any_shape = bool(further.get("ignore_mismatched_sizes"))
    check_checkpoint(model, config, folder, key_mapping=renaming, any_shape=any_shape, bare_names=bare_names)
    return True


def _warn_not_finite(model: nn.Module, adapter_name: str) -> None:
    """Name what an adapter has just brought and is no number."""
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in held_tensors(model.named_modules(), adapter_name)}
    warn_not_finite(not_finite(tensors), f"The adapter {adapter_name!r}, as it was loaded,")


for _class in (PeftModel, *PeftModel.__subclasses__()):
    for _name in {"__init__", "add_adapter"} & vars(_class).keys():
        _in_place_of(_class, _name)(_add)
