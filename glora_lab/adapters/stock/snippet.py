"""A configuration as the code that makes it, to copy out of the laboratory: for this library or for PEFT.

PEFT's GLoRA sets A with B and D with E, so most settings cannot be said there. Where PEFT cannot say one, the
snippet names what is in the way; it never writes a configuration that means something else. B alone is LoRA,
with the same initial values and scaling, and is written as PEFT's LoraConfig. LoRA itself is PEFT's for both.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

import peft
from peft import LoraConfig, PeftConfig

from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.glora.paths import PATHS
from glora_lab.adapters.gralora.config import GraloraConfig
from glora_lab.arguments import check_choice

from .translate import unsaid

LIBRARIES = ("glora_lab", "peft")
USE = "# from peft import get_peft_model\n# model = get_peft_model(model, config)\n"
MODE_FIELDS = frozenset({"config_A_B", "config_C", "config_D_E", "config_A", "config_B", "config_D", "config_E"})
# What PEFT knows about the run and not about the adapter; `task_type` is the one that a reader sets.
RUN_FIELDS = frozenset(field.name for field in fields(PeftConfig)) - {"task_type"}
STOCK_FIELDS = frozenset({"task_type", "r", "target_modules", "bias", "modules_to_save"})
LORA_NAMES = {"glora_dropout": "lora_dropout", "alpha": "lora_alpha"}


def config_snippet(config: PeftConfig, library: str = "glora_lab", *, conv1d: bool = False) -> str:
    """Python that makes `config`, as a variable of that name.

    Args:
        config: PEFT's LoraConfig, or one of this library's. Settings at their default are left out; rank, scaling,
            modes and `gralora_k`, which tell what it is, and the settings of a method of one's own are always written.
        library: "glora_lab", or "peft" for code that needs nothing but PEFT.
        conv1d: whether a layer that it adapts is a `Conv1D` (GPT-2), which PEFT's GLoRA does not take.

    Returns:
        Code that runs as it stands. Where PEFT cannot say the configuration, or no text can, comment lines that tell
        why, and no code.

    Raises:
        ValueError: for another library, or another kind of configuration.
    """
    check_choice("library", library, LIBRARIES)
    if written := WRITTEN.get(getattr(config, "stock_class", MISSING)):
        return written(config, library, conv1d)
    if isinstance(config, LoraConfig):
        return _lora(config)
    kinds = "PEFT's LoraConfig, or this library's GloraConfig or GraloraConfig"
    raise ValueError(f"`config` (a {type(config).__module__}.{type(config).__name__}) must be {kinds}")


def _glora(config: GloraConfig, library: str, conv1d: bool) -> str:
    changed, modes = _changed(config), config.modes
    if library == "glora_lab":
        return _code("glora_lab", "GloraConfig", {**changed, **{f"config_{path}": modes[path] for path in PATHS}})
    lora = {path: mode for path, mode in modes.items() if mode != "none"} == {"B": "lora"}
    if reasons := list(_not_in_lora(config) if lora else unsaid(config, changed, conv1d)):
        return _refusal(reasons)
    if lora:
        return _code("peft", "LoraConfig", _as_lora(config, changed))
    said = {name: value for name, value in changed.items() if name in STOCK_FIELDS}
    joint = {"config_A_B": modes["A"], "config_C": modes["C"], "config_D_E": modes["D"]}
    return _code("peft", "GloraConfig", {**said, **joint})


def _gralora(config: GraloraConfig, library: str, _: bool) -> str:
    settings = {"r": config.r, "gralora_k": config.gralora_k, "alpha": config.alpha, **_changed(config)}
    reasons = list(unsaid(config, settings)) if library == "peft" else []
    return _refusal(reasons) if reasons else _code(library, "GraloraConfig", settings)


def _own(config: Any, library: str, _: bool) -> str:
    if library == "peft":
        return _refusal([f"{config.method}, a method of one's own"])
    changed = _changed(config)
    settings = {"r": changed.pop("r"), **config.settings, **changed}
    for name in ("delta_method", "settings"):
        settings.pop(name, None)
    return f"# {config.method} is the class that defines the method\n{_call(f'{config.method}.config', settings)}"


WRITTEN: Mapping[Any, Callable[[Any, str, bool], str]] = {
    peft.GloraConfig: _glora,
    peft.GraloraConfig: _gralora,
    None: _own,
}


def _lora(config: LoraConfig) -> str:
    settings = {"r": config.r, "lora_alpha": config.lora_alpha, **_changed(config)}
    unwritten = [f"{name}={value!r}" for name, value in settings.items() if not _is_literal(value)]
    if unwritten:
        return "".join(f"# No text can say this: {setting}.\n" for setting in unwritten)
    return _code("peft", "LoraConfig", settings)


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False


def _refusal(reasons: list[str]) -> str:
    return "".join(f"# PEFT cannot say this: {reason}.\n" for reason in reasons)


def _changed(config: LoraConfig | GloraConfig | GraloraConfig) -> dict[str, Any]:
    """Field → value where it is not the default; modes apart."""
    changed = {}
    for field in fields(config):
        value = getattr(config, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name not in MODE_FIELDS | RUN_FIELDS and value != default:
            changed[field.name] = sorted(value) if isinstance(value, set) else value
    return {"r": config.r, **changed}


def _code(module: str, name: str, settings: Mapping[str, Any]) -> str:
    return f"from {module} import {name}\n\n{_call(name, settings)}"


def _call(name: str, settings: Mapping[str, Any]) -> str:
    lines = "".join(f"    {key}={value!r},\n" for key, value in settings.items())
    return f"config = {name}(\n{lines})\n{USE}"


def _not_in_lora(config: GloraConfig) -> Iterator[str]:
    if config.path_pattern:
        yield f"path_pattern={config.path_pattern!r}, which its LoRA does not have"
    if not config.init_weights:
        yield "init_weights=False, which starts from values of another size there"
    if config.use_rslora and config.alpha is None:
        yield "use_rslora=True for some layers only"


def _as_lora(config: GloraConfig, changed: Mapping[str, Any]) -> dict[str, Any]:
    """B alone in PEFT's words. Without `alpha` our product is not scaled, which is lora_alpha=r there."""
    dropped = {"A_form", "bias_free", "path_pattern", "init_weights", "alpha_pattern"}
    settings = {LORA_NAMES.get(name, name): value for name, value in changed.items() if name not in dropped}
    if settings.get("bias") == "glora_only":
        settings["bias"] = "lora_only"
    unscaled = config.rank_pattern if config.alpha is None else {}
    alphas = {**config.alpha_pattern, **{k: r for k, r in unscaled.items() if k not in config.alpha_pattern}}
    settings.setdefault("lora_alpha", config.r)
    return {**settings, **({"alpha_pattern": alphas} if alphas else {})}
