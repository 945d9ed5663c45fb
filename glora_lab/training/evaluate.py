"""Asking a model without changing it: accuracy on a part, and what it says about each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from glora_lab.arguments import A_MODEL, check_kind, check_text, refuse
from glora_lab.data import Part
from glora_lab.data.task import A_PART
from glora_lab.ideas.training.record import Predictions
from glora_lab.models.mode import eval_mode

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

UNKNOWN = -1  # the label of an image that comes without one
IGNORED = -100  # torch's label for what does not count
MOST_LOGITS = 2**26  # at a time: a quarter of a gigabyte
MOST_PIXELS = 32  # a side of an image that is shown


def evaluate(model: nn.Module, part: Part, batch_size: int = 256) -> float:
    """The share of `part`'s examples (0 to 1) whose label the model finds most likely.

    Of text that is written on every token counts for itself, but for the first, which nothing comes before. Labels of
    -100 count nowhere.

    Args:
        model: asked in eval mode without gradients; every module gets its mode back.
        part: of a task.
        batch_size: examples at a time.

    Raises:
        ValueError: for an empty part or a batch size below 1.
    """
    check_kind("part", part, Part, A_PART)
    check_asked(model, batch_size)
    check_labelled(part)
    wanted = wanted_of(part)
    said = ask(model, part.inputs, at_once(model, wanted, batch_size), lambda logits: logits.argmax(-1))
    if wanted.ndim == 2:
        said = said[:, :-1]
    return (said == wanted)[wanted != IGNORED].double().mean().item()


def check_asked(model: nn.Module, batch_size: int = 1) -> None:
    """Refuse what is no model, or cannot be asked so many examples at a time."""
    check_kind("model", model, nn.Module, A_MODEL)
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise refuse("batch_size", batch_size, "must be an integer, at least 1")


def check_labelled(part: Part) -> None:
    if "labels" not in part.inputs:
        raise refuse("part", list(part.inputs), "must have labels")


def counted(part: Part) -> int:
    """How many answers `evaluate` takes the share of."""
    return int((wanted_of(part) != IGNORED).sum())


def at_once(model: nn.Module, wanted: Tensor, batch_size: int) -> int:
    """`batch_size`, or fewer where every token has an answer for each word of a vocabulary."""
    if wanted.ndim == 1:
        return batch_size
    words = getattr(getattr(model, "config", None), "vocab_size", 1)
    return min(batch_size, max(1, MOST_LOGITS // (words * max(wanted.shape[1] + 1, 1))))


def wanted_of(part: Part) -> Int[Tensor, ...]:
    """Of text (n, t) that is written on, what is said at a token is about the next one."""
    labels = part.labels.cpu()
    return labels[:, 1:] if labels.ndim == 2 else labels


def predict(
    model: nn.Module,
    images: Part | Float[Tensor, "n c h w"],
    batch_size: int = 256,
    *,
    classes: tuple[str, ...] = (),
) -> Predictions:
    """What the model says about each image of a part.

    Args:
        model: asked in eval mode without gradients; every module gets its mode back.
        images: a part, or bare `pixel_values` (n, c, h, w), whose labels are then -1, which no answer equals. Colour
            images are shown as their darkness, a mean over the channels, and large ones with 32 pixels a side.
        batch_size: examples at a time.
        classes: names of the labels.

    Raises:
        ValueError: for no images, or a batch size below 1.
    """
    check_kind("images", images, (Part, Tensor), "must be a part of a task, or pixel values (n, c, h, w) as a tensor")
    check_asked(model, batch_size)
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise refuse("classes", classes, "must be the names of the labels, a tuple of texts")
    for name in classes:
        check_text("classes[…]", name)
    inputs = images.inputs if isinstance(images, Part) else {"pixel_values": images}
    if "pixel_values" not in inputs:
        raise refuse("images", list(inputs), "must have `pixel_values`")
    pixels = inputs["pixel_values"]
    labels = inputs.get("labels", torch.full((len(pixels),), UNKNOWN))
    confidence, predicted = ask(model, inputs, batch_size, lambda logits: logits).softmax(-1).max(-1)
    return Predictions(
        images=_shown(pixels.detach().float().cpu()).numpy(),
        labels=labels.cpu().numpy(),
        predicted=predicted.numpy(),
        confidence=confidence.numpy(),
        classes=tuple(classes),
    )


def _shown(pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Ink: what has one channel is that already, in colours the lightest has none."""
    images = pixels.mean(1)
    if pixels.shape[1] > 1 and len(pixels):
        images = images.max() - images
    if max(images.shape[1:]) > MOST_PIXELS:
        h, w = (min(side, MOST_PIXELS) for side in images.shape[1:])
        images = torch.nn.functional.adaptive_avg_pool2d(images, (h, w))
    return images


def ask(
    model: nn.Module, inputs: Mapping[str, Tensor], batch_size: int, answer: Callable[[Tensor], Tensor]
) -> Shaped[Tensor, "n ..."]:
    """What `answer` makes of the model's logits in float32, asked for `batch_size` examples at a time; on the CPU.

    Texts that get one answer each are asked about with others of their length.
    """
    part = Part({name: tensor for name, tensor in inputs.items() if name != "labels"})
    if len(part) == 0:
        raise ValueError("`part` holds no examples")
    of_tokens = "labels" in inputs and inputs["labels"].ndim == 2
    lengths = None if of_tokens else part.lengths
    order = torch.arange(len(part)) if lengths is None else lengths.cpu().argsort(stable=True)
    device = next(model.parameters()).device
    answers = []
    with eval_mode(model), torch.no_grad():
        for index in order.split(batch_size):
            rows = {name: tensor[index] for name, tensor in part.inputs.items()} if of_tokens else part.rows(index)
            batch = {name: tensor.to(device) for name, tensor in rows.items()}
            answers.append(answer(model(**batch).logits.float()).cpu())
    return torch.cat(answers)[order.argsort()]
