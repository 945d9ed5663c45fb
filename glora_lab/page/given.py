"""What a panel is given: a model, a session, text; refused in words where it is something else."""

from __future__ import annotations

from typing import Any

from torch import nn

from glora_lab.arguments import check_function, check_is
from glora_lab.models import load_model
from glora_lab.page.controls.example import linear_layers


def check_model(name: str, value: Any) -> None:
    hint = f", as load_model({value!r}) may give" if isinstance(value, str) else ""
    check_is(name, value, nn.Module, f"must be a model (torch.nn.Module){hint}")


def given_model(model: nn.Module | str | None) -> nn.Module:
    """The model that a panel was given, digits-vit for None.

    Raises:
        ValueError: for what is no model, or a model without a linear layer.
    """
    check_model("model", model)
    found = model if isinstance(model, nn.Module) else load_model("digits-vit")
    if not linear_layers(found):
        raise ValueError(f"`model` (a {type(found).__name__}) must have a linear layer (nn.Linear or Conv1D)")
    return found


def check_batch(batch: Any, loss: Any) -> None:
    """A batch as `loss_of` takes it, and its loss; None for both is a panel's own.

    Raises:
        ValueError: for what is neither, or a loss that cannot be called.
    """
    check_is("batch", batch, (dict, tuple), "must be a dict of the model's arguments or a tuple (inputs, targets)")
    check_function("loss", loss, "outputs and targets")
