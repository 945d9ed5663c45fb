"""task_from: every form of data becomes the same tensors, and what does not fit is said in words."""

from __future__ import annotations

import re
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from glora_lab import task_from
from glora_lab.data import Part
from tests.data.own_data import PARTS, Table, bert, images, llama, table, tokenizer, vit

Forms = tuple[Any, Any, Any]
IDS = [[2, 3, 4], [4, 5, 6], [6, 7, 8]]
LABELS = [0, 1, 1]


def forms(examples: list[Any]) -> Forms:
    """Three parts of one example each."""
    return tuple(examples)  # type: ignore[return-value]


def three(make: Any) -> Forms:
    return forms([make(ids, label) for ids, label in zip(IDS, LABELS, strict=True)])


ROWS = {
    "a pair of tensors": lambda ids, label: (torch.tensor([ids]), torch.tensor([label])),
    "a pair of arrays": lambda ids, label: (np.array([ids]), np.array([label])),
    "a dict and labels": lambda ids, label: ({"input_ids": torch.tensor([ids])}, [label]),
    "a dict": lambda ids, label: {"input_ids": torch.tensor([ids]), "labels": torch.tensor([label])},
    "a dict of lists": lambda ids, label: {"input_ids": [ids], "label": [label]},
    "a dataset": lambda ids, label: Table({"input_ids": [ids], "label": [label], "note": ["left out"]}),
    "a table": lambda ids, label: pandas.DataFrame({"input_ids": [ids], "label": [label]}),
    "rows": lambda ids, label: [{"input_ids": ids, "labels": label}],
    "rows of pairs": lambda ids, label: [(torch.tensor(ids), label)],
    "a torch dataset": lambda ids, label: torch.utils.data.TensorDataset(torch.tensor([ids]), torch.tensor([label])),
}


@pytest.mark.parametrize("form", ROWS)
def test_every_form_becomes_the_same_tensors(form: str) -> None:
    task = task_from(*three(ROWS[form]))
    for part, ids, label in zip((task.train, task.validation, task.test), IDS, LABELS, strict=True):
        assert part.inputs.keys() == {"input_ids", "labels"}
        assert torch.equal(part.inputs["input_ids"], torch.tensor([ids]))
        assert torch.equal(part.labels, torch.tensor([label]))
    assert (task.kind, task.writes, task.num_classes) == ("text", False, 2)


@pytest.mark.parametrize("real", [False, *([True] if find_spec("datasets") else [])])
def test_a_datasets_dataset_of_text(real: bool) -> None:
    def part(pairs: Any) -> Any:
        if not real:
            return table(pairs, ["bad", "good"])
        import datasets
        import pyarrow

        kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
        columns = pyarrow.table({"text": [text for text, _ in pairs], "label": [label for _, label in pairs]})
        info = datasets.DatasetInfo(features=datasets.Features(kinds))
        return datasets.Dataset(columns, info=info, fingerprint="films")  # or it makes one by pickling pyarrow

    same = task_from(*PARTS, tokenizer=tokenizer(), model=bert())
    task = task_from(*map(part, PARTS), tokenizer=tokenizer(), model=bert())
    for one, other in zip(
        (task.train, task.validation, task.test), (same.train, same.validation, same.test), strict=True
    ):
        assert one.inputs.keys() == other.inputs.keys()
        assert all(torch.equal(one.inputs[key], other.inputs[key]) for key in one.inputs)
    assert task.classes == ("bad", "good") and same.classes == ()


def test_pairs_of_text_and_label_are_filled_up_alike_in_all_parts() -> None:
    task = task_from(*PARTS, tokenizer=tokenizer(), name="films")
    ids, mask = task.train.inputs["input_ids"], task.train.inputs["attention_mask"]
    assert ids.shape == (12, 5) and task.test.inputs["input_ids"].shape[1] == 5
    assert ids[0].tolist() == [4, 5, 6, 8, 3] and ids[4].tolist() == [4, 5, 6, 3, 0]
    assert torch.equal(mask, (ids != 0).long())
    assert (task.name, task.title, task.num_classes) == ("films", "films", 2)
    assert task.tokenizer.decode(ids[0]) == "the film was very bad"


