"""Whether a task and a model go together, as far as the model's configuration tells."""

from __future__ import annotations

from torch import nn

from glora_lab.arguments import A_MODEL, check_kind

from .task import A_TASK, Task


def check_fits(model: nn.Module, task: Task) -> None:
    """Whether the configuration of a model says that it can learn a task; where it can, nothing happens.

    It is asked for the number of its labels, or of the tokens it writes; for its vocabulary; and for the longest text
    that it takes. What no configuration tells, a forward pass has to, see `check_task`.

    Args:
        model: the model, which is not run.
        task: what it is to learn.

    Raises:
        ValueError: where it says that it cannot.
    """
    check_kind("model", model, nn.Module, A_MODEL)
    check_kind("task", task, Task, A_TASK)
    config, inputs = getattr(model, "config", None), task.train.inputs
    main = getattr(model, "main_input_name", None)
    if task.kind != "rows" and main in ("input_ids", "pixel_values") and main not in inputs:
        raise ValueError(
            f"`task` (={task.name!r}) must have `{main}`, which {type(model).__name__} reads, "
            f"and has {', '.join(inputs)}"
        )
    labels = getattr(config, "vocab_size" if task.writes else "num_labels", task.num_classes)
    if labels < task.num_classes:
        raise ValueError(
            f"`task` (={task.name!r}) must have no more classes than the model has labels; "
            f"it has {task.num_classes}, the model {labels}"
        )
    if hasattr(model, "can_generate") and task.writes != _writes(model, config):
        has, does = ("of its tokens (n, t)", "does not") if task.writes else ("of each text (n,)", "does")
        raise ValueError(
            f"`task` (={task.name!r}) has labels {has}: those of tokens are for a model that goes on writing, "
            f"as LlamaForCausalLM does, and {type(model).__name__} {does}"
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


def _writes(model: nn.Module, config: object) -> bool:
    """Whether it goes on from what it reads. An encoder and a decoder write something else than they read, and what
    their labels are is their own."""
    return bool(model.can_generate()) and not getattr(config, "is_encoder_decoder", False)  # type: ignore[operator]
