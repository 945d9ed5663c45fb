"""Whether a task and a model go together, as far as the model's configuration tells."""

from __future__ import annotations

from torch import nn

from .task import Task


def check_fits(model: nn.Module, task: Task) -> None:
    """ValueError where the configuration of the model says that it cannot learn the task.

    It is asked for the number of its labels, or of the tokens it writes; for its vocabulary; and for the longest text
    that it takes. What no configuration tells, a forward pass has to.
    """
    config = getattr(model, "config", None)
    has = {True: "vocab_size", False: "num_labels"}[task.writes]
    labels = getattr(config, has, task.num_classes)
    if labels < task.num_classes:
        raise ValueError(
            f"`task` (={task.name!r}) must have no more classes than the model has labels; "
            f"it has {task.num_classes}, the model {labels}"
        )
    if task.writes and hasattr(model, "can_generate") and (_encodes(config) or not model.can_generate()):  # type: ignore[operator]
        raise ValueError(
            f"`task` (={task.name!r}) must have one label for each example, (n,): those of (n, t) are for a model that "
            f"goes on writing, as LlamaForCausalLM does, and {type(model).__name__} does not"
        )
    if task.kind != "text":
        return
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    ids = {name: part.inputs["input_ids"] for name, part in parts.items()}
    vocabulary, longest = getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", None)
    for name, part in ids.items():
        if vocabulary and len(part) and part.max() >= vocabulary:
            raise ValueError(
                f"`{name}` of task {task.name!r} must have token ids below {vocabulary:,}, the model's vocabulary; "
                f"the largest is {part.max():,}: it takes the model's own tokenizer"
            )
        if longest and part.shape[1] > longest:
            raise too_long(name, part.shape[1], longest)


def too_long(name: str, tokens: int, longest: int) -> ValueError:
    """The one wording of a text that no model of this length reads."""
    return ValueError(
        f"`{name}` must have examples of at most {longest:,} tokens, which is what the model takes, and has one of "
        f"{tokens:,}: `max_length` (={longest}) cuts them"
    )


def _encodes(config: object) -> bool:
    """Whether what it writes is put into another model than what it reads: its labels are not its ids."""
    return bool(getattr(config, "is_encoder_decoder", False))
