"""PEFT's own types, answered by this library for a while.

`peft.GloraConfig` and `peft.GraloraConfig` keep building PEFT's layers unless asked otherwise: a script written for
PEFT can be run over our layers without a change, within `with use_in_peft():`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig, PeftModel, PeftType, mapping

from glora_lab.adapters.glora import model as glora_model  # noqa: F401 — registered before the table is asked
from glora_lab.adapters.gralora import model as gralora_model  # noqa: F401
from glora_lab.adapters.registry import LAB_METHODS, config_beside
from glora_lab.adapters.tuner.config import LabConfig
from glora_lab.adapters.tuner.model import LabTuner

OURS: dict[PeftType, tuple[type[LabConfig], type[LabTuner]]] = {
    PeftType(config.stock_type()): (config, tuner) for config, tuner in LAB_METHODS.values() if config.stock_class
}
TABLES: tuple[dict[Any, Any], ...] = (
    mapping.PEFT_TYPE_TO_CONFIG_MAPPING,
    mapping.PEFT_TYPE_TO_TUNER_MAPPING,
    mapping.PEFT_TYPE_TO_PREFIX_MAPPING,
)


class _Loan:
    """PEFT's entries while ours stand in their place, and how many blocks want them to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.entries: list[tuple[dict[Any, Any], PeftType, Any]] = []
        self.methods: dict[str, Callable[..., Any]] = {}

    def take(self) -> None:
        with self.lock:
            if not self.blocks:
                self.entries = [(table, kind, table[kind]) for table in TABLES for kind in OURS]
                for kind, (config_class, tuner_class) in OURS.items():
                    for table, ours in zip(TABLES, (config_class, tuner_class, tuner_class.prefix), strict=True):
                        table[kind] = ours
                self.methods = {name: getattr(PeftModel, name) for name in POSITIONS}
                for name, theirs in self.methods.items():
                    setattr(PeftModel, name, _with_ours(theirs, POSITIONS[name]))
            self.blocks += 1

    def give_back(self) -> None:
        with self.lock:
            self.blocks -= 1
            if not self.blocks:
                for table, kind, theirs in self.entries:
                    table[kind] = theirs
                for name, method in self.methods.items():
                    setattr(PeftModel, name, method)


# PeftModel's methods that take a configuration → its place among the arguments after `self`. They keep its type,
# which must be ours from the start: a model of PEFT's type would refuse a second adapter of ours.
POSITIONS = {"__init__": 1, "add_adapter": 1}
_loan = _Loan()


@contextmanager
def use_in_peft() -> Iterator[None]:
    """Within, PEFT's own GLORA and GRALORA (configurations, checkpoints) give this library's layers.

    `get_peft_model(model, peft.GloraConfig(...))` then makes a `glora_lab.GloraModel`, and stays one afterwards.
    PEFT's entries come back at the end, after an exception too. Blocks may be nested, and PEFT's tables are one for
    the process: while any thread is in such a block, every thread gets ours, and the last block to end puts back
    what the first had found.
    """
    _loan.take()
    try:
        yield
    finally:
        _loan.give_back()


def _with_ours(theirs: Callable[..., Any], position: int) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def method(self: PeftModel, *args: Any, **kwargs: Any) -> Any:
        if len(args) > position:
            args = (*args[:position], _ours(args[position]), *args[position + 1 :])
        elif "peft_config" in kwargs:
            kwargs["peft_config"] = _ours(kwargs["peft_config"])
        return theirs(self, *args, **kwargs)

    return method


def _ours(config: PeftConfig) -> PeftConfig:
    ours = config_beside(config)
    return config if ours is None else ours.from_stock(config)