def test_labels_may_be_names_and_the_models_own_numbers_count() -> None:
    words = [[(text, ("sad", "joy")[label]) for text, label in part] for part in PARTS]
    task = task_from(*words, tokenizer=tokenizer())
    assert task.classes == ("joy", "sad") and task.train.labels[:2].tolist() == [1, 0]
    model = bert(label2id={"sad": 0, "joy": 1}, id2label={0: "sad", 1: "joy"})
    task = task_from(*words, tokenizer=tokenizer(), model=model)
    assert task.classes == ("sad", "joy") and task.train.labels[:2].tolist() == [0, 1]
    strange = [*words[:2], [("the film", "so so")]]
    with pytest.raises(
        ValueError, match=re.escape("`labels of test` (=['so so']) must be among those of `train`: joy, sad")
    ):
        task_from(*strange, tokenizer=tokenizer())


def test_text_alone_is_to_be_written_on() -> None:
    texts = [[text for text, _ in part] for part in PARTS]
    task = task_from(*texts, tokenizer=tokenizer(), model=llama())
    ids, mask = task.train.inputs["input_ids"], task.train.inputs["attention_mask"]
    assert task.writes and task.num_classes == 12
    assert torch.equal(task.train.labels, ids.masked_fill(mask == 0, -100))


def test_ids_alone_too_and_rows_of_different_lengths_are_filled_up() -> None:
    parts = [[{"input_ids": [2, 3, 4]}, {"input_ids": [5]}], [{"input_ids": [6, 7]}], [{"input_ids": [8, 9]}]]
    task = task_from(*parts, tokenizer=tokenizer())
    assert task.train.inputs["input_ids"].tolist() == [[2, 3, 4], [5, 0, 0]]
    assert task.train.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert task.test.labels.tolist() == [[8, 9, -100]]
    with pytest.raises(ValueError, match=r"`input_ids of train`.*must all have one length, or come with `tokenizer`"):
        task_from(*parts)


def test_max_length_cuts() -> None:
    with pytest.warns(UserWarning, match="shares"):  # the beginnings are alike
        task = task_from(*PARTS, tokenizer=tokenizer(), max_length=2)
    assert task.train.inputs["input_ids"].shape == (12, 2)


def test_images_are_told_by_their_shape_and_other_inputs_by_the_models_name() -> None:
    task = task_from(images(6, 1), images(3, 2), images(3, 3), model=vit())
    assert task.kind == "images" and task.train.inputs["pixel_values"].dtype == torch.float32
    rows = [(torch.rand(4, 5, generator=torch.Generator().manual_seed(n)), torch.arange(4) % 2) for n in range(3)]
    with pytest.raises(ValueError, match="must say what the model calls its inputs"):
        task_from(*rows)
    assert task_from(*(({"x": x}, y) for x, y in rows)).kind == "rows"


def test_of_a_datasets_columns_the_model_gets_what_it_takes() -> None:
    columns = [Table({"input_ids": [ids], "idx": [7], "label": [1]}) for ids in IDS]
    assert task_from(*columns).train.inputs.keys() == {"input_ids", "idx", "labels"}
    assert task_from(*columns, model=bert()).train.inputs.keys() == {"input_ids", "labels"}


def test_columns_may_have_other_names() -> None:
    parts = [Table({"title": ["a"], "body": [text], "stars": [label]}) for (text, label), *_ in PARTS]
    task = task_from(*parts, tokenizer=tokenizer(), text="body", label="stars")
    assert torch.equal(task.train.inputs["input_ids"][0, :3], torch.tensor([4, 5, 6]))
    with pytest.raises(
        ValueError, match=r"`text` \(=None\) must be one of the columns of `train` that hold text: title, body"
    ):
        task_from(*parts, tokenizer=tokenizer(), label="stars")
    with pytest.raises(
        ValueError, match=r"`label` \(='mark'\) must be a column of `train`, which has title, body, stars"
    ):
        task_from(*parts, tokenizer=tokenizer(), label="mark")


def ids(*rows: list[int], labels: Any = None) -> tuple[Any, Any]:
    return torch.tensor(rows), torch.tensor([0] * len(rows) if labels is None else labels)


