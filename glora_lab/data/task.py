"""What a model is adapted to: a task of three parts, and the recipe that it is made by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from glora_lab.arguments import check_kind, check_positive_int, check_text, refuse

if TYPE_CHECKING:
    from jaxtyping import Int

#: What the examples of a task may be; rows are arrays of any other sort.
Kind: TypeAlias = Literal["images", "text", "rows"]

A_TASK = "must be a Task; load_task gives one by its name, task_from makes one of your data"
A_PART = "must be a part of a task: task.train, task.validation or task.test"


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a task, one row per example n.

    Attributes:
        inputs: the model's keyword arguments, (n, …) each. For images `pixel_values` (n, c, h, w) float32, of digits
            (n, 1, 8, 8), 0 for paper and 1 for ink, and `labels` (n,) int64. For text `input_ids` (n, t) int64, and
            `labels`, either (n,), or (n, t) and the same as the ids: a causal model shifts them by itself. Labels of
            -100 do not count.

    Raises:
        ValueError: for what is no dict of tensors.
    """

    inputs: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise refuse("inputs", self.inputs, "must be a dict of tensors, the model's keyword arguments")
        for name, rows in self.inputs.items():
            check_kind(f"inputs[{name!r}]", rows, Tensor, "must be a tensor, one row per example")

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def labels(self) -> Int[Tensor, " n"] | Int[Tensor, "n t"]:
        """What is to be said of each example (n,), or of text that is written on, of each of its tokens (n, t)."""
        return self.inputs["labels"]

    @property
    def lengths(self) -> Int[Tensor, " n"] | None:
        """Tokens of each text up to its padding; None where no mask says what is padding."""
        mask = self.inputs.get("attention_mask")
        if mask is None or mask.ndim != 2:
            return None
        return ((mask != 0) * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)

    def rows(self, index: Tensor | slice) -> dict[str, Tensor]:
        """The examples at `index`, as a batch to call a model with; texts are filled up to the longest of them."""
        check_kind("index", index, (Tensor, slice, list), "must be a slice, or the numbers of examples as a tensor")
        some = Part({name: tensor[index] for name, tensor in self.inputs.items()})
        lengths = some.lengths
        if lengths is None or not len(lengths):
            return dict(some.inputs)
        shape, longest = some.inputs["attention_mask"].shape, max(int(lengths.max()), 1)
        return {name: rows[:, :longest] if rows.shape[:2] == shape else rows for name, rows in some.inputs.items()}

    def one_of_each(self, most: int) -> Part:
        """The first example of each label, in the order of the labels, and of so many labels at most."""
        check_positive_int("most", most)
        labels = self.labels.tolist()
        return Part(
            {
                name: tensor[[labels.index(one) for one in sorted(set(labels))[:most]]]
                for name, tensor in self.inputs.items()
            }
        )

    def to(self, device: torch.device | str) -> Part:
        """The same examples on a device."""
        return Part({name: tensor.to(device) for name, tensor in self.inputs.items()})


@dataclass(frozen=True, eq=False)
class Task:
    """What a model is adapted to. `load_task` gives one of the package's, `task_from` makes one of your data.

    Attributes:
        name: its key, or what you called it; tables and pictures have it.
        title: a few words, for a heading.
        description: a sentence.
        train: what is trained on. No two parts share an example.
        validation: what choices are made by.
        test: what is reported.
        num_classes: how many labels there are, of text that is written on how many tokens.
        classes: names of the labels, from 0 on, where they have names.
        tokenizer: what made the ids, where something did.
    """

    name: str
    title: str
    description: str
    train: Part
    validation: Part
    test: Part
    num_classes: int
    classes: tuple[str, ...] = ()
    tokenizer: Any = None

    def __post_init__(self) -> None:
        check_text("name", self.name)
        for part in ("train", "validation", "test"):
            check_kind(part, getattr(self, part), Part, "must be a Part")
        check_positive_int("num_classes", self.num_classes)

    @property
    def kind(self) -> Kind:
        """What the examples are."""
        inputs = self.train.inputs
        return "text" if "input_ids" in inputs else "images" if "pixel_values" in inputs else "rows"

    @property
    def writes(self) -> bool:
        """Whether a model learns to go on writing, every token of an example being a label."""
        return self.train.labels.ndim == 2


@dataclass(frozen=True)
class Recipe:
    """How a task of the package is made.

    Attributes:
        kind: "images"; "text", which is read as bytes; "sentences", which a tokenizer reads.
        title: a few words, for a heading.
        description: a sentence.
        change: maps what the model was pretrained to read to the task's: images (n, 8, 8), 0 to 1, or a text.
    """

    kind: Kind | Literal["sentences"]
    title: str
    description: str
    change: Callable[[Any], Any]
