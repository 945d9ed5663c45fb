"""A reader's examples, in whatever form, as columns: name → a value for each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from glora_lab.arguments import refuse

Columns: TypeAlias = dict[str, Any]
INPUTS = ""  # the name of inputs that came without one
TEXT, LABELS = "text", "labels"
FORMS = (
    "must be (inputs, labels), a dict of the model's keyword arguments, a dataset with columns, rows of either, "
    "(text, label) pairs, or texts"
)


def columns_of(name: str, part: Any) -> Columns:
    """The columns of what was given as `name`; ValueError for what has none."""
    if isinstance(part, Mapping) and not any(isinstance(values, Mapping) for values in part.values()):
        return dict(part)  # of datasets' parts a reader gives one
    if isinstance(part, tuple) and len(part) == 2 and not isinstance(part[0], str | tuple):
        return _with_labels(*part)
    names = getattr(part, "column_names", None)
    names = getattr(part, "columns", None) if names is None else names  # pandas
    if names is not None and not isinstance(names, Mapping):
        return {column: part[column] for column in names}
    if isinstance(part, Mapping | str | Tensor) or not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise refuse(name, part if isinstance(part, str) else type(part), FORMS)
    return _of_rows(name, [part[n] for n in range(len(part))])


def _of_rows(name: str, rows: list[Any]) -> Columns:
    if not rows:
        return {}
    first = rows[0]
    if isinstance(first, str):
        return {TEXT: rows}
    if isinstance(first, Mapping):
        if any(row.keys() != first.keys() for row in rows):
            raise refuse(name, sorted(first), "must have the same keys in every row")
        return {key: [row[key] for row in rows] for key in first}
    of_text = isinstance(first, tuple | list) and len(first) == 2 and isinstance(first[0], str)
    if not all(isinstance(row, tuple | list if of_text else tuple) and len(row) == 2 for row in rows):
        raise refuse(name, type(first), FORMS)
    given, labels = ([row[n] for row in rows] for n in (0, 1))
    return {TEXT: given, LABELS: labels} if of_text else _with_labels(given, labels)


def _with_labels(inputs: Any, labels: Any) -> Columns:
    named = dict(inputs) if isinstance(inputs, Mapping) else {INPUTS: inputs}
    return {**named, LABELS: labels}


def holds_text(values: Any) -> bool:
    return not isinstance(values, Tensor) and len(values) > 0 and isinstance(values[0], str)


def holds_numbers(values: Any) -> bool:
    """Numbers, or arrays or lists of them."""
    while not isinstance(values, Tensor | np.ndarray):
        if not hasattr(values, "__getitem__") or isinstance(values, str | Mapping):
            return isinstance(values, bool | int | float | np.generic)
        if len(values) == 0:
            return True
        values = values[0]
    return True


def as_tensor(name: str, column: str, values: Any, fill: int | None) -> Tensor:
    """One row for each example; rows of different lengths are filled up at their ends.

    Raises:
        ValueError: where rows differ in shape, and may not be filled.
    """
    if isinstance(values, Tensor):
        return values.detach()
    if hasattr(values, "to_numpy"):  # pandas
        values = values.to_numpy()
    rows = values if isinstance(values, np.ndarray) and values.dtype != object else [_row(value) for value in values]
    if isinstance(rows, np.ndarray):
        return torch.as_tensor(np.array(rows))  # a copy: a reader's array may be read-only, or change
    lengths = {tuple(row.shape) for row in rows}
    if len(lengths) == 1:
        return torch.stack(rows)
    if any(len(shape) != 1 for shape in lengths):
        raise refuse(f"{column} of {name}", sorted(lengths)[:3], "must have one shape in all examples")
    if fill is None:
        rule = "must all have one length, or come with `tokenizer`, which says what to fill them up with"
        raise refuse(f"{column} of {name}", f"{min(lengths)[0]} to {max(lengths)[0]} numbers", rule)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)


def _row(value: Any) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
