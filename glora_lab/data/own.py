"""A task of a reader's own data: what is given in many forms becomes three parts of tensors, and is checked.

Decision: all is checked and turned into tensors at once, the three parts together. So a text is as long in one part as
in another, a label means the same in all, and an example that is in two of them is found and said: what a model is
tested on it must not have read in training.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glora_lab.arguments import A_MODEL, check_is, check_positive_int, check_text, refuse

from .columns import INPUTS, LABELS, TEXT, Columns, as_tensor, columns_of, holds_numbers, holds_text
from .fits import check_fits, too_long
from .task import Part, Task

IGNORED = -100  # torch's label for what does not count
LABEL_COLUMNS = (LABELS, "label")
ENDLESS = 10**9  # tokenizers without a limit say 10**30
SEQUENCES = {"input_ids", "attention_mask", "token_type_ids", LABELS}


def task_from(
    train: Any,
    validation: Any,
    test: Any,
    *,
    model: nn.Module | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    text: str | None = None,
    label: str | None = None,
    name: str = "your data",
) -> Task:
    """A task of your own data, for `fit`, TrainSession, Race and TrainPanel.

    Each of the three parts `train`, `validation` and `test`, all in one form:

    - `(inputs, labels)`: tensors or arrays, (n, c, h, w) float images or (n, t) token ids, or a dict of the model's
      keyword arguments; and (n,) whole numbers.
    - a dict of keyword arguments with `labels`, (n, …) each.
    - a `datasets` dataset or a table of pandas: of its columns those that `model` takes are the inputs; without
      `model`, all that hold numbers.
    - rows of these: a list of dicts, or of (input, label).
    - (text, label) pairs, or texts alone, with a `tokenizer`. Labels may be names.

    Text without labels is to be written on, by a causal model: its tokens are the labels.

    Args:
        model: what the task is for; its names of inputs and labels are used, and its limits checked.
        tokenizer: as `transformers` has them; it makes ids of text, and fills shorter examples up.
            Give it beside ids, too: then a panel shows what they say.
        max_length: tokens that a text is cut to.
        text, label: columns that hold them, where they are not called so.
        name: of the task, in tables and on the panel.

    Raises:
        ValueError: for a part that is empty or in no such form, parts with different keys, labels that are no whole
            numbers or that the model does not have, texts too long for it, a tokenizer without a pad token.

    Warns:
        UserWarning: where two parts share an example.
    """
    given = {"train": train, "validation": validation, "test": test}
    check_is("model", model, nn.Module, A_MODEL)
    for argument, column in {"text": text, "label": label}.items():
        check_is(argument, column, str, "must be the name of a column")
    check_text("name", name)
    if max_length is not None:
        check_positive_int("max_length", max_length)
    if tokenizer is not None and getattr(tokenizer, "pad_token_id", None) is None:
        rule = (
            "must have a pad token to fill shorter texts up with: tokenizer.pad_token = tokenizer.eos_token gives one"
        )
        raise refuse("tokenizer", type(tokenizer).__name__, rule)
    columns = {part: _inputs_and_labels(part, examples, model, text, label) for part, examples in given.items()}
    _check_keys(columns)
    classes = _numbered(columns, given["train"], label, model)
    if TEXT in columns["train"]:
        _encode(columns, model, tokenizer, max_length)
    parts = {part: Part(inputs) for part, inputs in _tensors(columns, tokenizer).items()}
    _check(parts, tokenizer)
    _warn_of_shared(parts)
    writes = parts["train"].labels.ndim == 2
    largest = max(int(part.inputs["input_ids" if writes else LABELS].max()) for part in parts.values())
    task = Task(name, name, "", **parts, num_classes=largest + 1, classes=classes, tokenizer=tokenizer)
    if model is not None:
        check_fits(model, task)
    return task


def _inputs_and_labels(name: str, part: Any, model: nn.Module | None, text: str | None, label: str | None) -> Columns:
    """What of a part the model is given, under the model's names; `TEXT` where that has still to be made of text."""
    columns = columns_of(name, part)
    if not columns or min(map(len, columns.values())) == 0:
        raise refuse(name, part if isinstance(part, list | tuple) else type(part), "must have at least one example")
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise refuse(name, lengths, "must have as many of each as there are examples")
    labels = [column for column in ((label,) if label else LABEL_COLUMNS) if column in columns][:1]
    if label and not labels:
        raise refuse("label", label, f"must be a column of `{name}`, which has {', '.join(columns)}")
    named = {LABELS: columns.pop(labels[0])} if labels else {}
    takes = None if isinstance(part, Mapping | tuple) else _takes(model)  # what is named one by one is all meant
    inputs = {c: v for c, v in columns.items() if holds_numbers(v) and (takes is None or c in takes)}
    if INPUTS in inputs:
        inputs = {_name_of(name, inputs[INPUTS], model): inputs[INPUTS]}
    texts = [column for column, values in columns.items() if holds_text(values)]
    if not inputs and texts:
        named[TEXT] = columns[_one_text(name, texts, text)]
    elif not inputs:
        rule = (
            "must hold numbers, or text with a tokenizer; images become `pixel_values` by the model's processor first"
        )
        raise refuse(name, list(columns), rule)
    return {**inputs, **named}


