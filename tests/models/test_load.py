"""The shipped model is what we say it is, and other models load or say in words why not."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from transformers import BertModel, GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel, ViTForImageClassification

import glora_lab
from glora_lab import models
from glora_lab.data import Part, load_task
from glora_lab.data.digits import DIGIT_TASKS
from glora_lab.models import BYTES_LLAMA_ACCURACY, DIGITS_VIT_ACCURACY, load_model
from glora_lab.models.pretrain import digits_vit_config
from glora_lab.models.pretrain_text import bytes_llama_config


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def digits_vit() -> PreTrainedModel:
    return load_model("digits-vit")


def share_right(model: PreTrainedModel, part: Part) -> float:
    with torch.no_grad():
        answers = model(pixel_values=part.inputs["pixel_values"]).logits.argmax(-1)
    return (answers == part.labels).double().mean().item()


def test_digits_vit_reads_upright_digits_as_well_as_we_say(digits_vit: PreTrainedModel) -> None:
    assert round(share_right(digits_vit, load_task("digits").test), 3) == DIGITS_VIT_ACCURACY


@pytest.mark.parametrize("name", [name for name in DIGIT_TASKS if name != "digits"])
def test_digits_vit_is_poor_at_every_task_it_is_adapted_to(digits_vit: PreTrainedModel, name: str) -> None:
    assert share_right(digits_vit, load_task(name).test) < 0.4


@pytest.mark.usefixtures("no_network")
def test_digits_vit_loads_in_eval_mode_in_silence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    model = load_model("digits-vit")
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.num_parameters() == 102_666
    assert capfd.readouterr() == ("", "")


SHAPES = {"digits-vit": digits_vit_config, "bytes-llama": bytes_llama_config}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shipped_model_has_the_shape_that_its_script_gives_it(name: str) -> None:
    ours, theirs = SHAPES[name]().to_dict(), load_model(name).config.to_dict()
    written_by_saving = {"architectures", "dtype", "problem_type", "_name_or_path", "transformers_version"}
    assert {k: v for k, v in ours.items() if k not in written_by_saving} == {
        k: theirs.get(k) for k in ours if k not in written_by_saving
    }


@pytest.mark.usefixtures("no_network")
def test_bytes_llama_is_small_has_no_bias_and_loads_in_silence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    model = load_model("bytes-llama")
    assert isinstance(model, LlamaForCausalLM) and model.config.name_or_path == "bytes-llama"
    assert not any(module.training for module in model.modules())
    assert model.num_parameters() == 656_256
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    folder = Path(models.__file__).parent / "bytes_llama"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000
    assert capfd.readouterr() == ("", "")


def test_bytes_llama_foretells_text_as_well_as_we_say() -> None:
    test = load_task("text").test
    with torch.no_grad():
        said = load_model("bytes-llama")(input_ids=test.inputs["input_ids"]).logits[:, :-1].argmax(-1)
    assert abs((said == test.labels[:, 1:]).double().mean().item() - BYTES_LLAMA_ACCURACY) < 0.002


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (GPT2LMHeadModel, {"n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}),
        (BertModel, {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}),
        (ViTForImageClassification, {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_directory_loads_as_the_class_that_wrote_it(
    kind: type[PreTrainedModel], sizes: dict[str, int], tmp_path: Path
) -> None:
    vocabulary = {} if kind is ViTForImageClassification else {"vocab_size": 11}
    model = kind(kind.config_class(**sizes, **vocabulary))
    model.save_pretrained(tmp_path)
    for name in (tmp_path, str(tmp_path)):
        loaded = load_model(name)
        assert type(loaded) is type(model) and not loaded.training
        assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["digits-vitt", "./nowhere", "/nowhere", "a b", "", "a/b/c", "no/such"])
def test_what_is_no_model_is_named_with_what_would_be(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`name_or_path` \(='{name}'\).*shipped model \(digits-vit, bytes-llama\)"):
        load_model(name)


def test_a_missing_path_is_not_taken_for_a_hub_name() -> None:
    with pytest.raises(ValueError, match="is no directory"):
        load_model(Path("owner/name"))


def test_a_directory_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config.json"):
        load_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="it holds an adapter"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(ValueError, match=r"cannot be read as a model.*no-such-type"):
        load_model(tmp_path)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_shipped_model_goes_by_its_name_and_not_by_a_folder_of_this_machine(tmp_path: Path) -> None:
    model = load_model("digits-vit")
    assert model.config.name_or_path == "digits-vit"
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path)
    assert PeftConfig.from_pretrained(tmp_path).base_model_name_or_path is None  # or PEFT asks the hub for it
    assert str(Path(glora_lab.__file__).parent) not in (tmp_path / "adapter_config.json").read_text()
