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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.integrations.peft import PeftAdapterMixin

from glora_lab.adapters.base.frozen import is_sharded
from glora_lab.adapters.base.ordinary_mode import ordinary_mode
from glora_lab.adapters.files import PREFIX, not_finite, stamp_pairs, warn_not_finite
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.layer import LabLayer
from glora_lab.adapters.tuner.many_layers import filling_at_once
from glora_lab.adapters.tuner.names import check_saved
from glora_lab.arguments import refuse
from glora_lab.folders import folder_named, replacing

from .fit import at_home, check_checkpoint, class_in

CARD = "README.md"
GATHERED = "torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True"
# the folder that `from_pretrained` has checked, for the `load_adapter` that it calls, and what came of it
CHECKED: ContextVar[tuple[Any, bool]] = ContextVar("CHECKED", default=(None, False))


def _saving(theirs: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def save_pretrained(self: PeftModel, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, save_directory, *args, **kwargs)
        call.apply_defaults()
        names = call.arguments["selected_adapters"] or list(self.peft_config)
        if not any(isinstance(self.peft_config.get(name), LabConfig) for name in names):
            return theirs(self, save_directory, *args, **kwargs)
        if not call.arguments["safe_serialization"]:
            raise refuse("safe_serialization", False, "must be True: this library writes safetensors, never pickles")
        place = call.arguments["save_directory"] = folder_named("save_directory", save_directory)
        if os.path.isfile(place) or not call.arguments["is_main_process"]:
            return theirs(*call.args, **call.kwargs)  # refuses, and writes nothing
        tensors = call.arguments["kwargs"].get("state_dict") or dict(self.named_parameters())
        if any(is_sharded(tensor) for tensor in tensors.values()):
            rule = "must hold whole tensors, for this model is sharded over processes: in every process, take "
            raise refuse("state_dict", "parts of tensors", f"{rule}{GATHERED}")
        with saving(place) as folder:
            call.arguments["save_directory"] = str(folder)
            theirs(*call.args, **call.kwargs)
            for name in names:
                if isinstance(self.peft_config[name], LabConfig):
                    check_saved(self, name, folder if name == "default" else folder / name)

    return save_pretrained


@contextmanager
def saving(place: str) -> Iterator[Path]:
    """A folder to save adapters into, which then take the place of those in `place`, all files of one together."""
    with replacing(place, CONFIG_NAME) as folder:
        if (card := Path(place) / CARD).is_file():  # PEFT adds to the one that is there
            shutil.copyfile(card, folder / CARD)
        yield folder
        stamp_pairs(folder)


def _saving_from_transformers(theirs: Callable[..., None]) -> Callable[..., None]:
    """transformers writes the configuration first and the weights in place."""
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def save_pretrained(self: PreTrainedModel, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        configs = self.peft_config.values() if getattr(self, "_hf_peft_config_loaded", False) else ()
        if not any(isinstance(config, LabConfig) for config in configs):
            return theirs(self, save_directory, *args, **kwargs)
        call = signature.bind(self, save_directory, *args, **kwargs)
        call.apply_defaults()
        place = call.arguments["save_directory"] = folder_named("save_directory", save_directory)
        together = call.arguments.get("distributed_checkpoint")  # every process writes a part of it
        if os.path.isfile(place) or together or not call.arguments["is_main_process"]:
            return theirs(*call.args, **call.kwargs)
        if call.arguments["push_to_hub"]:  # under the name of the folder that was asked for
            call.arguments["kwargs"].setdefault("repo_id", os.path.basename(os.path.abspath(place)))
        with saving(place) as folder:
            call.arguments["save_directory"] = str(folder)
            theirs(*call.args, **call.kwargs)

    return save_pretrained


def _making(theirs: Callable[..., PeftModel]) -> Callable[..., PeftModel]:
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def from_pretrained(cls: type[PeftModel], model: nn.Module, model_id: Any, *args: Any, **kwargs: Any) -> PeftModel:
        call = signature.bind(cls, model, model_id, *args, **kwargs)
        call.arguments["model_id"] = at_home(model_id, kwargs.get("subfolder"))
        ours = _check(model, call.arguments.get("config"), call.arguments)
        checked = CHECKED.set((call.arguments["model_id"], ours))
        try:
            return theirs(*call.args, **call.kwargs)
        finally:
            CHECKED.reset(checked)

    return from_pretrained


def _adding(theirs: Callable[..., None]) -> Callable[..., None]:
    """PEFT copies whole modules (`modules_to_save`) itself, outside the tuner."""
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def added(self: PeftModel, *args: Any, **kwargs: Any) -> None:
        config = signature.bind(self, *args, **kwargs).arguments["peft_config"]
        with ordinary_mode(isinstance(config, LabConfig)):
            theirs(self, *args, **kwargs)

    return added


def _loading(theirs: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def load_adapter(self: PeftModel, model_id: Any, adapter_name: str, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, model_id, adapter_name, *args, **kwargs)
        call.arguments["model_id"] = at_home(model_id, kwargs.get("subfolder"))
        known, ours = CHECKED.get()
        if known != call.arguments["model_id"]:
            ours = _check(self.get_base_model(), self.peft_config.get(adapter_name), call.arguments)
        with ordinary_mode(ours), filling_at_once(self, adapter_name) if ours else nullcontext():
            loaded = theirs(*call.args, **call.kwargs)
        if ours:
            _warn_not_finite(self, adapter_name)
        return loaded

    return load_adapter


def _loading_into_transformers(theirs: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(theirs)

    @functools.wraps(theirs)
    def load_adapter(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        call = bound.arguments
        if "peft_model_id" in call:
            call["peft_model_id"] = at_home(call["peft_model_id"], (call.get("adapter_kwargs") or {}).get("subfolder"))
        settings = call.get("load_config")
        ours = False
        folder = call.get("peft_model_id") or getattr(settings, "pretrained_model_name_or_path", None)
        if folder is not None and call.get("adapter_state_dict") is None:
            any_shape = getattr(settings, "ignore_mismatched_sizes", False)
            further = {
                "ignore_mismatched_sizes": any_shape,
                **(call.get("adapter_kwargs") or {}),
                **call.get("kwargs", {}),
            }
            ours = _check(self, call.get("peft_config"), {"model_id": folder, "kwargs": further}, bare_names=True)
        with ordinary_mode(ours):
            loaded = theirs(*bound.args, **bound.kwargs)
        if ours:
            _warn_not_finite(self, call.get("adapter_name") or "default")
        return loaded

    return load_adapter


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
    tensors: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, LabLayer):
            held: Mapping[str, Tensor] = module.tensors(adapter_name)
        elif isinstance(module, ModulesToSaveWrapper) and adapter_name in module.modules_to_save:
            held = module.modules_to_save[adapter_name].state_dict()
        else:
            continue
        tensors |= {f"{name}.{tensor}".removeprefix(PREFIX): value for tensor, value in held.items()}
    warn_not_finite(not_finite(tensors), f"The adapter {adapter_name!r}, as it was loaded,")


PeftModel.save_pretrained = _saving(PeftModel.save_pretrained)  # type: ignore[method-assign]
PeftModel.from_pretrained = classmethod(_making(PeftModel.from_pretrained.__func__))  # type: ignore[assignment, attr-defined]
PeftModel.load_adapter = _loading(PeftModel.load_adapter)  # type: ignore[method-assign]
PeftAdapterMixin.load_adapter = _loading_into_transformers(PeftAdapterMixin.load_adapter)  # type: ignore[method-assign]
PreTrainedModel.save_pretrained = _saving_from_transformers(PreTrainedModel.save_pretrained)  # type: ignore[method-assign]
for _class in (PeftModel, *PeftModel.__subclasses__()):
    for _name in ("__init__", "add_adapter"):
        if _name in vars(_class):
            setattr(_class, _name, _adding(vars(_class)[_name]))