def _takes(model: nn.Module | None) -> set[str] | None:
    """The names that a model's inputs have; None without a model."""
    if model is None:
        return None
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return set(inspect.signature(base.forward).parameters)


def _name_of(name: str, inputs: Any, model: nn.Module | None) -> str:
    """What the model calls its inputs; without one, what `transformers` calls such."""
    if model is not None and hasattr(model, "main_input_name"):
        return str(model.main_input_name)
    tensor = as_tensor(name, "inputs", inputs, 0)
    if tensor.ndim == 4 and tensor.is_floating_point():
        return "pixel_values"
    if tensor.ndim == 2 and not tensor.is_floating_point():
        return "input_ids"
    shape = f"{tuple(tensor.shape)} of {tensor.dtype}"
    raise refuse(name, shape, "must say what the model calls its inputs: ({'pixel_values': inputs}, labels), say")


def _one_text(name: str, texts: list[str], text: str | None) -> str:
    """The column of text that is meant."""
    chosen = text or (TEXT if TEXT in texts or len(texts) > 1 else texts[0])
    if chosen not in texts:
        raise refuse("text", text, f"must be one of the columns of `{name}` that hold text: {', '.join(texts)}")
    return chosen


def _check_keys(columns: Mapping[str, Columns]) -> None:
    keys = {part: sorted(found) for part, found in columns.items()}
    for part in ("validation", "test"):
        if keys[part] != keys["train"]:
            raise refuse(part, keys[part], f"must have what `train` has: {', '.join(keys['train'])}")


def _numbered(columns: dict[str, Columns], train: Any, label: str | None, model: nn.Module | None) -> tuple[str, ...]:
    """The names of the labels, where they have names; labels that are names become numbers, the model's own or
    those of the alphabet."""
    features = getattr(train, "features", None) or {}
    names = next((getattr(features[c], "names", None) for c in (label, *LABEL_COLUMNS) if c in features), None)
    if LABELS not in columns["train"] or not holds_text(columns["train"][LABELS]):
        return tuple(names or ())
    found = sorted(set(columns["train"][LABELS]))
    known = getattr(getattr(model, "config", None), "label2id", None) or {}
    ids = known if all(each in known for each in found) else {each: n for n, each in enumerate(found)}
    for part, its in columns.items():
        if strange := sorted(set(map(str, its[LABELS])) - set(ids)):
            raise refuse(f"labels of {part}", strange, f"must be among those of `train`: {', '.join(found)}")
        its[LABELS] = [ids[each] for each in its[LABELS]]
    return tuple(sorted(ids, key=lambda each: ids[each]))


def _encode(columns: dict[str, Columns], model: nn.Module | None, tokenizer: Any, max_length: int | None) -> None:
    """Text becomes ids, as long in one part as in another."""
    if tokenizer is None:
        raise refuse("tokenizer", None, "must be given: the examples are text")
    texts = [str(one) for part in columns.values() for one in part[TEXT]]
    cut: dict[str, Any] = {} if max_length is None else {"truncation": True, "max_length": max_length}
    encoded = tokenizer(texts, padding=True, return_tensors="pt", **cut)
    takes, start = _takes(model), 0
    for part in columns.values():
        end = start + len(part.pop(TEXT))
        part |= {key: rows[start:end] for key, rows in encoded.items() if takes is None or key in takes}
        start = end


