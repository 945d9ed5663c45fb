"""Asking a model about examples that are no images, and saying in words what it was asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glora_lab.arguments import check_kind
from glora_lab.data import Part, Task
from glora_lab.data.task import A_PART, A_TASK
from glora_lab.ideas.training.record_readings import Readings

from .evaluate import IGNORED, ask, check_asked, check_labelled

NUMBERS = 6  # of an example that is no text


def read(model: nn.Module, task: Task, part: Part) -> Readings:
    """What the model says about each example of a part, in words.

    Answers are called as the task's `classes` are, tokens as its tokenizer has them. Where the task is to write on, it
    is asked for the last token of each example.

    Args:
        model: asked in eval mode without gradients; every module gets its mode back.
        task: says what labels and tokens are called.
        part: one of the task's, or some of its examples.

    Raises:
        ValueError: for an empty part.
    """
    check_asked(model)
    check_kind("task", task, Task, A_TASK)
    check_kind("part", part, Part, A_PART)
    check_labelled(part)
    labels = part.labels.cpu()
    logits = ask(model, part.inputs, 1 if task.writes else 256, lambda answer: answer)
    ends: Tensor | None = None
    if task.writes:
        ends = torch.stack([(row != IGNORED).nonzero().max() for row in labels])  # the last that counts
        logits, labels = (values[torch.arange(len(ends)), ends - back] for values, back in ((logits, 1), (labels, 0)))
    confidence, said = logits.softmax(-1).max(-1)
    return Readings(
        examples=tuple(_in_words(task, part, n, None if ends is None else int(ends[n])) for n in range(len(part))),
        labels=tuple(_called(task, int(label)) for label in labels),
        said=tuple(_called(task, int(answer)) for answer in said),
        confidence=confidence.numpy(),
    )


def _called(task: Task, answer: int) -> str:
    if task.writes:
        return str(answer) if task.tokenizer is None else str(task.tokenizer.decode([answer]))
    return task.classes[answer] if 0 <= answer < len(task.classes) else str(answer)


def _in_words(task: Task, part: Part, n: int, end: int | None) -> str:
    """An example's text, its ids where nothing says what they mean, or its first numbers."""
    ids = part.inputs.get("input_ids")
    if ids is None:
        first = next(iter(part.inputs.values()))[n].flatten()
        return ", ".join(f"{number:.2g}" for number in first[:NUMBERS].tolist()) + (
            " …" if len(first) > NUMBERS else ""
        )
    mask = part.inputs.get("attention_mask")
    row: Tensor = ids[n][:end] if mask is None else ids[n][:end][mask[n][:end] != 0]
    if task.tokenizer is None:
        return " ".join(map(str, row.tolist()))
    return str(task.tokenizer.decode(row, skip_special_tokens=True))
