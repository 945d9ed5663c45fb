"""Text as bytes, and the text tasks: there in every Python, no window shared, none pretrained on."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glora_lab.data import TASKS, Part, decode, encode, load_task
from glora_lab.data.corpus import pretraining_text
from glora_lab.data.text import TEXT_TASKS, WINDOW, WINDOWS, paragraphs, unwrapped, without_repeats
from tests.source import ROOT

PARTS = ("train", "validation", "test")


def windows(part: Part) -> list[str]:
    return [decode(row) for row in part.inputs["input_ids"]]


@given(st.text())
def test_bytes_and_back(text: str) -> None:
    ids = encode(text)
    assert ids.dtype == torch.long and ids.tolist() == list(text.encode())
    assert decode(ids) == text


def test_half_a_character_is_shown_as_such_and_no_byte_is_refused() -> None:
    assert decode(encode("né")[:-1]) == "n\ufffd"
    with pytest.raises(ValueError, match="256"):
        decode([256])


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_a_part_is_what_a_causal_model_takes(name: str) -> None:
    task = load_task(name)
    assert task.kind == "text" and task.num_classes == 256
    for part, n in zip(PARTS, (128, 64, 96), strict=True):
        inputs = getattr(task, part).inputs
        assert set(inputs) == {"input_ids", "labels"}
        assert inputs["input_ids"].shape == (n, 64) and inputs["input_ids"].dtype == torch.long
        assert torch.equal(inputs["labels"], inputs["input_ids"])
        assert inputs["labels"] is not inputs["input_ids"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_two_parts_share_a_sentence_and_none_was_pretrained_on(seed: int) -> None:
    task = load_task("text", seed=seed)
    texts = ["".join(windows(getattr(task, part))) for part in PARTS] + [pretraining_text()]
    pieces = [{text[n : n + 48] for n in range(len(text) - 47)} for text in texts]
    assert sum(map(len, pieces)) == len(set().union(*pieces))


def test_a_seed_deals_every_task_alike() -> None:
    plain, capitals, again = load_task("text"), load_task("text-capitals"), load_task("text-capitals")
    assert windows(capitals.test) == windows(again.test)
    assert windows(capitals.train) == [window.upper() for window in windows(plain.train)]
    assert windows(plain.train) != windows(load_task("text", seed=1).train)
    letters = [letter for letter in "".join(windows(plain.test)) if letter.isalpha()]
    assert sum(map(str.isupper, letters)) / len(letters) < 0.1  # the change shows


def test_the_text_is_that_of_every_python_from_3_10_to_3_13() -> None:
    """3.13 has "four-byte" for "found-byte"; all else is worded alike."""
    text = "\n".join(paragraphs()).replace("found-byte", "four-byte")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "a6e434054ebeed98"


def test_there_is_enough_whichever_way_it_is_dealt() -> None:
    """Each part may waste most of a paragraph at its end."""
    longest = max(map(len, paragraphs())) + 1
    assert sum(len(text) + 1 for text in paragraphs()) >= sum(WINDOWS.values()) * WINDOW + 3 * longest


def test_docstrings_may_be_left_out() -> None:
    program = "from glora_lab.data import load_task; print(load_task('text').test.inputs['input_ids'].sum().item())"
    run = subprocess.run([sys.executable, "-OO", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) == load_task("text").test.inputs["input_ids"].sum().item()


def test_what_repeats_an_earlier_paragraph_is_left_out() -> None:
    assert without_repeats(["abcd", "xbcd", "xyabc", "cd", "zzzz"], length=3) == ["abcd", "cd", "zzzz"]


def test_paragraphs_stand_in_a_line_each_and_none_twice() -> None:
    assert unwrapped("\n\n  a\n  b \n \n c\n\na b\n") == ["a b", "c"]


def test_the_model_learns_from_sentences() -> None:
    text = pretraining_text()
    assert text.isascii() and len(text) > 200_000
    assert all(len(line) >= 40 and line[-1] in ".:" for line in text.split("\n"))


def test_every_task_says_what_it_is_made_of() -> None:
    assert {name for name, recipe in TASKS.items() if recipe.kind == "text"} == set(TEXT_TASKS)
