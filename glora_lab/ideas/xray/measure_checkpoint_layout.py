"""What a checkpoint's configuration says of each layer's tensors: their names, their shapes, and the scaling.

A `Layout` is made from the configuration alone, and holds the tensors' shapes against it before any is read. For
GLoRA and GraLoRA the answer is the configuration class's own plan, the one that layers are built from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from peft import LoraConfig, PeftConfig

from glora_lab import arguments
from glora_lab.adapters import GloraConfig, GraloraConfig
from glora_lab.adapters.glora.paths import path_shapes
from glora_lab.adapters.tuner.targets import pattern_key
from glora_lab.wording import few

Shapes = Mapping[str, tuple[int, ...]]  # "lora_A.weight" → shape
OUT, IN = -1, -2  # stand for sizes that only the tensors tell

PARAMETERS = "target_parameters"
# settings of PEFT's LoraConfig under which ΔW is no scaled product of two matrices
VARIANTS = (
    "use_dora",
    "use_qalora",
    "velora_config",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    PARAMETERS,
)
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "orthogonal")


class Fit(NamedTuple):
    """What the configuration makes of one layer; `shape` (out, in), None where no tensor tells."""

    r: int
    scaling: float
    shape: tuple[int | None, int | None]
    form: str = "elementwise"


class Layout(NamedTuple):
    """`fit(layer, shapes, known, has_bias)` raises a ValueError for what does not fit; `known` maps OUT and IN to the
    base's sizes where it is there, and `has_bias` is None where it is not."""

    method: str
    prefix: str
    fit: Callable[[str, Shapes, dict[int, int], bool | None], Fit]
    notes: list[str]


def layout_of(config: Mapping[str, Any]) -> Layout:
    """The layout that a configuration, as its JSON has it, asks for.

    Raises:
        ValueError: for another method, a variant that is no plain product, or a bad setting.
    """
    kind = config.get("peft_type")
    if kind != "LORA" and config.get(PARAMETERS):
        raise arguments.refuse(PARAMETERS, config[PARAMETERS], "adapts stacks of matrices, which are not looked into")
    if kind == "LORA":
        return _lora(config)
    if kind in ("GLORA", "GLORA_LAB"):
        glora, notes = _ours(config, GloraConfig)
        return Layout("GLoRA", "glora_", lambda *asked: _fit_glora(glora, *asked), notes)
    if kind in ("GRALORA", "GRALORA_LAB"):
        gralora, notes = _ours(config, GraloraConfig)
        return Layout("GraLoRA", "gralora_", lambda *asked: _fit_gralora(gralora, *asked), notes)
    raise arguments.refuse("peft_type", kind, "must be LORA, GLORA or GRALORA: other methods have no X-ray")


def _ours(config: Mapping[str, Any], kind: type[Any]) -> tuple[Any, list[str]]:
    """The configuration, and notes on it; PEFT's general settings say nothing about ΔW."""
    general = {field.name for field in fields(PeftConfig)} - {"peft_type"}
    asked = {name: value for name, value in config.items() if name not in general}
    if config["peft_type"] == kind.lab_type:
        known, notes = kind.sort_out(asked)
        return kind(**known), notes
    names = {field.name for field in fields(kind)} - {"peft_type"}  # of stock PEFT's the tensors tell more
    return kind(**{name: value for name, value in asked.items() if name in names}), _unknown(config, kind)


def _unknown(config: Mapping[str, Any], kind: type[PeftConfig]) -> list[str]:
    names = {field.name for field in fields(kind)} | {"peft_type"}
    odd = sorted(name for name, value in config.items() if name not in names and value)
    return [f"The configuration has settings that are not known here: {few(odd)}."] if odd else []


def _lora(config: Mapping[str, Any]) -> Layout:
    variant = next((name for name in VARIANTS if config.get(name)), None)
    if variant:
        rule = "makes ΔW something else than a scaled product of two matrices"
        advice = "; a DoRA is seen on its model, with xray(model)" if variant == "use_dora" else ""
        raise arguments.refuse(variant, config[variant], rule + advice)
    arguments.check_positive_int("r", config.get("r"))
    arguments.check_positive_number("lora_alpha", config.get("lora_alpha"))
    arguments.check_flag("use_rslora", config.get("use_rslora", False))
    for name, check in (
        ("rank_pattern", arguments.check_positive_int),
        ("alpha_pattern", arguments.check_positive_number),
    ):
        for key, value in arguments.check_pattern(name, config.get(name) or {}).items():
            check(f"{name}[{key!r}]", value)
    notes = _unknown(config, LoraConfig)
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(CHANGES_THE_BASE):
        notes.append(f"`init_lora_weights` is {init!r}: ΔW is counted from the base as that left it.")
    if config.get("alora_invocation_tokens"):
        notes.append("An activated LoRA: ΔW acts only on the tokens after its invocation.")
    if config.get("lora_bias"):
        notes.append("`lora_bias`: what the LoRAs add to biases is not in these numbers.")
    return Layout("LoRA", "lora_", lambda *asked: _fit_lora(config, *asked), notes)


