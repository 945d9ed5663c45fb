"""Our adapter types in PEFT's tables, beside its own.

PEFT looks up configuration, tuner and prefix by type, and `register_peft_method` refuses a type that is not
in its enumeration. We write the entries ourselves, under names of our own, so that PEFT's GLORA and GRALORA
stay as they are; the prefixes are PEFT's, so that tensor names are too.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from peft import PeftType, mapping
from peft.tuners.tuners_utils import BaseTuner


class LabPeftType(str, Enum):
    """The adapter types of this library. Name and value agree, so that a member and its string are one key."""

    GLORA_LAB = "GLORA_LAB"
    GRALORA_LAB = "GRALORA_LAB"
    DELTA_LAB = "DELTA_LAB"  # a method of one's own


# PEFT 0.20 saves and loads only types that are members of its own enumeration, and our types' biases not at all;
# later ones ask the tuner.
PEFT_ASKS_THE_TUNER = hasattr(BaseTuner, "_get_adapter_state_dict")


def _join_peft_types() -> None:
    if not PEFT_ASKS_THE_TUNER:
        for member in LabPeftType:
            PeftType._member_map_[member.name] = member
            PeftType._member_names_.append(member.name)


_join_peft_types()


LAB_METHODS: dict[LabPeftType, tuple[Any, Any]] = {}  # type → configuration and tuner


def config_beside(stock: Any) -> Any:
    """The class of this library's configuration for PEFT's own of the same method; None where there is none."""
    return next((ours for ours, _ in LAB_METHODS.values() if ours.stock_class is type(stock)), None)


def register(peft_type: LabPeftType, config_class: type, tuner_class: type) -> None:
    """Make PEFT build `tuner_class` for `config_class`. Calling it again changes nothing."""
    LAB_METHODS[peft_type] = config_class, tuner_class
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config_class  # type: ignore[index]
    mapping.PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner_class  # type: ignore[index]
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = tuner_class.prefix  # type: ignore[index,attr-defined]
