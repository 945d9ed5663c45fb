"""A batch as the measures take it, and the loss that a model has on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from glora_lab.arguments import check_function, refuse

# the model's keyword arguments, the loss being its output's, or (inputs, targets) for a `Loss`
Batch: TypeAlias = Mapping[str, Any] | tuple[Any, Any]
Loss: TypeAlias = Callable[[Any, Any], Tensor]


def loss_of(model: Callable[..., Any], batch: Batch, loss: Loss | None = None) -> Tensor:
    """One forward pass: the loss as one number; mean squared error where (inputs, targets) come without a `loss`.

    Raises:
        ValueError: for a batch of another form, one that gives no loss, or a loss that is more than one number.
    """
    check_function("loss", loss, "outputs and targets")
    if isinstance(batch, Mapping):
        if loss is not None:
            raise ValueError(f"`loss` (={loss!r}) goes with a `batch` (inputs, targets); a dict has the model's own")
        if not batch:
            raise refuse("batch", batch, "must hold the model's keyword arguments, its labels among them")
        value = getattr(_answer(model, batch, **batch), "loss", None)
        if not isinstance(value, Tensor):
            raise ValueError(f"`batch` (of {', '.join(batch)}) gives the model no loss; are the labels in it?")
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
        value = (_mean_squared_error if loss is None else loss)(_answer(model, batch, inputs), targets)
    else:
        raise ValueError(f"`batch` (a {type(batch).__name__}) must be a dict or a tuple (inputs, targets)")
    if value.numel() != 1:
        raise ValueError(f"`loss` (of shape {tuple(value.shape)}) must be one number")
    return value


def _answer(model: Callable[..., Any], batch: Batch, *inputs: Any, **named: Any) -> Any:
    """What the model says. Where the batch is of another kind than it takes, that is said of the batch."""
    try:
        return model(*inputs, **named)
    except (AttributeError, IndexError, TypeError) as error:
        what = f"of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
        raise ValueError(f"`batch` ({what}) must be what the model takes: {error}") from error


def _mean_squared_error(outputs: Any, targets: Any) -> Tensor:
    shapes = [tuple(getattr(side, "shape", ())) or type(side).__name__ for side in (outputs, targets)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`loss` (=None) is the mean squared error of outputs and targets of one shape, "
            f"not of {shapes[0]} and {shapes[1]}; give a `loss` of your own"
        )
    return nn.functional.mse_loss(outputs, targets)
