"""Mixed batches: one forward pass in which each row uses the adapter named for it (`adapter_names`).

PEFT passes the names to its layers through forward hooks. Ours are taken away also when the forward fails, and
know every way in which `generate` repeats rows: `num_beams` and `num_return_sequences`, given as arguments or
in a generation configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import GenerationConfig


def rows_by_adapter(adapter_names: Sequence[str], rows: int) -> dict[str, list[int]]:
    """Adapter name → its rows.

    Raises:
        ValueError: where there is not one name per row.
    """
    if len(adapter_names) != rows:
        raise ValueError(
            "Length of `adapter_names` should be the same as the number of inputs, but got "
            f"{len(adapter_names)} and {rows} respectively."
        )
    found: dict[str, list[int]] = {}
    for row, name in enumerate(adapter_names):
        found.setdefault(name, []).append(row)
    return found


def repeats_in_generate(model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> int:
    """How many times `generate` would repeat each row: the larger of beams and returned sequences."""
    given = [*args, kwargs.get("generation_config"), getattr(model, "generation_config", None)]
    default = next((config for config in given if isinstance(config, GenerationConfig)), None)
    counts = (kwargs.get(n) or getattr(default, n, None) or 1 for n in ("num_beams", "num_return_sequences"))
    return max(counts)


@contextmanager
def adapter_names_as_hooks(
    model: nn.Module, layer_class: type, adapter_names: Sequence[str], known: set[str], repeats: int
) -> Iterator[None]:
    """Within, every adapter layer and `modules_to_save` wrapper of `model` receives the names for its rows.

    Args:
        known: the adapters of this model.
        repeats: how often each row may come, see `repeats_in_generate`.

    Raises:
        ValueError: in training mode, or where a name is no adapter of this model.
    """
    if model.training:
        raise ValueError("Cannot pass `adapter_names` when the model is in training mode.")
    unexpected = {name for name in adapter_names if name != "__base__"} - known
    if unexpected:
        raise ValueError(f"Trying to infer with non-existing adapter(s): {', '.join(sorted(unexpected))}")

    def pass_names(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        # an encoder sees each row once, the decoder behind it as often as there are beams
        repeated = bool(args) and len(args[0]) == repeats * len(adapter_names)
        names = [n for n in adapter_names for _ in range(repeats)] if repeated else list(adapter_names)
        if isinstance(module, AuxiliaryTrainingWrapper):  # it looks every name up, also of adapters that left it alone
            names = [n if n in module._adapters else "__base__" for n in names]
        return args, {**kwargs, "adapter_names": names}

    layers = [m for m in model.modules() if isinstance(m, (layer_class, AuxiliaryTrainingWrapper))]
    handles = [layer.register_forward_pre_hook(pass_names, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
