"""What a checkpoint's configuration, as its JSON has it, asks for: by which plans its layers are held against the file.

For this library's methods, and stock PEFT's GLoRA and GraLoRA, they are those of our configuration classes; a plain
LoRA has one here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from peft import LoraConfig, PeftConfig

from glora_lab import arguments
from glora_lab.adapters.checkpoints.expected import Shapes
from glora_lab.adapters.checkpoints.load import OURS
from glora_lab.adapters.glora.config import GloraConfig
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.wording import few

Plans = Callable[[str, Any, Any, Iterable[bool]], list[tuple[Any, Shapes]]]

PARAMETERS = "target_parameters"
# settings of PEFT's LoraConfig under which ΔW is no scaled product of two matrices
VARIANTS = (
    "use_dora", "use_qalora", "velora_config", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config",
    PARAMETERS,
)  # fmt: skip
CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "orthogonal")


class Layout(NamedTuple):
    """`plans(layer, in, out, has_bias)` are those that the configuration may mean by a layer of which so much is known,
    each with its tensors, name → shape."""

    method: str
    prefix: str
    plans: Plans
    notes: list[str]
    config: Any = None  # of a method of one's own, which is asked for its terms


def layout_of(config: Mapping[str, Any]) -> Layout:
    """The layout that a configuration asks for.

    Raises:
        ValueError: for another method, a variant that is no plain product, or a bad setting.
    """
    kind = config.get("peft_type")
    if kind == "LORA":
        return Layout("LoRA", "lora_", *_lora(config))
    if config.get(PARAMETERS):
        raise arguments.refuse(PARAMETERS, config[PARAMETERS], "adapts stacks of matrices, which are not looked into")
    if not isinstance(kind, str) or kind not in OURS:
        raise arguments.refuse(
            "peft_type", kind, "must be LORA, GLORA or GRALORA, or a method of one's own: others have no X-ray"
        )
    ours, notes = _ours(config, OURS[kind])

    def plans(layer: str, into: Any, out: Any, has_bias: Iterable[bool]) -> list[tuple[Any, Shapes]]:
        asked = [ours.plan(layer, in_features=into, out_features=out, has_bias=one) for one in has_bias]
        return [(plan, plan.tensors()) for plan in asked]

    return Layout(ours.method, ours.prefix, plans, notes, None if ours.stock_class else ours)


def _ours(config: Mapping[str, Any], kind: type[LabConfig]) -> tuple[Any, list[str]]:
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


def _lora(config: Mapping[str, Any]) -> tuple[Plans, list[str]]:
    """Path B alone, under LoRA's names."""
    variant = next((name for name in VARIANTS if config.get(name)), None)
    if variant:
        rule = "makes ΔW something else than a scaled product of two matrices"
        advice = "; a DoRA is seen on its model, with xray(model)" if variant == "use_dora" else ""
        raise arguments.refuse(variant, config[variant], rule + advice)
    arguments.check_positive_number("lora_alpha", config.get("lora_alpha"))
    patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    settings = {"alpha": config["lora_alpha"], "use_rslora": config.get("use_rslora", False), **patterns}
    alike = GloraConfig.only(B="lora", r=config.get("r"), **settings)

    def plans(layer: str, into: Any, out: Any, has_bias: Iterable[bool]) -> list[tuple[Any, Shapes]]:
        plan = alike.plan(layer, in_features=into, out_features=out, has_bias=False)
        b, a = plan.shapes("B").values()
        bias = {"lora_B.bias": b[:1]} if config.get("lora_bias") else {}
        linear = {"lora_A.weight": a, "lora_B.weight": b, **bias}
        return [(plan, linear), (plan, {"lora_embedding_A": a, "lora_embedding_B": b})]

    notes = _unknown(config, LoraConfig)
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(CHANGES_THE_BASE):
        notes.append(f"`init_lora_weights` is {init!r}: ΔW is counted from the base as that left it.")
    if config.get("alora_invocation_tokens"):
        notes.append("An activated LoRA: ΔW acts only on the tokens after its invocation.")
    if config.get("lora_bias"):
        notes.append("`lora_bias`: what the LoRAs add to biases is not in these numbers.")
    return plans, notes