def _tensors(columns: Mapping[str, Columns], tokenizer: Any) -> dict[str, dict[str, Tensor]]:
    """One tensor for each name and part; sequences all of one length, and labels of their own where they have none."""
    pad = None if tokenizer is None else tokenizer.pad_token_id
    fills = {"input_ids": pad, LABELS: None if pad is None else IGNORED}
    made: dict[str, dict[str, Tensor]] = {part: {} for part in columns}
    for part, found in columns.items():
        if "attention_mask" not in found and pad is not None and "input_ids" in found:
            found["attention_mask"] = [torch.ones(len(row), dtype=torch.long) for row in found["input_ids"]]
        for key, values in found.items():
            fill = fills.get(key, None if pad is None else 0) if key in SEQUENCES else None
            made[part][key] = _typed(part, key, as_tensor(part, key, values, fill))
    for key in SEQUENCES & made["train"].keys():
        longest = max(its[key].shape[-1] for its in made.values())
        for its in made.values() if pad is not None and made["train"][key].ndim == 2 else ():
            its[key] = nn.functional.pad(its[key], (0, longest - its[key].shape[1]), value=fills.get(key, 0) or 0)
    for its in made.values():
        if LABELS not in its and "input_ids" in its:
            its[LABELS] = its["input_ids"].masked_fill(its.get("attention_mask", torch.tensor(1)) == 0, IGNORED)
    return made


def _typed(part: str, key: str, tensor: Tensor) -> Tensor:
    """Whole numbers as int64, others as float32: what models take."""
    if key == "pixel_values" and not tensor.is_floating_point():
        rule = "must be floats, as the model's image processor makes them of bytes"
        raise refuse(f"{key} of {part}", tensor.dtype, rule)
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _check(parts: Mapping[str, Part], tokenizer: Any) -> None:
    longest = getattr(tokenizer, "model_max_length", ENDLESS)
    for name, part in parts.items():
        if LABELS not in part.inputs:
            raise refuse(name, list(part.inputs), "must have labels, and has none")
        labels = part.labels
        of_tokens = labels.ndim == 2 and labels.shape == getattr(part.inputs.get("input_ids"), "shape", None)
        if labels.is_floating_point() or not (labels.ndim == 1 or of_tokens):
            rule = "must be whole numbers, one for each example (n,), or one for each of its tokens (n, t)"
            raise refuse(f"labels of {name}", f"{tuple(labels.shape)} of {labels.dtype}", rule)
        counted = labels[labels != IGNORED]
        if not len(counted) or counted.min() < 0:
            rule = f"must be 0 or above, or {IGNORED} for what does not count"
            raise refuse(f"labels of {name}", int(labels.min()), rule)
        if "input_ids" in part.inputs and part.inputs["input_ids"].shape[1] > longest:
            raise too_long(name, part.inputs["input_ids"].shape[1], longest)
        shapes = {key: rows.shape[1:] for key, rows in part.inputs.items() if key not in SEQUENCES}
        if other := [k for k, shape in shapes.items() if shape != parts["train"].inputs[k].shape[1:]]:
            raise refuse(f"{other[0]} of {name}", tuple(shapes[other[0]]), "must have the shape that `train` has")


def _warn_of_shared(parts: Mapping[str, Part]) -> None:
    """Say which parts have examples in common, whatever their labels."""
    seen: dict[str, set[bytes]] = {}
    for name, part in parts.items():
        inputs = [rows.cpu().numpy() for key, rows in part.inputs.items() if key != LABELS]
        examples = [b"".join(rows[n].tobytes() for rows in inputs) for n in range(len(part))]
        for other, its in seen.items():
            if shared := sum(example in its for example in examples):
                warnings.warn(
                    f"`{name}` shares {shared} of its {len(examples)} examples with `{other}`: what a model does with "
                    "them says little about examples that it has not seen",
                    stacklevel=3,
                )
        seen[name] = set(examples)
