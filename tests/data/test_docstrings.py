"""The sentences and their packages: where they are from, what they may not give away, how they are dealt."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from glora_lab.data import load_task, minilm
from glora_lab.data.docstrings import swapped
from glora_lab.data.gather_docstrings import MARKS, NAMES, PACKAGES, REPEATED, SENTENCES, chosen, fair, sentences_of
from glora_lab.data.minilm import minilm_tokenizer

FILE = resources.files("glora_lab.data") / "docstrings.json"
PARTS = ("train", "validation", "test")


def test_the_file_says_of_each_package_version_and_licence() -> None:
    packages = json.loads(FILE.read_text(encoding="utf-8"))
    assert [(one["name"], one["licence"], one["copyright"]) for one in packages] == list(PACKAGES.values())
    assert all(one["version"].replace(".", "").isdigit() and len(one["sentences"]) == SENTENCES for one in packages)
    assert {one["licence"] for one in packages} == {"BSD-3-Clause", "Apache-2.0"}
    assert len(FILE.read_text(encoding="utf-8")) < 400_000


def test_no_sentence_names_a_package_or_shares_much_with_another() -> None:
    packages = json.loads(FILE.read_text(encoding="utf-8"))
    sentences = [sentence for one in packages for sentence in one["sentences"]]
    assert all(map(fair, sentences)) and not any(map(NAMES.search, sentences)) and not any(map(MARKS.search, sentences))
    pieces = [
        {s.lower()[n : n + REPEATED] for n in range(len(s) - REPEATED + 1)} for s in sentences if len(s) >= REPEATED
    ]
    assert len(set().union(*pieces)) == sum(map(len, pieces))
    assert len({sentence.lower() for sentence in sentences}) == len(sentences) == 8 * SENTENCES


def test_first_sentences_are_read_in_order_without_their_marks(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text(
        'class A:\n    """Of b,\n    here. More."""\n    def f(self):\n        """No end"""\n'
    )
    (tmp_path / "a.py").write_text(
        '"""A module\'s is left out."""\ndef f():\n    """Return :func:`~x.y` and ``[z]``."""\n'
    )
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/c.py").write_text('def f():\n    """A test is left out."""\n')
    assert list(sentences_of(str(tmp_path))) == ["Return x.y and z.", "Of b, here."]


def test_what_two_packages_say_is_left_out_and_what_is_said_twice_is_kept_once() -> None:
    ours, both = "Return the very first of all things here.", "Return what both of the packages have in them."
    longer = ours.removesuffix(".") + " and more besides that."
    found = {
        "a": [ours, ours, both],
        "b": [both.upper()[0] + both[1:], "Sort a list of whole numbers from low to high."],
    }
    assert chosen(found) == {"a": [ours], "b": [found["b"][1]]}
    assert sum(map(len, chosen({"a": [ours, longer], "b": []}).values())) == 1
    assert not fair("Too short.") and not fair("Turn it into a torch tensor and back again.")


def test_the_parts_share_no_text_and_have_all_classes() -> None:
    task = load_task("docstrings")
    assert task.kind == "text" and not task.writes and task.num_classes == 8
    assert task.classes == tuple(name for name, _, _ in PACKAGES.values())
    texts = {part: task.tokenizer.batch_decode(getattr(task, part).inputs["input_ids"]) for part in PARTS}
    assert {part: len(its) for part, its in texts.items()} == {"train": 2000, "validation": 1000, "test": 1000}
    assert len(set().union(*texts.values())) == 4000
    assert all(len(getattr(task, part).labels.bincount()) == 8 for part in PARTS)
    assert all(getattr(task, part).labels.bincount().min() > 80 for part in PARTS)


def test_a_task_is_read_once_and_a_seed_deals_it_out() -> None:
    task = load_task("docstrings")
    assert load_task("docstrings", seed=0) is task
    other = load_task("docstrings", seed=1)
    assert not (other.train.labels == task.train.labels).all()
    texts = [
        {tuple(row.tolist()) for part in PARTS for row in getattr(one, part).inputs["input_ids"]}
        for one in (task, other)
    ]
    assert texts[0] == texts[1]


def test_another_tokenizer_makes_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked() -> None:
        raise AssertionError("minilm was asked for")

    tokenizer = minilm_tokenizer()
    monkeypatch.setattr(minilm, "minilm_folder", unasked)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    task = load_task("docstrings", tokenizer=tokenizer)
    assert task.tokenizer is tokenizer and len(task.train) == 2000
    with pytest.raises(ValueError, match=r"`tokenizer` \(='.*'\) must be left out: text has no words to look up"):
        load_task("text", tokenizer=tokenizer)


def test_two_neighbouring_words_change_places_and_never_for_each_other() -> None:
    draws = np.random.RandomState(0)
    found = {swapped("The the end of all.", draws) for _ in range(40)}
    assert found == {"The end the of all.", "The the of end all.", "The the end all of."}


def test_every_other_sentence_is_swapped_and_a_seed_deals_the_same_again() -> None:
    task, plain = load_task("docstrings-swapped"), load_task("docstrings")
    assert task.classes == ("as written", "swapped") and task.num_classes == 2
    for part in PARTS:
        its, other = (
            task.tokenizer.batch_decode(getattr(one, part).inputs["input_ids"], skip_special_tokens=True)
            for one in (task, plain)
        )
        assert getattr(task, part).labels.tolist() == [0, 1] * (len(its) // 2)
        assert its[::2] == other[::2]
        assert all(mine != theirs for mine, theirs in zip(its[1::2], other[1::2], strict=True))
        same = [sorted(mine) == sorted(theirs) for mine, theirs in zip(its[1::2], other[1::2], strict=True)]
        assert sum(same) > 0.95 * len(same)  # an apostrophe may be written apart
    texts = [tuple(row.tolist()) for part in PARTS for row in getattr(task, part).inputs["input_ids"]]
    assert len(set(texts)) == 4000