A, B, C = ids([2, 3]), ids([4, 5]), ids([6, 7])
WRONG: dict[str, tuple[Forms, dict[str, Any], str]] = {
    "an empty part": ((A, [], C), {}, "`validation` (=[]) must have at least one example"),
    "no rows": ((A, B, ids()), {}, "`test` (=(tensor([]), tensor([]"),
    "text and no tokenizer": (PARTS, {}, "`tokenizer` (=None) must be given: the examples are text"),
    "a word": (("abc", B, C), {}, "`train` (='abc') must be (inputs, labels), a dict of"),
    "something else": ((A, B, 7), {}, "`test` (=<class 'int'>) must be (inputs, labels)"),
    "parts of parts": (({"train": {}}, B, C), {}, "`train` (=<class 'dict'>) must be (inputs, labels)"),
    "other keys": ((A, {"input_ids": A[0], "mask": A[0], "labels": A[1]}, C), {},
                   "`validation` (=['input_ids', 'labels', 'mask']) must have what `train` has: input_ids, labels"),
    "too few labels": ((ids([2, 3], [4, 5], labels=[0]), B, C), {},
                       "`train` (={'': 2, 'labels': 1}) must have as many of each as there are examples"),
    "a negative label": ((A, ids([4, 5], labels=[-2]), C), {}, "`labels of validation` (=-2) must be 0 or above"),
    "a label too many": ((A, ids([4, 5], labels=[2]), C), {"model": bert()},
                         "must have no more classes than the model has labels; it has 3, the model 2"),
    "regression": ((ids([2, 3], labels=[0.5]), B, C), {},
                   "`labels of train` (='(1,) of torch.float32') must be whole numbers, one for each example"),
    "several labels each": ((ids([2, 3], labels=[[0, 1, 1]]), B, C), {}, "must be whole numbers, one for each example"),
    "an unknown word": ((A, ids([4, 99]), C), {"model": bert()},
                        "`validation` of task 'your data' must have token ids below 32, the model's vocabulary; "
                        "the largest is 99"),
    "too long for the model": ((ids(list(range(13))), ids(list(range(2, 15))), ids(list(range(3, 16)))),
                               {"model": bert()}, "`train` must have examples of at most 12 tokens, which is what the "
                               "model takes, and has one of 13: `max_length` (=12) cuts them"),
    "bare lists": (([[2, 3]], [[4, 5]], [[6, 7]]), {}, "`train` (=<class 'list'>) must be (inputs, labels)"),
    "bytes of images": (((torch.zeros(2, 3, 4, 4).byte(), [0, 1]), B, C), {}, "must say what the model calls"),
    "images of two sizes": ((images(2, 1), images(2, 2, size=8), images(2, 3)), {},
                            "`pixel_values of validation` (=(3, 8, 8)) must have the shape that `train` has"),
    "images without labels": (({"pixel_values": images(2, 1)[0]},) * 3, {},
                              "`train` (=['pixel_values']) must have labels, and has none"),
    "pictures": ((Table({"image": [object()], "label": [0]}),) * 3, {},
                 "`train` (=['image']) must hold numbers, or text with a tokenizer; images become `pixel_values`"),
    "no pad token": (PARTS, {"tokenizer": tokenizer(pad=None)},
                     f"`tokenizer` (='{type(tokenizer()).__name__}') must have a pad token to fill shorter texts "
                     "up with: tokenizer.pad_token = tokenizer.eos_token gives one"),
    "a length of nothing": (PARTS, {"tokenizer": tokenizer(), "max_length": 0}, "`max_length` (=0) must be"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_said_in_words(what: str) -> None:
    parts, settings, words = WRONG[what]
    with pytest.raises(ValueError, match=re.escape(words)):
        task_from(*parts, **settings)


def test_a_text_that_the_tokenizers_model_cannot_read_is_refused_without_a_model() -> None:
    short = tokenizer()
    short.model_max_length = 4
    with pytest.raises(ValueError, match=r"`train` must have examples of at most 4 tokens.* has one of 5"):
        task_from(*PARTS, tokenizer=short)


def test_parts_that_share_examples_are_told_of_whatever_their_labels() -> None:
    with pytest.warns(UserWarning, match="`test` shares 1 of its 2 examples with `train`"):
        task_from(A, B, ids([2, 3], [8, 9], labels=[1, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task_from(A, B, C)


def test_what_the_reader_gave_is_left_alone() -> None:
    rows = {"input_ids": np.array([[2, 3]]), "label": [0]}
    task = task_from(rows, B, C)
    task.train.inputs["input_ids"][0, 0] = 9
    assert rows.keys() == {"input_ids", "label"} and rows["input_ids"][0, 0] == 2
    assert isinstance(task.train, Part)