def _fit_lora(
    config: Mapping[str, Any], layer: str, shapes: Shapes, known: dict[int, int], has_bias: bool | None
) -> Fit:
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    r = ranks.get(pattern_key(ranks, layer), config["r"])
    alpha = alphas.get(pattern_key(alphas, layer), config["lora_alpha"])
    if "lora_magnitude_vector" in {name.partition(".")[0] for name in shapes}:
        raise ValueError("has a magnitude, as in DoRA, and its configuration has not")
    if any(name.startswith("lora_embedding") for name in shapes):
        expected: Shapes = {"lora_embedding_A": (r, IN), "lora_embedding_B": (OUT, r)}
    else:
        expected = {"lora_A.weight": (r, IN), "lora_B.weight": (OUT, r)}
        if config.get("lora_bias"):
            expected = {**expected, "lora_B.bias": (OUT,)}
    sizes = _bind(expected, shapes, known)
    scaling = alpha / (math.sqrt(r) if config.get("use_rslora") else r)
    return Fit(r, scaling, (sizes[OUT], sizes[IN]))


def _fit_gralora(
    config: GraloraConfig, layer: str, shapes: Shapes, known: dict[int, int], has_bias: bool | None
) -> Fit:
    a, b = shapes.get("gralora_A", ()), shapes.get("gralora_B", ())
    into = a[0] * a[1] if len(a) == 3 else known.get(IN, config.gralora_k)
    out = b[0] * b[2] if len(b) == 3 else known.get(OUT, config.gralora_k)
    plan = config.plan(layer, in_features=into, out_features=out)
    if not plan.fits:
        raise ValueError(f"has k {plan.k} and rank {plan.r} for {into} → {out} features, which k does not divide")
    expected = {name + ".weight" * name.endswith("general"): shape for name, shape in plan.shapes().items()}
    _bind(expected, shapes, {})
    for name, side, size in (("inputs", IN, into), ("outputs", OUT, out)):
        if known.get(side, size) != size:
            raise ValueError(f"is for {size} {name}, and in `base_model` it has {known[side]}")
    return Fit(plan.r, plan.scaling, (out, into))


def _fit_glora(config: GloraConfig, layer: str, shapes: Shapes, known: dict[int, int], has_bias: bool | None) -> Fit:
    zeros = {name: shape for name, shape in shapes.items() if name.endswith(".zeros")}  # stock PEFT's for `none`
    shapes = {name: shape for name, shape in shapes.items() if name not in zeros}
    present = {name[6] for name in shapes}
    maybe = [bool(present & set("CDE")), False] if has_bias is None else [has_bias]
    plans = [config.plan(layer, in_features=IN, out_features=OUT, has_bias=bias) for bias in maybe]
    plan = next((p for p in plans if {path for path, mode in p.modes.items() if mode != "none"} == present), plans[0])
    expected = {
        f"glora_{path}.{name}": shape
        for path, mode in plan.modes.items()
        for name, shape in path_shapes(path, mode, out_features=OUT, in_features=IN, r=plan.r, form=plan.form).items()
    }
    sizes = _bind(expected, shapes, known)
    if "glora_A.zeros" in zeros and len(zeros["glora_A.zeros"]) == 2:
        sizes = _bind({"glora_A.zeros": (OUT, IN)}, {"glora_A.zeros": zeros["glora_A.zeros"]}, sizes)
    return Fit(plan.r, plan.scaling, (sizes.get(OUT), sizes.get(IN)), plan.form)


def _bind(expected: Shapes, shapes: Shapes, known: dict[int, int]) -> dict[int, int]:
    """The sizes that OUT and IN stand for, where names and shapes are as expected."""
    missing, odd = sorted(set(expected) - set(shapes)), sorted(set(shapes) - set(expected))
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    if odd:
        raise ValueError(f"has {', '.join(odd)}, which its configuration does not ask for")
    sizes = dict(known)
    for name, shape in expected.items():
        found = shapes[name]
        fits = len(found) == len(shape)
        for asked, size in zip(shape, found, strict=False):
            fits = fits and size > 0 and size == (sizes.setdefault(asked, size) if asked < 0 else asked)
        if not fits:
            words = {OUT: "out", IN: "in"}
            wanted = ", ".join(str(sizes.get(n, words.get(n, n))) if n < 0 else str(n) for n in shape)
            raise ValueError(f"has {name} of shape {found}, and it should be ({wanted})")
    return sizes
