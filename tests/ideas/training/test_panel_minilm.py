"""TrainPanel over minilm: its tasks by name, a head that they fit, and code that loads the same."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification, BertModel

from glora_lab import load_model
from glora_lab.data import load_task
from glora_lab.ideas.training import panel_task
from glora_lab.ideas.training.panel_task import base_of, loading_code_of, tasks_of
from glora_lab.panels import TrainPanel

SIZES = {"vocab_size": 30_522, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
BOTH = ["docstrings", "docstrings-swapped"]


def small(labels: int = 8, kind: type = BertForSequenceClassification) -> BertModel:
    """A stand-in of a thousandth of its size, for words of minilm's tokenizer."""
    model = kind(BertConfig(**SIZES, intermediate_size=8, num_labels=labels)).eval()
    model.config.name_or_path = "minilm"
    return model


def test_the_tasks_are_those_whose_classes_the_head_has() -> None:
    assert list(tasks_of(small(8))) == BOTH and list(tasks_of(small(2))) == ["docstrings-swapped"]
    for takes_none in (small(1), small(kind=BertModel)):
        with pytest.raises(ValueError, match="none here suits Bert"):
            tasks_of(takes_none)
    assert "docstrings" not in tasks_of(load_model("digits-vit"))


def test_minilm_by_its_name_has_a_head_for_both_and_code_that_loads_it() -> None:
    base = base_of("minilm")
    assert base.config.num_labels == 8 and list(tasks_of(base)) == BOTH
    code = loading_code_of(base, "minilm")
    assert code == 'load_model("minilm", num_labels=8)'
    again = eval(code, {"load_model": load_model})
    assert (again.classifier.weight == base.classifier.weight).all()
    assert base_of("minilm", load_task("docstrings-swapped")).config.num_labels == 2
    assert loading_code_of(base_of("digits-vit"), "digits-vit") == 'load_model("digits-vit")'


def test_a_run_and_another_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(panel_task, "load_model", lambda name, num_labels: small(num_labels))
    panel = TrainPanel("minilm", method="LoRA", rank=1, steps=2, keep_runs=False)
    assert [name for _, name in panel.controls.task.options] == BOTH and panel.task.name == "docstrings"
    panel.train()
    panel.wait()
    assert panel.errors == [] and len(panel.runs) == 1 and panel.runs[0].model == "minilm"
    panel.controls.task.value = "docstrings-swapped"
    assert panel.task.num_classes == 2 and panel.errors == []
    panel.keeping.folder.value = str(tmp_path / "kept")
    panel.keep()
    said = html.unescape(" ".join(getattr(widget, "value", "") for widget in panel.keeping.children))
    assert 'load_model("minilm", num_labels=8)' in said
    panel.close()
